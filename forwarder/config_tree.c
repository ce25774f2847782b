/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/config_tree.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A comparison of the tree with the schema. */
struct walk {
	yaml_document_t *document;
	struct problems *problems;
	char *text; /* ours: bad values are made harmless in it */
	unsigned int n_neutralised;
	bool is_loadable;
};

struct path {
	char text[PROBLEM_FIELD_SIZE];
};

static struct path path_to_key(const struct path *base, const char *key)
{
	struct path path;

	(void)snprintf(path.text, sizeof(path.text), "%.60s%s%.32s", base->text,
		       *base->text ? "." : "", key);
	return path;
}

static struct path path_to_item(const struct path *base, unsigned int index)
{
	struct path path;

	(void)snprintf(path.text, sizeof(path.text), "%.60s[%u]", base->text, index);
	return path;
}

__attribute__((format(printf, 4, 5))) static void report(struct walk *w, const yaml_node_t *node,
							 const struct path *path, const char *fmt,
							 ...)
{
	unsigned int at = w->problems->n;
	char text[PROBLEM_TEXT_SIZE];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	problems_error(w->problems, path->text, "%s", text);
	if (w->problems->n == at)
		return;
	w->problems->list[at].line = (unsigned int)node->start_mark.line + 1;
	w->problems->list[at].column = (unsigned int)node->start_mark.column + 1;
}

/* libyaml's marks count characters. */
static size_t byte_of(const char *text, size_t n_characters)
{
	size_t i = 0;

	for (; text[i] && n_characters > 0; n_characters--) {
		i++;
		while (((unsigned char)text[i] & 0xc0) == 0x80)
			i++;
	}
	return i;
}

#define NEUTRALISED_MAX 1000

/* A key whose value is wrong, or null, is overwritten by one that nobody knows,
 * which libcyaml passes over: it reads the rest, and all that is wrong there is
 * found in the same run. */
static void neutralise(struct walk *w, const yaml_node_t *key)
{
	size_t start, end;

	/* Each costs a pass over the text. */
	if (w->n_neutralised++ >= NEUTRALISED_MAX) {
		if (w->is_loadable)
			problems_error(w->problems, "",
				       "has too many values that are null or wrong");
		w->is_loadable = false;
		return;
	}
	start = byte_of(w->text, key->start_mark.index);
	end = byte_of(w->text, key->end_mark.index);
	memset(w->text + start, 'z', end - start);
}

static const char *scalar_of(const yaml_node_t *node)
{
	return node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : NULL;
}

static const char *kind_of(const yaml_node_t *node)
{
	switch (node->type) {
	case YAML_SEQUENCE_NODE:
		return "a list";
	case YAML_MAPPING_NODE:
		return "a mapping";
	case YAML_SCALAR_NODE:
	case YAML_NO_NODE:
		return node->data.scalar.length > 0 ? "a single value" : "empty";
	}
	return "nothing";
}

static bool check_int(struct walk *w, const struct path *path, const yaml_node_t *node)
{
	const char *text = scalar_of(node);
	const char *digits = text && *text == '-' ? text + 1 : text;
	size_t len = digits ? strspn(digits, "0123456789") : 0;

	/* Without leading zeros: 010 is 8 for some readers of YAML. */
	if (len > 0 && len <= 9 && !digits[len] && (len == 1 || *digits != '0'))
		return true;
	report(w, node, path, "must be a whole number, but is %s%.40s%s", text && *text ? "\"" : "",
	       text && *text ? text : kind_of(node), text && *text ? "\"" : "");
	return false;
}

static void list_names(char *out, size_t size, const cyaml_schema_value_t *schema)
{
	size_t len = 0, n = schema->enumeration.count;

	*out = '\0';
	for (size_t i = 0; i < n && len < size; i++) {
		const char *between = i == 0 ? "" : i + 1 < n ? ", " : " or ";

		len += (size_t)snprintf(out + len, size - len, "%s%s", between,
					schema->enumeration.strings[i].str);
	}
}

