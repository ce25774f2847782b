/* SPDX-License-Identifier: Apache-2.0 */
/* A host whose agent breaks the protocol, or is slow: it is let go and tried again,
 * and costs no more than a bounded amount. */
#include "forwarder/agent_client.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "forwarder/tunnel.h"
#include "netstack/base/loop.h"
#include "netstack/stream.h"
#include "tests/support/fake_loop.h"
#include "tests/support/hostile.h"
#include "tests/support/own_network.h"
#include "tests/support/patience.h"

/* What our host calls first has number 1: hello. */
static void answer_hello(struct hostile *t)
{
	h2_response(&t->out, 1);
	h2_message(&t->out, 1, "\x08\x01\x18\x07", 4);
	h2_trailers(&t->out, 1, "0");
	hostile_flush(t);
}

static void assert_up(struct hostile *t)
{
	assert_int_equal(agent_client_tunnel(t->client)->state, TUNNEL_UP);
}

/* It is let go, and tried again, with a pause. */
static void assert_tried_again(struct hostile *t)
{
	unsigned int before = t->n_connects;

	hostile_flush(t);
	assert_int_equal(t->n_connects, before);
	fake_loop_advance(t->loop, 1000);
	assert_true(t->n_connects > before);
	assert_true(t->n_connects < before + 10);
}

static void agent_that_speaks_no_http_2_is_tried_again(void **state)
{
	struct hostile *t = *state;

	t->out.len = 0;
	h2_raw(&t->out, "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", 32);
	assert_tried_again(t);
	assert_int_equal(agent_client_counters(t->client)->connects, 0);
}

static void agent_that_says_nothing_is_tried_again(void **state)
{
	struct hostile *t = *state;

	t->out.len = 0;
	fake_loop_advance(t->loop, 15000);
	assert_in_range(t->n_connects, 2, 3);
}

static void agent_that_answers_hello_with_nonsense_is_tried_again(void **state)
{
	struct hostile *t = *state;

	h2_response(&t->out, 1);
	h2_message(&t->out, 1, "\xff\xff", 2);
	assert_tried_again(t);
}

static void agent_that_refuses_hello_is_tried_again(void **state)
{
	struct hostile *t = *state;

	h2_response(&t->out, 1);
	h2_trailers(&t->out, 1, "7");
	assert_tried_again(t);
}

/* More features, another protocol: what both know is used. */
static void agent_of_another_version_is_used(void **state)
{
	struct hostile *t = *state;

	h2_response(&t->out, 1);
	h2_message(&t->out, 1, "\x08\x63\x12\x03\x39\x2e\x39\x18\xff\xff\x03\x9a\x06\x01x", 15);
	hostile_flush(t);
	assert_up(t);
}

/* An agent that has only hello is one of Lima's for the rest. */
static void agent_without_our_features_is_used_as_limas(void **state)
{
	struct hostile *t = *state;

	h2_response(&t->out, 1);
	h2_message(&t->out, 1, "\x08\x01", 2);
	hostile_flush(t);
	assert_up(t);
	h2_response(&t->out, 3); /* GetEvents */
	h2_message(&t->out, 3,
		   "\x12\x12\x0a\x03tcp\x12\x09"
		   "127.0.0.1"
		   "\x18\x50",
		   20);
	hostile_flush(t);
	assert_int_equal(t->n_listeners, 1);
}

static void bad_event_ends_the_connection_and_removes_nothing(void **state)
{
	struct hostile *t = *state;

	answer_hello(t);
	assert_up(t);
	h2_response(&t->out, 3);
	h2_message(&t->out, 3, "\x08\x01\x12\x08\x12\x04\x7f\0\0\x01\x18\x50", 12);
	hostile_flush(t);
	assert_int_equal(t->n_listeners, 1);
	h2_message(&t->out, 3, "\xff\xff\xff", 3);
	assert_tried_again(t);
	assert_int_equal(t->n_told, 1);
	assert_int_equal(t->n_listeners, 1);
}

/* Events that end are asked for again; the connection and its flows stay. */
static void events_that_end_are_asked_for_again(void **state)
{
	struct hostile *t = *state;

	answer_hello(t);
	h2_response(&t->out, 3);
	h2_trailers(&t->out, 3, "8");
	hostile_flush(t);
	assert_up(t);
	fake_loop_advance(t->loop, 1500);
	h2_response(&t->out, 5);
	h2_message(&t->out, 5, "\x08\x01\x12\x08\x12\x04\x7f\0\0\x01\x18\x50", 12);
	hostile_flush(t);
	assert_int_equal(t->n_listeners, 1);
	assert_int_equal(t->n_connects, 1);
}

