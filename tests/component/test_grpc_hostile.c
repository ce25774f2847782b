/* SPDX-License-Identifier: Apache-2.0 */
/* An agent whose host breaks the protocol, and a host whose agent does: each is
 * let go, and costs no more than a bounded amount. The peer is this file, byte by
 * byte, over a socket pair. */
#include "forwarder/agent_client.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "forwarder/agent/server.h"
#include "forwarder/tunnel.h"
#include "netstack/base/loop.h"
#include "netstack/stream.h"
#include "netstack/stream_fd.h"
#include "tests/support/fake_loop.h"
#include "tests/support/h2_frames.h"
#include "tests/support/host_socket.h"
#include "tests/support/own_network.h"
#include "tests/support/patience.h"

#define FLOW "/netfwd.v1.Agent/Flow"
#define TUNNEL "/GuestService/Tunnel"

struct fixture {
	struct loop *loop;
	struct agent_server *server;
	struct agent_client *client;
	int peer; /* our end of the last connection, -1: it is closed */
	unsigned int n_connects, n_told, n_listeners;
	struct h2_bytes out;
	uint8_t heard[256 * 1024]; /* what the peer has sent last */
	size_t n_heard;
	bool has_ended;
};

static void open_pair(struct fixture *t, struct stream **theirs)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
	if (t->peer >= 0)
		close(t->peer);
	t->peer = fds[0];
	t->has_ended = false;
	t->n_heard = 0;
	assert_int_equal(stream_fd_new(t->loop, fds[1], false, theirs), 0);
}

static void connect_host(struct fixture *t)
{
	struct stream *s;

	open_pair(t, &s);
	agent_server_accept(t->server, s);
	h2_hello(&t->out);
}

static int on_connect(void *arg, struct stream **out)
{
	struct fixture *t = arg;

	t->n_connects++;
	open_pair(t, out);
	return 0;
}

static void on_listeners(void *arg, const struct port_listener *all, unsigned int n)
{
	struct fixture *t = arg;

	(void)all;
	t->n_told++;
	t->n_listeners = n;
}

static void hear(struct fixture *t)
{
	ssize_t n = recv(t->peer, t->heard, sizeof(t->heard), 0);

	if (n > 0)
		t->n_heard += (size_t)n;
	else if (n == 0 || errno != EAGAIN)
		t->has_ended = true;
}

/* Sends what was put together, as far as anybody reads it. */
static void flush(struct fixture *t)
{
	size_t at = 0;

	for (int quiet = 0; at < t->out.len && quiet < 10; quiet++) {
		ssize_t n = send(t->peer, t->out.data + at, t->out.len - at, MSG_NOSIGNAL);

		if (n > 0) {
			at += (size_t)n;
			quiet = 0;
		} else if (errno != EAGAIN) {
			break;
		}
		fake_loop_settle(t->loop);
	}
	t->out.len = 0;
	fake_loop_settle(t->loop);
	hear(t);
}

static bool is_closed(struct fixture *t)
{
	while (!t->has_ended) {
		size_t before = t->n_heard;

		hear(t);
		if (t->n_heard == before)
			break;
	}
	return t->has_ended;
}

static int setup(void **state)
{
	struct fixture *t = calloc(1, sizeof(*t));
	struct agent_server_config config = { .max_flows = 100 };

	assert_int_equal(loop_new(&t->loop), 0);
	assert_int_equal(agent_server_new(t->loop, &config, &t->server), 0);
	h2_init(&t->out);
	t->peer = -1;
	*state = t;
	return 0;
}

/* A host that has said hello to nobody yet. */
static int setup_client(void **state)
{
	struct fixture *t;
	struct agent_client_config config = { .connect = on_connect, .listeners = on_listeners };

	(void)setup(state);
	t = *state;
	config.arg = t;
	assert_int_equal(agent_client_new(t->loop, &config, &t->client), 0);
	fake_loop_settle(t->loop);
	fake_loop_advance(t->loop, 1);
	assert_int_equal(t->n_connects, 1);
	h2_settings(&t->out);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *t = *state;

	agent_client_free(t->client);
	agent_server_free(t->server);
	if (t->peer >= 0)
		close(t->peer);
	h2_deinit(&t->out);
	loop_free(t->loop);
	free(t);
	return 0;
}

