/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/runtime_dir.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* base/{xdg,run,tmp}, all there; run/UID is not. */
struct fixture {
	char base[32], xdg[64], run[64], tmp[64], error[RUNTIME_ERROR_SIZE], path[256];
	struct runtime_env env;
};

static int setup(void **state)
{
	struct fixture *t = calloc(1, sizeof(*t));

	(void)snprintf(t->base, sizeof(t->base), "/tmp/netfwd-test-XXXXXX");
	assert_non_null(mkdtemp(t->base));
	(void)snprintf(t->xdg, sizeof(t->xdg), "%s/xdg", t->base);
	(void)snprintf(t->run, sizeof(t->run), "%s/run", t->base);
	(void)snprintf(t->tmp, sizeof(t->tmp), "%s/tmp", t->base);
	assert_int_equal(mkdir(t->xdg, 0700), 0);
	assert_int_equal(mkdir(t->run, 0755), 0);
	assert_int_equal(mkdir(t->tmp, 0755), 0);
	t->env = (struct runtime_env){
		.xdg_runtime_dir = t->xdg,
		.run_user = t->run,
		.tmp = t->tmp,
		.uid = getuid(),
	};
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	static const char *const made[] = {
		"xdg/netfwd", "xdg", "run/%u/netfwd", "run/%u", "run", "tmp/netfwd-%u", "tmp", "",
	};
	struct fixture *t = *state;

	for (size_t i = 0; i < sizeof(made) / sizeof(made[0]); i++) {
		char path[256];
		size_t len = (size_t)snprintf(path, sizeof(path), "%s/", t->base);
		const char *mark = strstr(made[i], "%u");

		if (mark)
			(void)snprintf(path + len, sizeof(path) - len, "%.*s%u%s",
				       (int)(mark - made[i]), made[i], (unsigned int)getuid(),
				       mark + 2);
		else
			(void)snprintf(path + len, sizeof(path) - len, "%s", made[i]);
		(void)remove(path); /* not all are there in every test */
	}
	assert_int_equal(access(t->base, F_OK), -1);
	free(t);
	return 0;
}

static int make(struct fixture *t)
{
	return runtime_dir_make(&t->env, t->path, sizeof(t->path), t->error);
}

static void expect_dir(struct fixture *t, const char *name, const char *parent)
{
	char want[256];
	struct stat st;

	assert_int_equal(make(t), 0);
	(void)snprintf(want, sizeof(want), "%s%s", parent, name);
	assert_string_equal(t->path, want);
	assert_int_equal(stat(want, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_int_equal(make(t), 0); /* and is taken as it is the next time */
}

static void the_runtime_directory_of_the_session_is_preferred(void **state)
{
	struct fixture *t = *state;

	expect_dir(t, "/netfwd", t->xdg);
}

static void without_a_session_run_user_is_taken(void **state)
{
	struct fixture *t = *state;
	char own[128];

	(void)snprintf(own, sizeof(own), "%s/%u", t->run, (unsigned int)getuid());
	assert_int_equal(mkdir(own, 0700), 0);
	t->env.xdg_runtime_dir = NULL;
	expect_dir(t, "/netfwd", own);
}

static void else_it_is_under_tmp_with_the_users_number(void **state)
{
	struct fixture *t = *state;
	char name[32];

	(void)snprintf(name, sizeof(name), "/netfwd-%u", (unsigned int)getuid());
	t->env.xdg_runtime_dir = NULL;
	expect_dir(t, name, t->tmp);
}

static void a_session_that_is_not_there_or_not_absolute_is_passed_over(void **state)
{
	static const char *const bad[] = { "", "relative", "/nonexistent/netfwd-test" };
	struct fixture *t = *state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		t->env.xdg_runtime_dir = bad[i];
		assert_int_equal(make(t), 0);
		assert_memory_equal(t->path, t->tmp, strlen(t->tmp));
	}
}

/* As after sudo, which may keep the variable. */
static void the_session_of_another_user_is_passed_over(void **state)
{
	struct fixture *t = *state;

	if (getuid() != 0) /* only root can give a directory away */
		skip();
	assert_int_equal(chown(t->xdg, 1234, 1234), 0);
	assert_int_equal(make(t), 0);
	assert_memory_equal(t->path, t->tmp, strlen(t->tmp));
}

static void a_directory_that_others_may_enter_is_refused(void **state)
{
	struct fixture *t = *state;

	assert_int_equal(make(t), 0);
	assert_int_equal(chmod(t->path, 0750), 0);
	assert_int_equal(make(t), -EPERM);
	assert_non_null(strstr(t->error, "is open to other users; close it: chmod 700 "));
}

static void a_directory_of_somebody_else_is_refused(void **state)
{
	struct fixture *t = *state;

	if (getuid() != 0)
		skip();
	assert_int_equal(make(t), 0);
	assert_int_equal(chown(t->path, 1234, 1234), 0);
	assert_int_equal(make(t), -EPERM);
	assert_non_null(strstr(t->error, "belongs to user id 1234"));
}

static void a_link_or_a_file_in_its_place_is_refused(void **state)
{
	struct fixture *t = *state;

	assert_int_equal(make(t), 0);
	assert_int_equal(rmdir(t->path), 0);
	assert_int_equal(symlink(t->tmp, t->path), 0);
	assert_int_equal(make(t), -ENOTDIR);
	assert_non_null(strstr(t->error, "is not a directory; remove it"));
}

static void a_parent_that_is_missing_is_an_error(void **state)
{
	struct fixture *t = *state;

	t->env.xdg_runtime_dir = NULL;
	t->env.tmp = "/nonexistent";
	assert_int_equal(make(t), -ENOENT);
	assert_non_null(strstr(t->error, "cannot be made: No such file or directory"));
}

static void a_path_too_long_for_a_socket_is_an_error(void **state)
{
	struct fixture *t = *state;
	char small[16];

	assert_int_equal(runtime_dir_make(&t->env, small, sizeof(small), t->error), -ENAMETOOLONG);
	assert_non_null(strstr(t->error, "--stream PATH"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_runtime_directory_of_the_session_is_preferred),
		TEST(without_a_session_run_user_is_taken),
		TEST(else_it_is_under_tmp_with_the_users_number),
		TEST(a_session_that_is_not_there_or_not_absolute_is_passed_over),
		TEST(the_session_of_another_user_is_passed_over),
		TEST(a_directory_that_others_may_enter_is_refused),
		TEST(a_directory_of_somebody_else_is_refused),
		TEST(a_link_or_a_file_in_its_place_is_refused),
		TEST(a_parent_that_is_missing_is_an_error),
		TEST(a_path_too_long_for_a_socket_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