static bool check_enum(struct walk *w, const struct path *path, const yaml_node_t *node,
		       const cyaml_schema_value_t *schema)
{
	const char *text = scalar_of(node);
	char names[128];

	for (size_t i = 0; text && i < schema->enumeration.count; i++) {
		if (strcmp(text, schema->enumeration.strings[i].str) == 0)
			return true;
	}
	list_names(names, sizeof(names), schema);
	report(w, node, path, "must be %s, but is %s%.40s%s", names, text && *text ? "\"" : "",
	       text && *text ? text : kind_of(node), text && *text ? "\"" : "");
	return false;
}

static bool check_string(struct walk *w, const struct path *path, const yaml_node_t *node)
{
	const char *text = scalar_of(node);

	if (!text) {
		report(w, node, path, "must be a text, but is %s", kind_of(node));
		return false;
	}
	for (size_t i = 0; i < node->data.scalar.length; i++) {
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f) {
			report(w, node, path, "must not contain control characters");
			return false;
		}
	}
	if (node->data.scalar.length <= CONFIG_STRING_MAX)
		return true;
	report(w, node, path, "must have at most %d characters", CONFIG_STRING_MAX);
	return false;
}

#define KEY_MAX 32

/* How many insertions, deletions and replacements (Levenshtein); case counts
 * for nothing, it is the most frequent slip. */
