/* SPDX-License-Identifier: Apache-2.0 */
/* A vsock that another program offers as Firecracker does; the test is that program. */
#include "netstack/vsock/peer.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "netstack/base/loop.h"
#include "netstack/stream.h"
#include "tests/support/fake_loop.h"
#include "tests/support/unix_address.h"

struct fixture {
	struct loop *loop;
	struct vsock *vsock;
	char dir[32], path[64];
	int listener, peer;
	struct stream *stream;
};

static int setup(void **state)
{
	struct fixture *t = calloc(1, sizeof(*t));
	struct sockaddr_un address;

	memcpy(t->dir, "/tmp/netfwd-test-XXXXXX", 24);
	assert_non_null(mkdtemp(t->dir));
	(void)snprintf(t->path, sizeof(t->path), "%s/vsock", t->dir);
	address = unix_address(t->path);
	t->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(t->listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(t->listener, 4), 0);
	assert_int_equal(loop_new(&t->loop), 0);
	assert_int_equal(vsock_peer_new(t->loop, t->path, &t->vsock), 0);
	t->peer = -1;
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *t = *state;

	if (t->stream)
		t->stream->ops->reset(t->stream);
	vsock_free(t->vsock);
	loop_free(t->loop);
	if (t->peer >= 0)
		close(t->peer);
	close(t->listener);
	(void)unlink(t->path);
	(void)rmdir(t->dir);
	free(t);
	return 0;
}

static void dial(struct fixture *t)
{
	uint32_t host_port;
	char request[64];

	assert_int_equal(vsock_dial(t->vsock, 2222, &host_port, &t->stream), 0);
	t->peer = accept4(t->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(t->peer >= 0);
	assert_int_equal(recv(t->peer, request, sizeof(request), 0), 13);
	assert_memory_equal(request, "CONNECT 2222\n", 13);
	assert_int_equal(t->stream->ops->write(t->stream, NULL, 0), -EAGAIN);
}

static void say(struct fixture *t, const char *text)
{
	assert_int_equal(send(t->peer, text, strlen(text), MSG_NOSIGNAL), strlen(text));
	fake_loop_settle(t->loop);
}

static void expect_bytes(struct fixture *t, const char *text)
{
	char bytes[64];
	struct iovec iov = { bytes, sizeof(bytes) };

	assert_int_equal(t->stream->ops->write(t->stream, NULL, 0), 0);
	assert_int_equal(t->stream->ops->read(t->stream, &iov, 1), strlen(text));
	assert_memory_equal(bytes, text, strlen(text));
}

static void what_is_behind_the_answer_is_the_stream(void **state)
{
	struct fixture *t = *state;

	dial(t);
	say(t, "OK 1073741824\nhello\n");
	expect_bytes(t, "hello\n");
}

static void an_answer_may_come_byte_by_byte(void **state)
{
	static const char answer[] = "OK 7\n";
	struct fixture *t = *state;

	dial(t);
	for (unsigned int i = 0; i < strlen(answer); i++)
		say(t, (char[]){ answer[i], 0 });
	say(t, "x");
	expect_bytes(t, "x");
}

static void expect_error(struct fixture *t, int error)
{
	fake_loop_settle(t->loop);
	assert_int_equal(t->stream->error, error);
	assert_int_equal(t->stream->ops->write(t->stream, NULL, 0), error);
}

static void who_hangs_up_has_refused(void **state)
{
	struct fixture *t = *state;

	dial(t);
	close(t->peer);
	t->peer = -1;
	expect_error(t, -ECONNREFUSED);
}

static void who_says_something_else_has_refused(void **state)
{
	struct fixture *t = *state;

	dial(t);
	say(t, "error: no such port\n");
	expect_error(t, -ECONNREFUSED);
}

static void an_answer_without_an_end_is_none(void **state)
{
	struct fixture *t = *state;

	dial(t);
	say(t, "OK 0000000000000000000000000000000000000000");
	expect_error(t, -ECONNREFUSED);
}

static void who_says_nothing_is_given_up(void **state)
{
	struct fixture *t = *state;

	dial(t);
	say(t, "OK");
	fake_loop_advance(t->loop, 9999);
	assert_int_equal(t->stream->error, 0);
	fake_loop_advance(t->loop, 1);
	expect_error(t, -ETIMEDOUT);
}

static void nobody_there_is_no_guest(void **state)
{
	struct fixture *t = *state;
	uint32_t host_port;

	(void)unlink(t->path);
	assert_int_equal(vsock_dial(t->vsock, 2222, &host_port, &t->stream), -ENETDOWN);
	t->stream = NULL;
}

static void a_user_who_leaves_early_hangs_up(void **state)
{
	struct fixture *t = *state;
	char byte;

	dial(t);
	t->stream->ops->close(t->stream);
	t->stream = NULL;
	assert_int_equal(recv(t->peer, &byte, 1, 0), 0);
	fake_loop_advance(t->loop, 20000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_behind_the_answer_is_the_stream),
		TEST(an_answer_may_come_byte_by_byte),
		TEST(who_hangs_up_has_refused),
		TEST(who_says_something_else_has_refused),
		TEST(an_answer_without_an_end_is_none),
		TEST(who_says_nothing_is_given_up),
		TEST(nobody_there_is_no_guest),
		TEST(a_user_who_leaves_early_hangs_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
