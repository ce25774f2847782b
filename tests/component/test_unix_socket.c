/* SPDX-License-Identifier: Apache-2.0 */
/* unix_socket.c: the file behind the socket. */
#include "netstack/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "tests/support/unix_address.h"

static const int types[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET };
#define N_TYPES (sizeof(types) / sizeof(types[0]))

struct fixture {
	char dir[32], path[64];
	struct unix_socket s;
};

static int setup(void **state)
{
	static struct fixture f;

	f = (struct fixture){ .dir = "/tmp/netfwd-test-XXXXXX", .s = { .fd = -1 } };
	*state = &f;
	if (!mkdtemp(f.dir))
		return -1;
	(void)snprintf(f.path, sizeof(f.path), "%s/sock", f.dir);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	unix_socket_close(&f->s);
	(void)unlink(f->path);
	return rmdir(f->dir);
}

static void the_file_is_only_for_its_user(void **state)
{
	struct fixture *f = *state;
	mode_t old = umask(0);
	struct stat st;

	for (size_t i = 0; i < N_TYPES; i++) {
		assert_int_equal(unix_socket_bind(types[i], f->path, &f->s), 0);
		assert_int_equal(stat(f->path, &st), 0);
		assert_true(S_ISSOCK(st.st_mode));
		assert_int_equal(st.st_mode & 07777, 0600);
		unix_socket_close(&f->s);
	}
	umask(old);
}

static void the_file_goes_away_with_the_socket(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	assert_int_equal(unix_socket_listen(f->path, &f->s), 0);
	unix_socket_close(&f->s);
	assert_int_equal(f->s.fd, -1);
	assert_int_equal(stat(f->path, &st), -1);
	assert_int_equal(errno, ENOENT);
	unix_socket_close(&f->s); /* harmless */
}

/* Of a process that was killed: bound, and nobody there. */
static void a_stale_file_is_replaced(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < N_TYPES; i++) {
		close(unix_bound(types[i], f->path));
		assert_int_equal(unix_socket_bind(types[i], f->path, &f->s), 0);
		unix_socket_close(&f->s);
	}
}

static void a_served_path_is_in_use(void **state)
{
	struct fixture *f = *state;
	struct unix_socket second;
	struct stat st;

	assert_int_equal(unix_socket_listen(f->path, &f->s), 0);
	for (size_t i = 0; i < N_TYPES; i++) {
		assert_int_equal(unix_socket_bind(types[i], f->path, &second), -EADDRINUSE);
		assert_int_equal(second.fd, -1);
		unix_socket_close(&second); /* must not take the file away */
	}
	assert_int_equal(stat(f->path, &st), 0);
}

static void another_file_is_never_removed(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	int fd = open(f->path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(unix_socket_listen(f->path, &f->s), -EEXIST);
	assert_int_equal(stat(f->path, &st), 0);
	assert_true(S_ISREG(st.st_mode));

	assert_int_equal(unlink(f->path), 0);
	assert_int_equal(mkdir(f->path, 0700), 0);
	assert_int_equal(unix_socket_listen(f->path, &f->s), -EEXIST);
	assert_int_equal(rmdir(f->path), 0);

	assert_int_equal(symlink("/dev/null", f->path), 0);
	assert_int_equal(unix_socket_listen(f->path, &f->s), -EEXIST);
	assert_int_equal(lstat(f->path, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
}

static void a_file_that_took_our_place_is_left(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	assert_int_equal(unix_socket_listen(f->path, &f->s), 0);
	assert_int_equal(unlink(f->path), 0);
	close(unix_bound(SOCK_STREAM, f->path));

	unix_socket_close(&f->s);

	assert_int_equal(stat(f->path, &st), 0);
}

static void bad_paths_are_refused(void **state)
{
	struct fixture *f = *state;
	char path[200];

	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[sizeof(((struct sockaddr_un *)0)->sun_path)] = '\0'; /* no room for its NUL */
	assert_int_equal(unix_socket_listen(path, &f->s), -ENAMETOOLONG);
	assert_int_equal(unix_socket_listen("", &f->s), -EINVAL);
	assert_int_equal(unix_socket_listen("/nonexistent/sock", &f->s), -ENOENT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_file_is_only_for_its_user), TEST(the_file_goes_away_with_the_socket),
		TEST(a_stale_file_is_replaced),	     TEST(a_served_path_is_in_use),
		TEST(another_file_is_never_removed), TEST(a_file_that_took_our_place_is_left),
		TEST(bad_paths_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