static unsigned int edit_distance(const char *a, const char *b)
{
	size_t len_b = strlen(b);
	unsigned int row[KEY_MAX + 1];

	if (strlen(a) > KEY_MAX || len_b > KEY_MAX)
		return UINT32_MAX;
	for (unsigned int j = 0; j <= len_b; j++)
		row[j] = j;
	for (unsigned int i = 1; a[i - 1]; i++) {
		unsigned int diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= len_b; j++) {
			unsigned int cost = strncasecmp(&a[i - 1], &b[j - 1], 1) != 0;
			unsigned int best = diagonal + cost;

			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[len_b];
}

static void report_unknown(struct walk *w, const struct path *path, const yaml_node_t *key,
			   const cyaml_schema_field_t *fields)
{
	const char *text = scalar_of(key), *nearest = NULL;
	char known[256] = "";
	unsigned int least = UINT32_MAX;
	size_t len = 0;

	for (const cyaml_schema_field_t *f = fields; f->key; f++) {
		unsigned int distance = edit_distance(text, f->key);

		if (distance < least) {
			least = distance;
			nearest = f->key;
		}
		if (len < sizeof(known))
			len += (size_t)snprintf(known + len, sizeof(known) - len, "%s%s",
						f == fields ? "" : ", ", f->key);
	}
	if (least <= 1 || least <= strlen(text) / 3)
		report(w, key, path, "is unknown; did you mean `%s`?", nearest);
	else
		report(w, key, path, "is unknown; known are %s", known);
}

/* Whether libcyaml can take the value. */
static bool check_value(struct walk *w, const struct path *path, const yaml_node_t *node,
			const cyaml_schema_value_t *schema);

/* `ssh:` with nothing behind it is as good as no `ssh:`. */
static bool is_null(const yaml_node_t *node)
{
	const char *text = scalar_of(node);

	return text && node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
	       (!*text || strcmp(text, "~") == 0 || strcmp(text, "null") == 0);
}

static void check_pair(struct walk *w, const struct path *base, const yaml_node_pair_t *pair,
		       const cyaml_schema_field_t *fields)
{
	const yaml_node_t *key = yaml_document_get_node(w->document, pair->key);
	const yaml_node_t *value = yaml_document_get_node(w->document, pair->value);
	const char *text = scalar_of(key);
	const cyaml_schema_field_t *f = fields;
	struct path path;

	if (!text) {
		report(w, key, base, "has a key that is %s", kind_of(key));
		w->is_loadable = false;
		return;
	}
	path = path_to_key(base, text);
	while (f->key && strcmp(f->key, text) != 0)
		f++;
	if (!f->key)
		report_unknown(w, &path, key, fields);
	else if (is_null(value) || !check_value(w, &path, value, &f->value))
		neutralise(w, key);
}

/* The same key before; only keys of the schema are asked for, so a hostile file
 * costs no more than its size times their number. */
static void check_twice(struct walk *w, const struct path *base, const yaml_node_t *node,
			const char *name)
{
	unsigned int n = 0;

	for (const yaml_node_pair_t *p = node->data.mapping.pairs.start;
	     p < node->data.mapping.pairs.top; p++) {
		const yaml_node_t *key = yaml_document_get_node(w->document, p->key);
		const char *text = scalar_of(key);
		struct path path;

		if (!text || strcmp(text, name) != 0 || n++ == 0)
			continue;
		path = path_to_key(base, name);
		report(w, key, &path, "is given more than once");
		neutralise(w, key);
	}
}

static bool check_mapping(struct walk *w, const struct path *path, const yaml_node_t *node,
			  const cyaml_schema_field_t *fields)
{
	if (node->type != YAML_MAPPING_NODE) {
		report(w, node, path, "must be a mapping (key: value), but is %s", kind_of(node));
		return false;
	}
	for (const yaml_node_pair_t *p = node->data.mapping.pairs.start;
	     p < node->data.mapping.pairs.top; p++)
		check_pair(w, path, p, fields);
	for (const cyaml_schema_field_t *f = fields; f->key; f++)
		check_twice(w, path, node, f->key);
	return true;
}

static bool check_sequence(struct walk *w, const struct path *path, const yaml_node_t *node,
			   const cyaml_schema_value_t *schema)
{
	unsigned int i = 0;
	bool are_good = true;
	size_t n;

	if (node->type != YAML_SEQUENCE_NODE) {
		report(w, node, path, "must be a list, but is %s", kind_of(node));
		return false;
	}
	n = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
	if (schema->type == CYAML_SEQUENCE_FIXED && n != schema->sequence.max) {
		report(w, node, path, "must be a list of %u: [first, last], but has %zu",
		       schema->sequence.max, n);
		return false;
	}
	for (const yaml_node_item_t *item = node->data.sequence.items.start;
	     item < node->data.sequence.items.top; item++) {
		struct path item_path = path_to_item(path, i++);

		if (!check_value(w, &item_path, yaml_document_get_node(w->document, *item),
				 schema->sequence.entry))
			are_good = false;
	}
	return are_good;
}

/* Recursion ends with the schema, also where aliases make the tree a graph. */
static bool check_value(struct walk *w, const struct path *path, const yaml_node_t *node,
			const cyaml_schema_value_t *schema)
{
	if (schema->type == CYAML_MAPPING)
		return check_mapping(w, path, node, schema->mapping.fields);
	if (schema->type == CYAML_SEQUENCE || schema->type == CYAML_SEQUENCE_FIXED)
		return check_sequence(w, path, node, schema);
	if (schema->type == CYAML_INT)
		return check_int(w, path, node);
	if (schema->type == CYAML_ENUM)
		return check_enum(w, path, node, schema);
	return check_string(w, path, node);
}

bool config_tree_check(struct config_tree *tree, const cyaml_schema_value_t *schema,
		       struct problems *problems)
{
	static const struct path root = { "" };
	struct walk w = {
		.document = &tree->document,
		.problems = problems,
		.text = tree->text,
		.is_loadable = true,
	};

	return check_value(&w, &root, yaml_document_get_root_node(&tree->document), schema) &&
	       w.is_loadable;
}

static const yaml_node_t *find_key(yaml_document_t *document, const yaml_node_t *mapping,
				   const char *name, size_t len)
{
	if (mapping->type != YAML_MAPPING_NODE)
		return NULL;
	for (const yaml_node_pair_t *p = mapping->data.mapping.pairs.start;
	     p < mapping->data.mapping.pairs.top; p++) {
		const char *text = scalar_of(yaml_document_get_node(document, p->key));

		if (text && strlen(text) == len && memcmp(text, name, len) == 0)
			return yaml_document_get_node(document, p->value);
	}
	return NULL;
}

/* One step along a.b[3].c; *field is moved on. */
static const yaml_node_t *step(yaml_document_t *document, const yaml_node_t *node,
			       const char **field)
{
	size_t len;
	unsigned long index;
	char *end;

	if (**field == '.')
		++*field;
	if (**field != '[') {
		const char *name = *field;

		len = strcspn(name, ".[");
		*field += len;
		return find_key(document, node, name, len);
	}
	index = strtoul(*field + 1, &end, 10);
	*field = *end == ']' ? end + 1 : end;
	if (node->type != YAML_SEQUENCE_NODE ||
	    index >= (size_t)(node->data.sequence.items.top - node->data.sequence.items.start))
		return NULL;
	return yaml_document_get_node(document, node->data.sequence.items.start[index]);
}

void config_tree_locate(struct config_tree *tree, struct problems *problems)
{
	for (unsigned int i = 0; i < problems->n; i++) {
		struct problem *problem = &problems->list[i];
		const yaml_node_t *node = yaml_document_get_root_node(&tree->document);
		const char *field = problem->field;

		if (problem->line > 0 || !*field)
			continue;
		/* What is not in the file is missing in what is. */
		while (node) {
			problem->line = (unsigned int)node->start_mark.line + 1;
			problem->column = (unsigned int)node->start_mark.column + 1;
			node = *field ? step(&tree->document, node, &field) : NULL;
		}
	}
}

static void report_syntax(const yaml_parser_t *parser, struct problems *problems)
{
	struct problem *problem;
	unsigned int at = problems->n;

	if (parser->error == YAML_MEMORY_ERROR)
		problems_error(problems, "", "out of memory");
	else
		problems_error(problems, "", "is no YAML: %s%s%s",
			       parser->context ? parser->context : "", parser->context ? ": " : "",
			       parser->problem ? parser->problem : "unknown error");
	/* A reader's error knows no line. */
	if (problems->n == at || parser->error == YAML_READER_ERROR)
		return;
	problem = &problems->list[at];
	problem->line = (unsigned int)parser->problem_mark.line + 1;
	problem->column = (unsigned int)parser->problem_mark.column + 1;
}

static bool has_second_document(yaml_parser_t *parser)
{
	yaml_document_t second;
	bool has_any;

	if (!yaml_parser_load(parser, &second))
		return true;
	has_any = yaml_document_get_root_node(&second) != NULL;
	yaml_document_delete(&second);
	return has_any;
}

static int load(yaml_parser_t *parser, struct config_tree *tree, struct problems *problems)
{
	if (!yaml_parser_load(parser, &tree->document)) {
		report_syntax(parser, problems);
		return -EINVAL;
	}
	if (!yaml_document_get_root_node(&tree->document))
		problems_error(problems, "", "is empty; netfwd.yaml(5) says what may be there");
	else if (has_second_document(parser))
		problems_error(problems, "", "must be one YAML document, but has more");
	else
		return 0;
	yaml_document_delete(&tree->document);
	return -EINVAL;
}

int config_tree_load(struct config_tree *tree, char *text, size_t len, struct problems *problems)
{
	yaml_parser_t parser;
	int r;

	if (!yaml_parser_initialize(&parser))
		return -ENOMEM;
	/* UTF-16 would be read as well, but nothing else here reads it. */
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
	tree->text = text;
	r = load(&parser, tree, problems);
	yaml_parser_delete(&parser);
	return r;
}

void config_tree_unload(struct config_tree *tree)
{
	yaml_document_delete(&tree->document);
}
