/* SPDX-License-Identifier: Apache-2.0 */
/* Either end of a raw flow, with a peer that may do anything. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "forwarder/agent/raw_flows.h"
#include "forwarder/agent/server.h"
#include "forwarder/raw_call.h"
#include "forwarder/raw_datagrams.h"
#include "forwarder/raw_header.h"
#include "netstack/base/loop.h"
#include "netstack/stream_fd.h"
#include "tests/support/fake_loop.h"
#include "tests/support/host_socket.h"
#include "tests/support/own_network.h"
#include "tests/support/patience.h"

struct fixture {
	struct loop *loop;
	struct agent_server *agent;
	int peer; /* of what is tested */
	/* of the host's end */
	unsigned int n_answers, n_received, n_gone;
	int error;
	struct stream *stream;
};

static int setup(void **state)
{
	const struct agent_server_config config = { .max_flows = 4 };
	struct fixture *t = calloc(1, sizeof(*t));

	assert_int_equal(loop_new(&t->loop), 0);
	assert_int_equal(agent_server_new(t->loop, &config, &t->agent), 0);
	t->peer = -1;
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *t = *state;

	agent_server_free(t->agent);
	if (t->stream)
		t->stream->ops->reset(t->stream);
	if (t->peer >= 0)
		close(t->peer);
	loop_free(t->loop);
	free(t);
	return 0;
}

static struct stream *make_pair(struct fixture *t, int *peer)
{
	struct stream *stream;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
	assert_int_equal(stream_fd_new(t->loop, fds[0], false, &stream), 0);
	*peer = fds[1];
	return stream;
}

static bool has_ended(int fd)
{
	char byte;

	return recv(fd, &byte, 1, 0) == 0;
}

/* --- the agent's end --- */

static void a_header_that_is_none_ends_the_connection(void **state)
{
	struct fixture *t = *state;

	agent_server_accept_raw(t->agent, make_pair(t, &t->peer));
	assert_int_equal(send(t->peer, "GET / HTTP/1.0\r\n", 16, 0), 16);
	UNTIL(t->loop, has_ended(t->peer));
	assert_int_equal(agent_server_counters(t->agent)->flows_refused, 1);
}

static void a_header_may_come_byte_by_byte(void **state)
{
	struct fixture *t = *state;
	struct rpc_open open = { 0 };
	uint8_t header[RAW_HEADER_MAX], answer[RAW_ANSWER_SIZE];
	int listener = host_listen("127.0.0.1", &open.place.endpoint.port), error;
	size_t len;

	assert_int_equal(ipaddr_parse("127.0.0.1", &open.place.endpoint.addr), 0);
	len = raw_header_encode(&open, header);
	agent_server_accept_raw(t->agent, make_pair(t, &t->peer));
	for (size_t i = 0; i < len; i++) {
		assert_int_equal(send(t->peer, header + i, 1, 0), 1);
		fake_loop_settle(t->loop);
	}
	UNTIL(t->loop, recv(t->peer, answer, sizeof(answer), 0) == sizeof(answer));
	assert_int_equal(raw_answer_decode(answer, &error), 0);
	assert_int_equal(error, 0);
	close(listener);
}

static void a_header_that_does_not_come_is_given_up(void **state)
{
	struct fixture *t = *state;

	agent_server_accept_raw(t->agent, make_pair(t, &t->peer));
	assert_int_equal(send(t->peer, "NFR", 3, 0), 3);
	fake_loop_advance(t->loop, RAW_FLOWS_PATIENCE_MS - 1);
	assert_false(has_ended(t->peer));
	fake_loop_advance(t->loop, 1);
	UNTIL(t->loop, has_ended(t->peer));
	assert_int_equal(agent_server_counters(t->agent)->flows_refused, 1);
}

static void there_are_only_so_many(void **state)
{
	struct fixture *t = *state;
	int peers[5];

	for (int i = 0; i < 5; i++)
		agent_server_accept_raw(t->agent, make_pair(t, &peers[i]));
	UNTIL(t->loop, has_ended(peers[4]));
	for (int i = 0; i < 5; i++) {
		assert_true(i == 4 || !has_ended(peers[i]));
		close(peers[i]);
	}
}

/* --- the host's --- */

static void on_answered(void *arg, int error, struct stream *agent)
{
	struct fixture *t = arg;

	t->n_answers++;
	t->error = error;
	t->stream = agent;
}

static void call(struct fixture *t)
{
	const struct raw_call_owner owner = { on_answered, t };
	const struct rpc_open open = { .place.path = "/run/x" };
	struct raw_call *out;

	assert_int_equal(raw_call_new(t->loop, make_pair(t, &t->peer), &open, &owner, &out), 0);
	fake_loop_settle(t->loop);
	assert_int_equal(t->n_answers, 0);
}

static void expect_failure(struct fixture *t, int error)
{
	UNTIL(t->loop, t->n_answers == 1);
	assert_int_equal(t->error, error);
	assert_null(t->stream);
}