static void dial_answered_wrongly_breaks_that_stream_only(void **state)
{
	static const char *const wrong[] = {
		"\x0a\x01x",		/* data before the answer */
		"\x1a\x02\x08\x6f",	/* Opened: ECONNREFUSED */
		"\x12\x00",		/* Open, which is ours to say */
		"\xff\xff\xff\xff",	/* nothing */
		"\x1a\x03\x08\xff\x7f", /* no errno of any kernel */
	};
	static const int errors[] = { -EPROTO, -ECONNREFUSED, -EPROTO, -EPROTO, -EIO };
	struct hostile *t = *state;
	struct tunnel *tunnel = agent_client_tunnel(t->client);
	struct tunnel_place place = { .endpoint = { IPADDR_V4(127, 0, 0, 1), 80 } };

	answer_hello(t);
	for (uint32_t i = 0; i < 5; i++) {
		struct stream *s;

		assert_int_equal(tunnel->ops->dial(tunnel, &place, &s), 0);
		fake_loop_settle(t->loop);
		h2_response(&t->out, 5 + 2 * i);
		h2_message(&t->out, 5 + 2 * i, wrong[i], i == 2 ? 2 : strlen(wrong[i]));
		hostile_flush(t);
		assert_int_equal(s->ops->write(s, NULL, 0), errors[i]);
		s->ops->reset(s);
	}
	assert_up(t);
}

/* The agent reads nothing, so most of the calls are still here when they are
 * called off. */
static void calls_that_were_reset_before_they_were_sent_are_gone(void **state)
{
	enum { N = 14000 };
	static struct stream *streams[N];
	struct hostile *t = *state;
	struct tunnel *tunnel = agent_client_tunnel(t->client);
	struct tunnel_place place = { .endpoint = { IPADDR_V4(127, 0, 0, 1), 80 } };

	answer_hello(t);
	for (int i = 0; i < N; i++)
		assert_int_equal(tunnel->ops->dial(tunnel, &place, &streams[i]), 0);
	fake_loop_settle(t->loop);
	for (int i = 0; i < N; i++)
		streams[i]->ops->reset(streams[i]);
	fake_loop_settle(t->loop);
	assert_up(t);
	for (int quiet = 0; quiet < 10; quiet++) { /* now it reads, and goes on */
		size_t before = t->n_heard;

		hostile_hear(t);
		fake_loop_settle(t->loop);
		quiet = t->n_heard > before ? 0 : quiet;
	}
	assert_true(t->n_heard > 100000);
	assert_up(t);
	assert_int_equal(tunnel->ops->dial(tunnel, &place, &streams[0]), 0);
	hostile_flush(t);
	streams[0]->ops->reset(streams[0]);
	assert_int_equal(t->n_connects, 1);
}

static void count_ready(void *arg)
{
	unsigned int *n = arg;

	(*n)++;
}

/* Nothing but the transport's own room brings the writer on. */
static void writer_goes_on_when_the_agent_reads_again(void **state)
{
	/* large windows, and frames of 256 KiB */
	static const uint8_t window[] = { 0, 4, 0x7f, 0xff, 0xff, 0xff, 0, 5, 0, 4, 0, 0 };
	static uint8_t block[100000];
	struct iovec iov = { block, sizeof(block) };
	struct hostile *t = *state;
	struct tunnel *tunnel = agent_client_tunnel(t->client);
	struct tunnel_place place = { .endpoint = { IPADDR_V4(127, 0, 0, 1), 80 } };
	struct stream *s;
	unsigned int n_ready = 0;
	size_t sent = 0;
	ssize_t n;

	h2_frame(&t->out, &(struct h2_frame){ H2_SETTINGS, 0, 0, window, sizeof(window) });
	h2_frame(&t->out, &(struct h2_frame){ H2_WINDOW_UPDATE, 0, 0, "\x40\0\0\0", 4 });
	answer_hello(t);
	assert_int_equal(tunnel->ops->dial(tunnel, &place, &s), 0);
	fake_loop_settle(t->loop);
	h2_response(&t->out, 5);
	h2_message(&t->out, 5, "\x1a\x00", 2);
	hostile_flush(t);
	stream_set_ready(s, count_ready, &n_ready);
	s->ops->want(s, STREAM_WRITE);
	for (int round = 0; round < 20; round++) {
		while ((n = s->ops->write(s, &iov, 1)) > 0)
			sent += (size_t)n;
		assert_int_equal(n, -EAGAIN);
		fake_loop_settle(t->loop);
		n_ready = 0;
		while (n_ready == 0) { /* the peer reads, and says nothing */
			size_t before = t->n_heard;

			hostile_hear(t);
			fake_loop_settle(t->loop);
			assert_true(t->n_heard > before || n_ready);
		}
	}
	assert_true(sent > 2000000);
	s->ops->reset(s);
}

