/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/rule_template.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct rule_variable variables[] = {
	{ "UID", "1000" },
	{ "User", "me" },
	{ "Home", NULL },
	{ NULL, NULL },
};

static void variables_are_replaced(void **state)
{
	static const char *const rows[][2] = {
		{ "", "" },
		{ "/run/a.sock", "/run/a.sock" },
		{ "/run/user/{{.UID}}/a.sock", "/run/user/1000/a.sock" },
		{ "{{.User}}{{.UID}}", "me1000" },
		{ "/{{ .User }}/{x}", "/me/{x}" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *text = NULL;

		assert_int_equal(rule_template_expand(rows[i][0], variables, &text), 0);
		assert_string_equal(text, rows[i][1]);
		free(text);
	}
}

static void what_is_no_known_variable_is_refused(void **state)
{
	static const char *const rows[] = { "{{.Home}}/a",  "{{.Uid}}",	     "{{.UIDs}}", "{{.UI}}",
					    "{{UID}}",	    "{{.UID",	     "{{",	  "{{}}",
					    "{{.UID | x}}", "{{.Param.key}}" };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *text = NULL;

		assert_int_equal(rule_template_expand(rows[i], variables, &text), -EINVAL);
		assert_null(text);
	}
	assert_int_equal(rule_template_expand("{{.UID}}", NULL, &(char *){ NULL }), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(variables_are_replaced),
		cmocka_unit_test(what_is_no_known_variable_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