static void an_agent_that_hangs_up_was_not_reached(void **state)
{
	struct fixture *t = *state;

	call(t);
	close(t->peer);
	t->peer = -1;
	expect_failure(t, -ENOTCONN);
}

static void an_agent_that_says_something_else_was_not_reached(void **state)
{
	struct fixture *t = *state;

	call(t);
	assert_int_equal(send(t->peer, "HTTP/1.1 400 no\r\n", 17, 0), 17);
	expect_failure(t, -ENOTCONN);
}

static void an_agent_that_says_nothing_was_not_reached(void **state)
{
	struct fixture *t = *state;

	call(t);
	fake_loop_advance(t->loop, RAW_CALL_PATIENCE_MS);
	expect_failure(t, -ENOTCONN);
}

static void the_guests_refusal_is_told(void **state)
{
	struct fixture *t = *state;
	uint8_t answer[RAW_ANSWER_SIZE];

	call(t);
	raw_answer_encode(-ECONNREFUSED, answer);
	assert_int_equal(send(t->peer, answer, sizeof(answer), 0), sizeof(answer));
	expect_failure(t, -ECONNREFUSED);
}

/* What a server says first may come in one piece with the answer. */
static void bytes_behind_the_answer_stay_for_the_stream(void **state)
{
	struct fixture *t = *state;
	uint8_t bytes[RAW_ANSWER_SIZE + 5];
	struct iovec iov = { bytes, sizeof(bytes) };

	call(t);
	raw_answer_encode(0, bytes);
	memcpy(bytes + RAW_ANSWER_SIZE, "hello", 5);
	assert_int_equal(send(t->peer, bytes, sizeof(bytes), 0), sizeof(bytes));
	UNTIL(t->loop, t->n_answers == 1);
	assert_int_equal(t->error, 0);
	assert_int_equal(t->stream->ops->read(t->stream, &iov, 1), 5);
	assert_memory_equal(bytes, "hello", 5);
}

/* --- datagrams --- */

static void on_datagram(void *arg, const struct iovec *iov, int n)
{
	struct fixture *t = arg;

	assert_int_equal(n, 1);
	assert_int_equal(iov->iov_len, t->n_received);
	t->n_received++;
}

static void on_refused(void *arg)
{
	(void)arg;
}

static void on_gone(void *arg)
{
	struct fixture *t = arg;

	t->n_gone++;
}

static void a_length_that_cannot_be_ends_the_flow(void **state)
{
	static const struct raw_datagrams_ops ops = { on_datagram, on_refused, on_gone };
	static const uint8_t bytes[] = { 0, 0, 0, 1, 'x', 0xff, 0xf8 }; /* 65528 */
	struct fixture *t = *state;
	struct raw_datagrams *flow;

	assert_int_equal(raw_datagrams_new(&ops, t, &flow), 0);
	raw_datagrams_attach(flow, make_pair(t, &t->peer));
	for (size_t i = 0; i < sizeof(bytes); i++) {
		assert_int_equal(t->n_gone, 0);
		assert_int_equal(send(t->peer, bytes + i, 1, 0), 1);
		fake_loop_settle(t->loop);
	}
	UNTIL(t->loop, t->n_gone > 0);
	assert_int_equal(t->n_received, 2);
	raw_datagrams_free(flow);
}

static void what_the_peer_does_not_take_is_dropped(void **state)
{
	static const struct raw_datagrams_ops ops = { on_datagram, on_refused, on_gone };
	static const char datagram[RAW_DATAGRAM_MAX + 1];
	struct fixture *t = *state;
	struct raw_datagrams *flow;
	int r = 0;

	assert_int_equal(raw_datagrams_new(&ops, t, &flow), 0);
	assert_int_equal(raw_datagrams_send(flow, datagram, sizeof(datagram)), -EMSGSIZE);
	for (unsigned int i = 0; i <= RAW_DATAGRAMS_QUEUE / RAW_DATAGRAM_MAX; i++)
		r = raw_datagrams_send(flow, datagram, RAW_DATAGRAM_MAX);
	assert_int_equal(r, -EAGAIN);
	raw_datagrams_free(flow);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_header_that_is_none_ends_the_connection),
		TEST(a_header_may_come_byte_by_byte),
		TEST(a_header_that_does_not_come_is_given_up),
		TEST(there_are_only_so_many),
		TEST(an_agent_that_hangs_up_was_not_reached),
		TEST(an_agent_that_says_something_else_was_not_reached),
		TEST(an_agent_that_says_nothing_was_not_reached),
		TEST(the_guests_refusal_is_told),
		TEST(bytes_behind_the_answer_stay_for_the_stream),
		TEST(a_length_that_cannot_be_ends_the_flow),
		TEST(what_the_peer_does_not_take_is_dropped),
	};

	own_network_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
