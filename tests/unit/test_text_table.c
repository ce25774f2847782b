/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/text_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void check(struct text_table *table, const char *expected)
{
	char *text = NULL;
	size_t len = 0;
	FILE *to = open_memstream(&text, &len);

	assert_non_null(to);
	assert_true(text_table_print(table, to) >= 0);
	(void)fclose(to);
	assert_string_equal(text, expected);
	free(text);
	text_table_deinit(table);
}

static void columns_are_as_wide_as_their_widest_cell(void **state)
{
	struct text_table table;

	(void)state;
	text_table_init(&table, 3);
	for (size_t i = 0; i < 6; i++) {
		static const char *const cells[] = { "A", "LONG", "END", "caf\xc3\xa9", NULL, "e" };

		text_table_add(&table, cells[i]);
	}
	check(&table, "A     LONG  END\ncaf\xc3\xa9        e\n");
}

static void control_characters_are_not_printed(void **state)
{
	struct text_table table;

	(void)state;
	text_table_init(&table, 1);
	text_table_add(&table, "a\033[2J\n\x7f\xc2\x9b\xc2\xa0z");
	check(&table, "a?[2J????\xc2\xa0z\n");
}

static void a_table_grows(void **state)
{
	struct text_table table;
	char *text = calloc(1001, 2), *at = text;

	(void)state;
	assert_non_null(text);
	text_table_init(&table, 1);
	for (int i = 0; i < 1000; i++) {
		text_table_add(&table, "x");
		*at++ = 'x';
		*at++ = '\n';
	}
	check(&table, text);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(columns_are_as_wide_as_their_widest_cell),
		cmocka_unit_test(control_characters_are_not_printed),
		cmocka_unit_test(a_table_grows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
