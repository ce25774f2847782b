/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/problems.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct printed {
	unsigned int n_warnings, n_errors;
	char first[1024], last[1024];
};

static void on_line(void *arg, bool is_warning, const char *line)
{
	struct printed *printed = arg;

	if (printed->n_warnings + printed->n_errors == 0)
		(void)snprintf(printed->first, sizeof(printed->first), "%s", line);
	(void)snprintf(printed->last, sizeof(printed->last), "%s", line);
	if (is_warning)
		printed->n_warnings++;
	else
		printed->n_errors++;
}

static void a_line_names_place_field_and_fault(void **state)
{
	struct problems p = { 0 };
	struct printed printed = { 0 };

	(void)state;
	problems_error(&p, "network.mtu", "must be %d", 7);
	p.list[0].line = 3;
	p.list[0].column = 5;
	problems_warn(&p, "", "is old");
	problems_print(&p, "a.yaml", on_line, &printed);

	assert_string_equal(printed.first, "a.yaml:3:5: field `network.mtu` must be 7");
	assert_string_equal(printed.last, "a.yaml: is old");
	assert_int_equal(printed.n_errors, 1);
	assert_int_equal(printed.n_warnings, 1);
}

static void what_a_file_says_reaches_no_terminal_raw(void **state)
{
	struct problems p = { 0 };

	(void)state;
	problems_error(&p, "a\x1b[2J", "unknown \"%s\"", "b\n\x7f");

	assert_string_equal(p.list[0].field, "a?[2J");
	assert_string_equal(p.list[0].text, "unknown \"b??\"");
}

static void the_list_is_bounded_and_the_rest_is_counted(void **state)
{
	struct problems p = { 0 };
	struct printed printed = { 0 };

	(void)state;
	for (int i = 0; i < PROBLEMS_MAX + 7; i++)
		problems_error(&p, "x", "is wrong");
	problems_print(&p, "a.yaml", on_line, &printed);

	assert_int_equal(p.n, PROBLEMS_MAX);
	assert_int_equal(p.n_errors, PROBLEMS_MAX + 7);
	assert_string_equal(printed.last, "a.yaml: and 7 more");
	assert_int_equal(printed.n_errors, PROBLEMS_MAX + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_names_place_field_and_fault),
		cmocka_unit_test(what_a_file_says_reaches_no_terminal_raw),
		cmocka_unit_test(the_list_is_bounded_and_the_rest_is_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