/* --- hosts --- */

static void assert_let_go(struct fixture *t)
{
	flush(t);
	UNTIL(t->loop, is_closed(t));
	assert_int_equal(agent_server_counters(t->server)->connections_lost, 1);
	assert_int_equal(agent_server_n_connections(t->server), 0);
}

static void host_that_speaks_http_1_is_let_go(void **state)
{
	struct fixture *t = *state;

	connect_host(t);
	t->out.len = 0;
	h2_raw(&t->out, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27);
	assert_let_go(t);
}

static void frame_that_is_too_long_is_the_end(void **state)
{
	static uint8_t payload[300 * 1024];
	struct fixture *t = *state;

	connect_host(t);
	h2_request(&t->out, 1, FLOW);
	h2_frame(&t->out, &(struct h2_frame){ H2_DATA, 0, 1, payload, sizeof(payload) });
	assert_let_go(t);
}

static void stream_that_was_never_opened_is_the_end(void **state)
{
	struct fixture *t = *state;

	connect_host(t);
	h2_message(&t->out, 77, "x", 1);
	assert_let_go(t);
}

static void stream_of_the_other_side_is_the_end(void **state)
{
	struct fixture *t = *state;

	connect_host(t);
	h2_request(&t->out, 2, FLOW);
	assert_let_go(t);
}

/* The call ends, the others go on. */
static void bad_messages_end_their_call_only(void **state)
{
	static const char *const paths[] = {
		FLOW,
		TUNNEL,
		"/netfwd.v1.Agent/Hello",
		"/netfwd.v1.Agent/Listen",
		"/GuestService/SyncTime",
		"/GuestService/None",
		"nothing",
	};
	static const char *const bad[] = { "\xff\xff\xff", "\x12\x00", "\x12\x02\x12\x00",
					   "\x12\x04\x1a\x02x/", "\x0a\x80" };
	struct fixture *t = *state;
	uint32_t stream = 1;

	connect_host(t);
	for (size_t p = 0; p < sizeof(paths) / sizeof(*paths); p++) {
		for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++, stream += 2) {
			h2_request(&t->out, stream, paths[p]);
			h2_message(&t->out, stream, bad[i], strlen(bad[i]) + 1);
		}
		flush(t);
	}
	for (int i = 0; i < 200; i++, stream += 2) { /* compressed, and 4 GiB long */
		h2_request(&t->out, stream, FLOW);
		h2_frame(&t->out,
			 &(struct h2_frame){ H2_DATA, 0, stream,
					     i % 2 ? "\x01\0\0\0\0" : "\0\xff\xff\xff\xff", 5 });
		h2_frame(&t->out, &(struct h2_frame){ H2_RST_STREAM, 0, stream, "\0\0\0\x08", 4 });
		flush(t);
	}
	assert_false(is_closed(t));
	assert_int_equal(agent_server_n_connections(t->server), 1);
}

static void open_flow(struct fixture *t, uint32_t stream, uint16_t port)
{
	uint8_t open[] = { 0x12, 0x0c, 0x12, 0x0a, 0x0a, 4, 127, 0, 0, 1, 0x10, 0, 0, 0 };

	open[11] = (uint8_t)(port | 0x80);
	open[12] = (uint8_t)(port >> 7 | 0x80);
	open[13] = (uint8_t)(port >> 14);
	h2_request(&t->out, stream, FLOW);
	h2_message(&t->out, stream, open, sizeof(open));
}

/* Data before the dial is over is kept, within the window; more than that is an
 * error of the host. */
