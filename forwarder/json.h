/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* JSON (RFC 8259), in and out. The adapter of jansson: no other file knows it.
 *
 * Reading: json_parse() gives a tree, whose parts are borrowed from it. All
 * accessors accept NULL and values of another type, and say so in the result;
 * so a chain of them needs one check.
 *
 * Writing: a document is put together in the order of the calls. The writer
 * remembers a failure, so only its end is checked. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json;
struct json_writer;

#define JSON_ERROR_SIZE 256

/* The document that the text consists of; json_free() it. NULL with a line that
 * says what is wrong and where. Refused: anything after the document, a key
 * that is there twice, \u0000 in a string, what is not UTF-8. */
struct json *json_parse(const char *text, size_t len, char error[static JSON_ERROR_SIZE]);
void json_free(struct json *json); /* accepts NULL */

bool json_is_an_object(const struct json *json);
bool json_is_an_array(const struct json *json);
/* NULL if there is no such member, or json is no object. */
const struct json *json_member(const struct json *json, const char *key);
/* The first key that is not among the known ones, which NULL ends; else NULL. */
const char *json_unknown_key(const struct json *object, const char *const known[]);
/* 0 if json is no array. */
size_t json_length(const struct json *json);
const struct json *json_element(const struct json *array, size_t index);
/* NULL if json is no string. */
const char *json_as_string(const struct json *json);
/* false if json is no integer that fits, or no true or false. */
bool json_as_integer(const struct json *json, int64_t *out);
bool json_as_bool(const struct json *json, bool *out);

#define JSON_WRITER_DEPTH 8 /* objects and arrays inside each other, at most */

/* NULL when out of memory, which the functions below accept. */
struct json_writer *json_writer_new(void);
/* The text, without a line end, to be free()d; NULL when memory ran out. Frees
 * the writer. Everything opened is closed. */
char *json_writer_finish(struct json_writer *w);

/* key is NULL in an array and for the document itself, which is the first to be
 * opened. */
void json_open_object(struct json_writer *w, const char *key);
void json_open_array(struct json_writer *w, const char *key);
void json_close(struct json_writer *w);
/* A value of NULL is null. Bytes that are no UTF-8 become question marks. */
void json_put_string(struct json_writer *w, const char *key, const char *value);
void json_put_integer(struct json_writer *w, const char *key, int64_t value);
void json_put_bool(struct json_writer *w, const char *key, bool value);
