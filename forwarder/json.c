/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/json.h"

#include <assert.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* struct json is what we call jansson's value; it is never defined. */
static const json_t *of(const struct json *json)
{
	return (const json_t *)json;
}

static const struct json *from(const json_t *value)
{
	return (const struct json *)value;
}

struct json *json_parse(const char *text, size_t len, char error[static JSON_ERROR_SIZE])
{
	json_error_t why;
	json_t *value = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);

	if (!value)
		(void)snprintf(error, JSON_ERROR_SIZE, "not JSON: line %d, column %d: %s", why.line,
			       why.column, why.text);
	return (struct json *)value;
}

void json_free(struct json *json)
{
	json_decref((json_t *)json);
}

bool json_is_an_object(const struct json *json)
{
	return json_is_object(of(json));
}

bool json_is_an_array(const struct json *json)
{
	return json_is_array(of(json));
}

const struct json *json_member(const struct json *json, const char *key)
{
	return from(json_object_get(of(json), key));
}

static bool is_known(const char *key, const char *const known[])
{
	for (; *known; known++) {
		if (strcmp(key, *known) == 0)
			return true;
	}
	return false;
}

const char *json_unknown_key(const struct json *object, const char *const known[])
{
	/* jansson's iterator lacks a const that it could have */
	json_t *value = (json_t *)(uintptr_t)object;

	for (void *at = json_object_iter(value); at; at = json_object_iter_next(value, at)) {
		const char *key = json_object_iter_key(at);

		if (!is_known(key, known))
			return key;
	}
	return NULL;
}

size_t json_length(const struct json *json)
{
	return json_array_size(of(json));
}

const struct json *json_element(const struct json *array, size_t index)
{
	return from(json_array_get(of(array), index));
}

const char *json_as_string(const struct json *json)
{
	return json_string_value(of(json));
}

bool json_as_integer(const struct json *json, int64_t *out)
{
	if (!json_is_integer(of(json)))
		return false;
	*out = json_integer_value(of(json));
	return true;
}

bool json_as_bool(const struct json *json, bool *out)
{
	if (!json_is_boolean(of(json)))
		return false;
	*out = json_is_true(of(json));
	return true;
}

struct json_writer {
	json_t *open[JSON_WRITER_DEPTH]; /* the first is ours, the others within it */
	unsigned int depth;
	json_t *document;
	bool has_failed;
};

struct json_writer *json_writer_new(void)
{
	return calloc(1, sizeof(struct json_writer));
}

char *json_writer_finish(struct json_writer *w)
{
	char *text = NULL;

	if (!w)
		return NULL;
	if (w->document && !w->has_failed)
		text = json_dumps(w->document, JSON_COMPACT);
	json_decref(w->document);
	free(w);
	return text;
}

/* Takes the value, NULL included, and puts it where the writer is. */
static void put(struct json_writer *w, const char *key, json_t *value)
{
	json_t *parent;
	int r;

	if (!w || w->has_failed) {
		json_decref(value);
		return;
	}
	if (w->depth == 0) {
		assert(!w->document); /* one document per writer */
		w->document = value;
		w->has_failed = !value;
		return;
	}
	parent = w->open[w->depth - 1];
	assert(json_is_object(parent) == (key != NULL));
	r = key ? json_object_set_new(parent, key, value) : json_array_append_new(parent, value);
	w->has_failed = r < 0;
}

static void open_value(struct json_writer *w, const char *key, json_t *value)
{
	put(w, key, value);
	if (!w || w->has_failed)
		return;
	assert(w->depth < JSON_WRITER_DEPTH);
	w->open[w->depth++] = value;
}

void json_open_object(struct json_writer *w, const char *key)
{
	open_value(w, key, json_object());
}

void json_open_array(struct json_writer *w, const char *key)
{
	open_value(w, key, json_array());
}

void json_close(struct json_writer *w)
{
	if (!w || w->has_failed)
		return;
	assert(w->depth > 0);
	w->depth--;
}

/* What the text of another program is worth: it may be in another encoding. */
static json_t *string_without_foreign_bytes(const char *value)
{
	char *copy = strdup(value);
	json_t *string;

	if (!copy)
		return NULL;
	for (char *c = copy; *c; c++) {
		if ((unsigned char)*c >= 0x80)
			*c = '?';
	}
	string = json_string(copy);
	free(copy);
	return string;
}

static json_t *string_of(const char *value)
{
	json_t *string = json_string(value);

	return string ? string : string_without_foreign_bytes(value);
}

void json_put_string(struct json_writer *w, const char *key, const char *value)
{
	put(w, key, value ? string_of(value) : json_null());
}

void json_put_integer(struct json_writer *w, const char *key, int64_t value)
{
	put(w, key, json_integer(value));
}

void json_put_bool(struct json_writer *w, const char *key, bool value)
{
	put(w, key, json_boolean(value));
}