static void window_holds_what_a_host_may_send_to_a_reader_that_stopped(void **state)
{
	static uint8_t data[16000];
	struct fixture *t = *state;
	uint16_t port;
	int listener = host_listen("127.0.0.1", &port), server;
	uint8_t head[] = { 0, 0, 0xff, 0xff, 0xff, 0x0a, 0xfb, 0xff, 0xff, 0x07 };

	connect_host(t);
	open_flow(t, 1, port);
	flush(t);
	server = host_accept(listener);
	assert_true(server >= 0);
	h2_frame(&t->out, &(struct h2_frame){ H2_DATA, 0, 1, head, sizeof(head) });
	for (int i = 0; i < 4000; i++) { /* 64 MB, and nobody reads at the server */
		h2_frame(&t->out, &(struct h2_frame){ H2_DATA, 0, 1, data, sizeof(data) });
		if (i % 100 == 0)
			flush(t);
	}
	flush(t);
	/* the stream was reset, or the connection ended: what counts is the memory */
	assert_true(agent_server_n_connections(t->server) <= 1);
	close(server);
	close(listener);
}

static void calls_beyond_the_most_are_refused(void **state)
{
	struct fixture *t = *state;

	connect_host(t);
	for (uint32_t i = 0; i < 500; i++)
		h2_request(&t->out, 1 + 2 * i, TUNNEL);
	flush(t);
	assert_int_equal(agent_server_counters(t->server)->flows, 100);
}

/* It asks and asks, and never reads an answer. */
static void host_that_never_reads_costs_no_memory(void **state)
{
	struct fixture *t = *state;

	connect_host(t);
	for (int round = 0; round < 50; round++) {
		for (int i = 0; i < 2000; i++)
			h2_frame(&t->out, &(struct h2_frame){ H2_PING, 0, 0, "12345678", 8 });
		(void)send(t->peer, t->out.data, t->out.len, MSG_NOSIGNAL);
		t->out.len = 0;
		fake_loop_settle(t->loop);
	}
	assert_int_equal(agent_server_n_connections(t->server), 0);
}

static void connection_cut_in_a_frame_ends_its_flows(void **state)
{
	struct fixture *t = *state;
	uint16_t port;
	int listener = host_listen("127.0.0.1", &port), server;
	unsigned int before = host_descriptors();
	char c;

	connect_host(t);
	open_flow(t, 1, port);
	flush(t);
	server = host_accept(listener);
	assert_true(server >= 0);
	h2_message(&t->out, 1, "\x0a\x01x", 3);
	t->out.len -= 2;
	flush(t);
	close(t->peer);
	t->peer = -1;
	UNTIL(t->loop, recv(server, &c, 1, 0) < 0 && errno == ECONNRESET);
	close(server);
	assert_int_equal(host_descriptors(), before);
	close(listener);
}

/* --- agents --- */

/* What our host calls first has number 1: hello. */
static void answer_hello(struct fixture *t)
{
	h2_response(&t->out, 1);
	h2_message(&t->out, 1, "\x08\x01\x18\x07", 4);
	h2_trailers(&t->out, 1, "0");
	flush(t);
}

static void assert_up(struct fixture *t)
{
	assert_int_equal(agent_client_tunnel(t->client)->state, TUNNEL_UP);
}

/* It is let go, and tried again, with a pause. */
static void assert_tried_again(struct fixture *t)
{
	unsigned int before = t->n_connects;

	flush(t);
	assert_int_equal(t->n_connects, before);
	fake_loop_advance(t->loop, 1000);
	assert_true(t->n_connects > before);
	assert_true(t->n_connects < before + 10);
}

static void agent_that_speaks_no_http_2_is_tried_again(void **state)
{
	struct fixture *t = *state;

	t->out.len = 0;
	h2_raw(&t->out, "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", 32);
	assert_tried_again(t);
	assert_int_equal(agent_client_counters(t->client)->connects, 0);
}

static void agent_that_says_nothing_is_tried_again(void **state)
{
	struct fixture *t = *state;

	t->out.len = 0;
	fake_loop_advance(t->loop, 15000);
	assert_in_range(t->n_connects, 2, 3);
}

static void agent_that_answers_hello_with_nonsense_is_tried_again(void **state)
{
	struct fixture *t = *state;

	h2_response(&t->out, 1);
	h2_message(&t->out, 1, "\xff\xff", 2);
	assert_tried_again(t);
}

static void agent_that_refuses_hello_is_tried_again(void **state)
{
	struct fixture *t = *state;

	h2_response(&t->out, 1);
	h2_trailers(&t->out, 1, "7");
	assert_tried_again(t);
}

