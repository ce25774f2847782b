/* SPDX-License-Identifier: Apache-2.0 */
/* Configurations as files: the examples, and what is none. */
#include "forwarder/config.h"

#include <errno.h>
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const struct rule_variable variables[] = { { "UID", "1000" }, { NULL, NULL } };
static const struct config_context context = {
	.socket_dir = "/run/netfwd/sock",
	.guest_variables = variables,
	.host_variables = variables,
};
static char directory[] = "/tmp/netfwd-test-XXXXXX";
static char path[sizeof(directory) + 16];

static int set_up(void **state)
{
	(void)state;
	if (!mkdtemp(directory))
		return -1;
	(void)snprintf(path, sizeof(path), "%s/a.yaml", directory);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	(void)unlink(path);
	return rmdir(directory);
}

static void refuse(const char *file, const char *why)
{
	struct problems problems = { 0 };
	struct config *config = NULL;

	assert_int_equal(config_read(file, &context, &config, &problems), -EINVAL);
	assert_int_equal(problems.n_errors, 1);
	if (!strstr(problems.list[0].text, why))
		fail_msg("%s: %s", file, problems.list[0].text);
}

static void every_example_is_valid(void **state)
{
	glob_t found;

	(void)state;
	assert_int_equal(glob(CONFIGS "/*.yaml", GLOB_ERR, NULL, &found), 0);
	assert_in_range(found.gl_pathc, 5, 100);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		struct problems problems = { 0 };
		struct config *config = NULL;

		if (config_read(found.gl_pathv[i], &context, &config, &problems) != 0 ||
		    problems.n > 0)
			fail_msg("%s:%u: %s %s", found.gl_pathv[i], problems.list[0].line,
				 problems.list[0].field, problems.list[0].text);
		config_free(config);
	}
	globfree(&found);
}

static void what_is_no_file_of_text_is_refused(void **state)
{
	(void)state;
	refuse("/nonexistent/netfwd.yaml", "No such file");
	refuse(directory, "is a directory");
	refuse("/dev/null", "is empty");
	assert_int_equal(mkfifo(path, 0600), 0);
	refuse(path, "is empty"); /* and does not wait */
	assert_int_equal(unlink(path), 0);
}

static void size_is_bounded(void **state)
{
	static const char text[] = "plain: true\n#";
	struct problems problems = { 0 };
	struct config *config = NULL;
	FILE *file = fopen(path, "w");

	(void)state;
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	for (size_t n = strlen(text); n < CONFIG_SIZE_MAX; n++)
		assert_int_equal(putc('x', file), 'x');
	assert_int_equal(fflush(file), 0);
	assert_int_equal(config_read(path, &context, &config, &problems), 0);
	assert_int_equal(config->plain, RULE_SWITCH_ON);
	config_free(config);

	assert_int_equal(putc('x', file), 'x');
	assert_int_equal(fclose(file), 0);
	refuse(path, "larger than 1 MiB");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_example_is_valid),
		cmocka_unit_test(what_is_no_file_of_text_is_refused),
		cmocka_unit_test(size_is_bounded),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
