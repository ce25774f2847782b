/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Rows of cells, printed in columns as wide as they need to be. */
#include <stdio.h>

#define TEXT_TABLE_COLUMNS_MAX 12

struct text_table {
	unsigned int n_columns;
	unsigned int n_cells, size;
	char **cells;
	int has_failed; /* out of memory */
};

void text_table_init(struct text_table *table, unsigned int n_columns);
void text_table_deinit(struct text_table *table);
/* The next cell, from left to right. Control characters become question marks:
 * the text may be anybody's. NULL is an empty cell. */
void text_table_add(struct text_table *table, const char *text);
/* Negative on error. */
int text_table_print(const struct text_table *table, FILE *to);
