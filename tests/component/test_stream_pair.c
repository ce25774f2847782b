/* SPDX-License-Identifier: Apache-2.0 */
/* Standard input and output as a stream: pipes, and a socket that is both. */
#include "netstack/stream_pair.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "netstack/base/loop.h"
#include "tests/support/fake_loop.h"
#include "tests/support/patience.h"

struct fixture {
	struct loop *loop;
	struct stream *stream;
	int to, from; /* the other end's: of what the stream reads, and writes */
	unsigned int n_ready, n_closed;
};

static void on_ready(void *arg)
{
	struct fixture *t = arg;

	t->n_ready++;
	t->stream->ops->want(t->stream, 0);
}

static void on_closed(void *arg)
{
	struct fixture *t = arg;

	t->n_closed++;
}

static void make(struct fixture *t, const int fds[2])
{
	assert_int_equal(loop_new(&t->loop), 0);
	assert_int_equal(stream_pair_new(t->loop, fds, on_closed, t, &t->stream), 0);
	stream_set_ready(t->stream, on_ready, t);
}

static int setup_pipes(void **state)
{
	struct fixture *t = calloc(1, sizeof(*t));
	int in[2], out[2];

	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	make(t, (int[]){ in[0], out[1] });
	t->to = in[1];
	t->from = out[0];
	*state = t;
	return 0;
}

static int setup_socket(void **state)
{
	struct fixture *t = calloc(1, sizeof(*t));
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	make(t, (int[]){ pair[0], pair[0] });
	t->to = pair[1];
	t->from = dup(pair[1]);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *t = *state;

	if (t->stream)
		t->stream->ops->close(t->stream);
	loop_free(t->loop);
	close(t->to);
	close(t->from);
	free(t);
	return 0;
}

static ssize_t put(struct fixture *t, const void *data, size_t len)
{
	const struct iovec iov = { (void *)(uintptr_t)data, len };

	return t->stream->ops->write(t->stream, &iov, 1);
}

static ssize_t get(struct fixture *t, void *out, size_t size)
{
	const struct iovec iov = { out, size };

	return t->stream->ops->read(t->stream, &iov, 1);
}

static void bytes_go_both_ways(void **state)
{
	struct fixture *t = *state;
	char got[16];

	t->stream->ops->want(t->stream, STREAM_READ);
	assert_int_equal(get(t, got, sizeof(got)), -EAGAIN);
	assert_int_equal(write(t->to, "in", 2), 2);
	UNTIL(t->loop, t->n_ready > 0);
	assert_int_equal(get(t, got, sizeof(got)), 2);
	assert_memory_equal(got, "in", 2);
	assert_int_equal(put(t, "out", 3), 3);
	assert_int_equal(read(t->from, got, sizeof(got)), 3);
	assert_memory_equal(got, "out", 3);
}

static void a_full_output_is_waited_for(void **state)
{
	struct fixture *t = *state;
	static char much[1 << 20];

	while (put(t, much, sizeof(much)) != -EAGAIN)
		continue;
	t->stream->ops->want(t->stream, STREAM_WRITE);
	fake_loop_settle(t->loop);
	assert_int_equal(t->n_ready, 0);
	assert_true(read(t->from, much, sizeof(much)) > 0);
	UNTIL(t->loop, t->n_ready > 0);
	assert_true(put(t, much, 1000) > 0);
}

static void the_end_of_either_direction_is_seen(void **state)
{
	struct fixture *t = *state;
	char got[16];

	assert_int_equal(t->stream->ops->shutdown(t->stream), 0);
	assert_int_equal(read(t->from, got, sizeof(got)), 0);
	assert_int_equal(put(t, "x", 1), -EPIPE);
	assert_int_equal(write(t->to, "in", 2), 2);
	assert_int_equal(get(t, got, sizeof(got)), 2);
}

static void a_reader_that_is_gone_is_told(void **state)
{
	struct fixture *t = *state;
	char got[16];

	t->stream->ops->want(t->stream, 0);
	assert_int_equal(write(t->to, "last", 4), 4);
	close(t->from);
	close(t->to);
	t->from = t->to = -1;
	UNTIL(t->loop, t->n_ready > 0);
	assert_int_equal(put(t, "x", 1), -EPIPE);
	assert_int_equal(get(t, got, sizeof(got)), 4);
	assert_int_equal(get(t, got, sizeof(got)), 0);
}

static void closing_tells_who_asked_for_it(void **state)
{
	struct fixture *t = *state;
	char got[16];

	t->stream->ops->close(t->stream);
	t->stream = NULL;
	assert_int_equal(t->n_closed, 1);
	assert_int_equal(read(t->from, got, sizeof(got)), 0);
}

#define BOTH(name)                                               \
	{ #name " (pipes)", name, setup_pipes, teardown, NULL }, \
		cmocka_unit_test_setup_teardown(name, setup_socket, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(bytes_go_both_ways),
		BOTH(a_full_output_is_waited_for),
		BOTH(the_end_of_either_direction_is_seen),
		BOTH(a_reader_that_is_gone_is_told),
		BOTH(closing_tells_who_asked_for_it),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