/* Hello is over, its events are one call: there is room for one more. */
static void dials_wait_while_the_agent_takes_no_more_calls(void **state)
{
	static const uint8_t two[] = { 0, 3, 0, 0, 0, 2 };
	struct hostile *t = *state;
	struct tunnel *tunnel = agent_client_tunnel(t->client);
	struct tunnel_place place = { .endpoint = { IPADDR_V4(127, 0, 0, 1), 80 } };
	struct stream *s[3];

	h2_frame(&t->out, &(struct h2_frame){ H2_SETTINGS, 0, 0, two, sizeof(two) });
	answer_hello(t);
	for (int i = 0; i < 3; i++)
		assert_int_equal(tunnel->ops->dial(tunnel, &place, &s[i]), 0);
	h2_response(&t->out, 5);
	h2_message(&t->out, 5, "\x1a\x00", 2);
	hostile_flush(t);
	assert_int_equal(s[0]->ops->write(s[0], NULL, 0), 0);
	assert_int_equal(s[1]->ops->write(s[1], NULL, 0), -EAGAIN);

	s[0]->ops->reset(s[0]);
	fake_loop_settle(t->loop);
	fake_loop_advance(t->loop, 100);
	h2_response(&t->out, 7);
	h2_message(&t->out, 7, "\x1a\x00", 2);
	hostile_flush(t);
	assert_int_equal(s[1]->ops->write(s[1], NULL, 0), 0);
	assert_int_equal(s[2]->ops->write(s[2], NULL, 0), -EAGAIN);

	fake_loop_advance(t->loop, 5000);
	assert_int_equal(s[2]->ops->write(s[2], NULL, 0), -ETIMEDOUT);
	s[1]->ops->reset(s[1]);
	s[2]->ops->reset(s[2]);
	assert_up(t);
}

static void agent_that_leaves_with_an_error_is_lost(void **state)
{
	struct hostile *t = *state;

	answer_hello(t);
	assert_up(t);
	h2_frame(&t->out, &(struct h2_frame){ H2_GOAWAY, 0, 0, "\0\0\0\0\0\0\0\x01", 8 });
	assert_tried_again(t);
	assert_int_equal(agent_client_counters(t->client)->losses, 1);
}

static void say_to(struct hostile *t, int peer)
{
	assert_int_equal(send(peer, t->out.data, t->out.len, MSG_NOSIGNAL), t->out.len);
	t->out.len = 0;
	fake_loop_settle(t->loop);
}

/* Once with all calls let through, once with those that are served; what is open goes
 * on, and the new connection has nothing to do with it. */
static void agent_that_leaves_serves_what_it_has(void **state)
{
	struct hostile *t = *state;
	struct tunnel *tunnel = agent_client_tunnel(t->client);
	struct tunnel_place place = { .endpoint = { IPADDR_V4(127, 0, 0, 1), 80 } };
	struct stream *s;
	char byte;
	int leaving;

	answer_hello(t);
	assert_int_equal(tunnel->ops->dial(tunnel, &place, &s), 0);
	fake_loop_settle(t->loop);
	h2_response(&t->out, 5);
	h2_message(&t->out, 5, "\x1a\x00", 2);
	hostile_flush(t);
	leaving = t->peer;
	t->peer = -1; /* the next connection's is another */
	h2_frame(&t->out, &(struct h2_frame){ H2_GOAWAY, 0, 0, "\x7f\xff\xff\xff\0\0\0\0", 8 });
	h2_frame(&t->out, &(struct h2_frame){ H2_GOAWAY, 0, 0, "\0\0\0\x05\0\0\0\0", 8 });
	say_to(t, leaving);
	fake_loop_advance(t->loop, 1);
	assert_int_equal(t->n_connects, 2);
	h2_settings(&t->out);
	answer_hello(t);
	assert_up(t);

	h2_message(&t->out, 5, "\x0a\x01x", 3); /* data */
	say_to(t, leaving);
	assert_int_equal(s->ops->read(s, &(struct iovec){ &byte, 1 }, 1), 1);
	assert_int_equal(byte, 'x');

	s->ops->reset(s);
	fake_loop_settle(t->loop);
	while (recv(leaving, t->heard, sizeof(t->heard), 0) > 0)
		continue;
	assert_int_equal(recv(leaving, t->heard, sizeof(t->heard), 0), 0); /* it is closed */
	close(leaving);
	assert_up(t);
	assert_int_equal(agent_client_counters(t->client)->losses, 0);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, hostile_setup_agent, hostile_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(agent_that_speaks_no_http_2_is_tried_again),
		TEST(agent_that_says_nothing_is_tried_again),
		TEST(agent_that_answers_hello_with_nonsense_is_tried_again),
		TEST(agent_that_refuses_hello_is_tried_again),
		TEST(agent_of_another_version_is_used),
		TEST(agent_without_our_features_is_used_as_limas),
		TEST(bad_event_ends_the_connection_and_removes_nothing),
		TEST(events_that_end_are_asked_for_again),
		TEST(writer_goes_on_when_the_agent_reads_again),
		TEST(dials_wait_while_the_agent_takes_no_more_calls),
		TEST(agent_that_leaves_with_an_error_is_lost),
		TEST(agent_that_leaves_serves_what_it_has),
		TEST(calls_that_were_reset_before_they_were_sent_are_gone),
		TEST(dial_answered_wrongly_breaks_that_stream_only),
	};

	own_network_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
