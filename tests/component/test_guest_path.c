/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets at paths as a guest's process sees them, which has a root of its own. */
#include "forwarder/guest_path.h"

#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "netstack/base/loop.h"
#include "netstack/stream.h"
#include "tests/support/fake_loop.h"
#include "tests/support/unix_address.h"

struct fixture {
	struct loop *loop;
	char outside[64], root[96]; /* root is in outside */
	pid_t guest;		    /* -1: this machine lets us change no root */
	struct guest_files files;
};

static _Noreturn void live_in(const char *root, int ready)
{
	bool ok = (geteuid() == 0 || unshare(CLONE_NEWUSER) == 0) && chroot(root) == 0 &&
		  chdir("/") == 0;

	if (write(ready, &ok, sizeof(ok)) == (ssize_t)sizeof(ok))
		pause();
	_exit(0);
}

static void start_guest(struct fixture *f)
{
	bool ok = false;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	f->guest = fork();
	if (f->guest == 0)
		live_in(f->root, fds[1]);
	close(fds[1]);
	if (read(fds[0], &ok, sizeof(ok)) != (ssize_t)sizeof(ok) || !ok) {
		(void)kill(f->guest, SIGKILL);
		(void)waitpid(f->guest, NULL, 0);
		f->guest = -1;
	}
	close(fds[0]);
}

static const char *in(const char *directory, const char *name)
{
	static char path[256];

	(void)snprintf(path, sizeof(path), "%s/%s", directory, name);
	return path;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char pid[16];

	*state = f;
	f->files.process = -1;
	(void)snprintf(f->outside, sizeof(f->outside), "/tmp/netfwd-test-XXXXXX");
	assert_non_null(mkdtemp(f->outside));
	(void)snprintf(f->root, sizeof(f->root), "%s/root", f->outside);
	assert_int_equal(mkdir(f->root, 0700), 0);
	assert_int_equal(mkdir(in(f->root, "run"), 0700), 0);
	assert_int_equal(loop_new(&f->loop), 0);
	start_guest(f);
	if (f->guest < 0)
		return 0;
	(void)snprintf(pid, sizeof(pid), "%d", (int)f->guest);
	assert_int_equal(guest_files_open(pid, &f->files), 0);
	return 0;
}

static int teardown(void **state)
{
	static const char *const names[] = { "root/run/a.sock", "root/run/link", "root/run",
					     "root/out",	"root",		 "out.sock" };
	struct fixture *f = *state;

	if (f->guest > 0) {
		(void)kill(f->guest, SIGKILL);
		(void)waitpid(f->guest, NULL, 0);
	}
	guest_files_close(&f->files);
	loop_free(f->loop);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		(void)remove(in(f->outside, names[i]));
	assert_int_equal(rmdir(f->outside), 0);
	free(f);
	return 0;
}

static struct fixture *fixture_of(void **state)
{
	struct fixture *f = *state;

	if (f->guest < 0)
		skip();
	return f;
}

/* 0, or why not. */
static ssize_t dial(struct fixture *f, const char *path)
{
	struct stream *s;
	ssize_t r;

	assert_int_equal(guest_path_dial(&f->files, f->loop, path, &s), 0);
	r = s->ops->write(s, NULL, 0);
	s->ops->reset(s);
	return r;
}

static int serve(const char *path)
{
	int fd = unix_bound(SOCK_STREAM, path);

	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static void a_path_is_that_of_the_guest(void **state)
{
	struct fixture *f = fixture_of(state);
	int fd = serve(in(f->root, "run/a.sock"));

	assert_int_equal(dial(f, "/run/a.sock"), 0);
	assert_int_equal(dial(f, "/run/b.sock"), -ENOENT);
	assert_int_equal(dial(f, in(f->root, "run/a.sock")), -ENOENT);
	close(fd);
	assert_int_equal(dial(f, "/run/a.sock"), -ECONNREFUSED);
}

/* "/run/link" is what the guest has there, not what the host has. */
static void the_links_of_a_guest_lead_nowhere_else(void **state)
{
	struct fixture *f = fixture_of(state);
	int fd = serve(in(f->outside, "out.sock"));
	char target[128];

	(void)snprintf(target, sizeof(target), "%s", in(f->outside, "out.sock"));
	assert_int_equal(symlink(target, in(f->root, "run/link")), 0);
	assert_int_equal(dial(f, "/run/link"), -ENOENT);
	assert_int_equal(symlink("..", in(f->root, "out")), 0);
	assert_int_equal(dial(f, "/out/out.sock"), -ENOENT);
	assert_int_equal(dial(f, "/../out.sock"), -ENOENT);
	close(fd);
}

static void a_socket_is_made_and_removed_where_the_guest_sees_it(void **state)
{
	struct fixture *f = fixture_of(state);
	struct guest_socket s;

	assert_int_equal(guest_path_bind(&f->files, "/run/a.sock", &s), 0);
	assert_int_equal(access(in(f->root, "run/a.sock"), F_OK), 0);
	guest_socket_close(&s);
	assert_int_equal(access(in(f->root, "run/a.sock"), F_OK), -1);
	assert_int_equal(guest_path_bind(&f->files, "/nowhere/a.sock", &s), -ENOENT);
	assert_int_equal(guest_path_bind(&f->files, "/run/", &s), -EINVAL);
}

static void a_stale_socket_is_replaced_and_a_directory_never(void **state)
{
	struct fixture *f = fixture_of(state);
	struct guest_socket s;

	close(serve(in(f->root, "run/a.sock")));
	assert_int_equal(guest_path_bind(&f->files, "/run/a.sock", &s), 0);
	assert_int_equal(listen(s.socket.fd, 1), 0);
	assert_int_equal(dial(f, "/run/a.sock"), 0);
	guest_socket_close(&s);
	assert_int_equal(guest_path_bind(&f->files, "/run", &s), -EEXIST);
}

static void a_process_that_has_ended_has_no_files(void **state)
{
	struct fixture *f = fixture_of(state);
	int fd = serve(in(f->root, "run/a.sock"));

	(void)kill(f->guest, SIGKILL);
	(void)waitpid(f->guest, NULL, 0);
	f->guest = 0;
	assert_true(dial(f, "/run/a.sock") < 0);
	close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_path_is_that_of_the_guest),
		TEST(the_links_of_a_guest_lead_nowhere_else),
		TEST(a_socket_is_made_and_removed_where_the_guest_sees_it),
		TEST(a_stale_socket_is_replaced_and_a_directory_never),
		TEST(a_process_that_has_ended_has_no_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
