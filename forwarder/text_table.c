/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/text_table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void text_table_init(struct text_table *table, unsigned int n_columns)
{
	assert(n_columns > 0 && n_columns <= TEXT_TABLE_COLUMNS_MAX);
	*table = (struct text_table){ .n_columns = n_columns };
}

void text_table_deinit(struct text_table *table)
{
	for (unsigned int i = 0; i < table->n_cells; i++)
		free(table->cells[i]);
	free(table->cells);
	*table = (struct text_table){ .n_columns = table->n_columns };
}

/* C0, DEL, and in UTF-8 (which it is, coming from JSON) C1. */
static void replace_control_characters(char *text)
{
	for (unsigned char *c = (unsigned char *)text; *c; c++) {
		if (*c < 0x20 || *c == 0x7f)
			*c = '?';
		else if (c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0)
			c[0] = c[1] = '?';
	}
}

void text_table_add(struct text_table *table, const char *text)
{
	char *copy = strdup(text ? text : "");

	if (copy && table->n_cells == table->size) {
		unsigned int size = 2 * table->size + 64;
		char **cells = realloc(table->cells, size * sizeof(*cells));

		if (!cells) {
			free(copy);
			copy = NULL;
		} else {
			table->cells = cells;
			table->size = size;
		}
	}
	if (!copy) {
		table->has_failed = 1;
		return;
	}
	replace_control_characters(copy);
	table->cells[table->n_cells++] = copy;
}

/* Columns on the screen: characters, not bytes. */
static size_t width_of(const char *text)
{
	size_t width = 0;

	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

static int print_cell(const char *text, size_t width, FILE *to)
{
	return fprintf(to, "%s%*s", text, (int)(width - width_of(text)), "");
}

int text_table_print(const struct text_table *table, FILE *to)
{
	size_t widths[TEXT_TABLE_COLUMNS_MAX] = { 0 };
	int r = table->has_failed ? -1 : 0;

	assert(table->has_failed || table->n_cells % table->n_columns == 0);
	for (unsigned int i = 0; i < table->n_cells; i++) {
		size_t width = width_of(table->cells[i]);

		if (width > widths[i % table->n_columns])
			widths[i % table->n_columns] = width;
	}
	for (unsigned int i = 0; r >= 0 && i < table->n_cells; i++) {
		if ((i + 1) % table->n_columns == 0)
			r = fprintf(to, "%s\n", table->cells[i]);
		else
			r = print_cell(table->cells[i], widths[i % table->n_columns] + 2, to);
	}
	return r;
}