/* More features, another protocol: what both know is used. */
static void agent_of_another_version_is_used(void **state)
{
	struct fixture *t = *state;

	h2_response(&t->out, 1);
	h2_message(&t->out, 1, "\x08\x63\x12\x03\x39\x2e\x39\x18\xff\xff\x03\x9a\x06\x01x", 15);
	flush(t);
	assert_up(t);
}

/* An agent that has only hello is one of Lima's for the rest. */
static void agent_without_our_features_is_used_as_limas(void **state)
{
	struct fixture *t = *state;

	h2_response(&t->out, 1);
	h2_message(&t->out, 1, "\x08\x01", 2);
	flush(t);
	assert_up(t);
	h2_response(&t->out, 3); /* GetEvents */
	h2_message(&t->out, 3,
		   "\x12\x12\x0a\x03tcp\x12\x09"
		   "127.0.0.1"
		   "\x18\x50",
		   20);
	flush(t);
	assert_int_equal(t->n_listeners, 1);
}

static void bad_event_ends_the_connection_and_removes_nothing(void **state)
{
	struct fixture *t = *state;

	answer_hello(t);
	assert_up(t);
	h2_response(&t->out, 3);
	h2_message(&t->out, 3, "\x08\x01\x12\x08\x12\x04\x7f\0\0\x01\x18\x50", 12);
	flush(t);
	assert_int_equal(t->n_listeners, 1);
	h2_message(&t->out, 3, "\xff\xff\xff", 3);
	assert_tried_again(t);
	assert_int_equal(t->n_told, 1);
	assert_int_equal(t->n_listeners, 1);
}

/* Events that end are asked for again; the connection and its flows stay. */
static void events_that_end_are_asked_for_again(void **state)
{
	struct fixture *t = *state;

	answer_hello(t);
	h2_response(&t->out, 3);
	h2_trailers(&t->out, 3, "8");
	flush(t);
	assert_up(t);
	fake_loop_advance(t->loop, 1500);
	h2_response(&t->out, 5);
	h2_message(&t->out, 5, "\x08\x01\x12\x08\x12\x04\x7f\0\0\x01\x18\x50", 12);
	flush(t);
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
	struct fixture *t = *state;
	struct tunnel *tunnel = agent_client_tunnel(t->client);
	struct tunnel_place place = { .endpoint = { IPADDR_V4(127, 0, 0, 1), 80 } };

	answer_hello(t);
	for (uint32_t i = 0; i < 5; i++) {
		struct stream *s;

		assert_int_equal(tunnel->ops->dial(tunnel, &place, &s), 0);
		fake_loop_settle(t->loop);
		h2_response(&t->out, 5 + 2 * i);
		h2_message(&t->out, 5 + 2 * i, wrong[i], i == 2 ? 2 : strlen(wrong[i]));
		flush(t);
		assert_int_equal(s->ops->write(s, NULL, 0), errors[i]);
		s->ops->reset(s);
	}
	assert_up(t);
}

#define HOST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define AGENT(test) cmocka_unit_test_setup_teardown(test, setup_client, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		HOST(host_that_speaks_http_1_is_let_go),
		HOST(frame_that_is_too_long_is_the_end),
		HOST(stream_that_was_never_opened_is_the_end),
		HOST(stream_of_the_other_side_is_the_end),
		HOST(bad_messages_end_their_call_only),
		HOST(window_holds_what_a_host_may_send_to_a_reader_that_stopped),
		HOST(calls_beyond_the_most_are_refused),
		HOST(host_that_never_reads_costs_no_memory),
		HOST(connection_cut_in_a_frame_ends_its_flows),
		AGENT(agent_that_speaks_no_http_2_is_tried_again),
		AGENT(agent_that_says_nothing_is_tried_again),
		AGENT(agent_that_answers_hello_with_nonsense_is_tried_again),
		AGENT(agent_that_refuses_hello_is_tried_again),
		AGENT(agent_of_another_version_is_used),
		AGENT(agent_without_our_features_is_used_as_limas),
		AGENT(bad_event_ends_the_connection_and_removes_nothing),
		AGENT(events_that_end_are_asked_for_again),
		AGENT(dial_answered_wrongly_breaks_that_stream_only),
	};

	own_network_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
