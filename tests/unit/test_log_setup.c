/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/log_setup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "forwarder/config.h"
#include "forwarder/options.h"
#include "netstack/base/log.h"

static void the_command_line_goes_before_the_file(void **state)
{
	static const struct {
		unsigned int verbosity; /* of the command line */
		enum config_level level;
		enum log_level expected;
	} rows[] = {
		{ 0, CONFIG_LEVEL_DEFAULT, LOG_LEVEL_WARN },
		{ 0, CONFIG_LEVEL_WARN, LOG_LEVEL_WARN },
		{ 0, CONFIG_LEVEL_INFO, LOG_LEVEL_INFO },
		{ 0, CONFIG_LEVEL_DEBUG, LOG_LEVEL_DEBUG },
		{ 0, CONFIG_LEVEL_TRACE, LOG_LEVEL_TRACE },
		{ 1, CONFIG_LEVEL_TRACE, LOG_LEVEL_INFO },
		{ 2, CONFIG_LEVEL_WARN, LOG_LEVEL_DEBUG },
		{ 9, CONFIG_LEVEL_WARN, LOG_LEVEL_TRACE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct options options = { .verbosity = rows[i].verbosity };
		const struct config config = { .logging.level = rows[i].level };

		log_setup(&options, &config);
		assert_true(log_is_on(rows[i].expected));
		if (rows[i].expected < LOG_LEVEL_TRACE)
			assert_false(log_is_on(rows[i].expected + 1));
	}
}

static void without_a_file_the_command_line_decides(void **state)
{
	const struct options options = { .verbosity = 1 };

	(void)state;
	log_setup(&options, NULL);
	assert_true(log_is_on(LOG_LEVEL_INFO));
	assert_false(log_is_on(LOG_LEVEL_DEBUG));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_command_line_goes_before_the_file),
		cmocka_unit_test(without_a_file_the_command_line_decides),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
