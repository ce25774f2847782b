/* SPDX-License-Identifier: Apache-2.0 */
/* An agent whose host breaks the protocol: it is let go, and costs no more than a
 * bounded amount. */
#include "forwarder/agent/server.h"

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

#include "forwarder/rpc/grpc_message.h"
#include "forwarder/rpc/messages.h"
#include "netstack/base/loop.h"
#include "tests/support/fake_loop.h"
#include "tests/support/host_socket.h"
#include "tests/support/hostile.h"
#include "tests/support/own_network.h"
#include "tests/support/patience.h"

#define FLOW "/netfwd.v1.Agent/Flow"
#define TUNNEL "/GuestService/Tunnel"

static void assert_let_go(struct hostile *t)
{
	hostile_flush(t);
	UNTIL(t->loop, hostile_is_closed(t));
	assert_int_equal(agent_server_counters(t->server)->connections_lost, 1);
	assert_int_equal(agent_server_n_connections(t->server), 0);
}

static void host_that_speaks_http_1_is_let_go(void **state)
{
	struct hostile *t = *state;

	hostile_connect(t);
	t->out.len = 0;
	h2_raw(&t->out, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27);
	assert_let_go(t);
}

static void frame_that_is_too_long_is_the_end(void **state)
{
	static uint8_t payload[300 * 1024];
	struct hostile *t = *state;

	hostile_connect(t);
	h2_request(&t->out, 1, FLOW);
	h2_frame(&t->out, &(struct h2_frame){ H2_DATA, 0, 1, payload, sizeof(payload) });
	assert_let_go(t);
}

static void stream_that_was_never_opened_is_the_end(void **state)
{
	struct hostile *t = *state;

	hostile_connect(t);
	h2_message(&t->out, 77, "x", 1);
	assert_let_go(t);
}

static void stream_of_the_other_side_is_the_end(void **state)
{
	struct hostile *t = *state;

	hostile_connect(t);
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
	struct hostile *t = *state;
	uint32_t stream = 1;

	hostile_connect(t);
	for (size_t p = 0; p < sizeof(paths) / sizeof(*paths); p++) {
		for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++, stream += 2) {
			h2_request(&t->out, stream, paths[p]);
			h2_message(&t->out, stream, bad[i], strlen(bad[i]) + 1);
		}
		hostile_flush(t);
	}
	for (int i = 0; i < 200; i++, stream += 2) { /* compressed, and 4 GiB long */
		h2_request(&t->out, stream, FLOW);
		h2_frame(&t->out,
			 &(struct h2_frame){ H2_DATA, 0, stream,
					     i % 2 ? "\x01\0\0\0\0" : "\0\xff\xff\xff\xff", 5 });
		h2_frame(&t->out, &(struct h2_frame){ H2_RST_STREAM, 0, stream, "\0\0\0\x08", 4 });
		hostile_flush(t);
	}
	assert_false(hostile_is_closed(t));
	assert_int_equal(agent_server_n_connections(t->server), 1);
}

static void open_flow(struct hostile *t, uint32_t stream, uint16_t port)
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
	struct hostile *t = *state;
	uint16_t port;
	int listener = host_listen("127.0.0.1", &port), server;
	uint8_t head[] = { 0, 0, 0xff, 0xff, 0xff, 0x0a, 0xfb, 0xff, 0xff, 0x07 };

	hostile_connect(t);
	open_flow(t, 1, port);
	hostile_flush(t);
	server = host_accept(listener);
	assert_true(server >= 0);
	h2_frame(&t->out, &(struct h2_frame){ H2_DATA, 0, 1, head, sizeof(head) });
	for (int i = 0; i < 4000; i++) { /* 64 MB, and nobody reads at the server */
		h2_frame(&t->out, &(struct h2_frame){ H2_DATA, 0, 1, data, sizeof(data) });
		if (i % 100 == 0)
			hostile_flush(t);
	}
	hostile_flush(t);
	/* the stream was reset, or the connection ended: what counts is the memory */
	assert_true(agent_server_n_connections(t->server) <= 1);
	close(server);
	close(listener);
}

/* --- payload that is spliced --- */

#define MESSAGE 20000U
#define BODY_MAX (2 * (MESSAGE + GRPC_HEAD_MAX) + 16)

/* How two messages are put into frames, and those into what the agent reads. */
struct framing {
	size_t frame, piece;
	bool is_padded;
};

struct payload {
	int server;
	size_t sent, got;
};

static uint8_t pattern(size_t at)
{
	return (uint8_t)(at * 7 + at / 251);
}

static size_t put_messages(struct payload *p, uint8_t *body)
{
	size_t len = 0;

	for (int i = 0; i < 2; i++) {
		len += grpc_head(body + len, RPC_DATA_FIELD, MESSAGE);
		for (size_t k = 0; k < MESSAGE; k++)
			body[len++] = pattern(p->sent++);
	}
	return len;
}

static void put_frame(struct hostile *t, const uint8_t *data, size_t len, bool is_padded)
{
	static uint8_t padded[BODY_MAX + 256];
	const uint8_t padding = 100;

	if (!is_padded) {
		h2_frame(&t->out, &(struct h2_frame){ H2_DATA, 0, 1, data, len });
		return;
	}
	memset(padded, 0, sizeof(padded));
	padded[0] = padding;
	memcpy(padded + 1, data, len);
	h2_frame(&t->out, &(struct h2_frame){ H2_DATA, H2_PADDED, 1, padded, 1 + len + padding });
}

/* What was put together, in pieces that the agent reads one by one. */
static void send_pieces(struct hostile *t, size_t piece)
{
	for (size_t at = 0; at < t->out.len; at += piece) {
		size_t left = t->out.len - at, len = left < piece ? left : piece;

		assert_int_equal(send(t->peer, t->out.data + at, len, MSG_NOSIGNAL), len);
		fake_loop_settle(t->loop);
	}
	t->out.len = 0;
}

/* All that was sent has come, as it was sent. */
static bool has_come(struct payload *p)
{
	static uint8_t block[65536];
	ssize_t n = recv(p->server, block, sizeof(block), 0);

	for (ssize_t i = 0; i < n; i++)
		assert_int_equal(block[i], pattern(p->got++));
	return p->got == p->sent;
}

static void send_framed(struct hostile *t, struct payload *p, const struct framing *how)
{
	uint8_t body[BODY_MAX];
	size_t len = put_messages(p, body);

	for (size_t at = 0; at < len; at += how->frame)
		put_frame(t, body + at, len - at < how->frame ? len - at : how->frame,
			  how->is_padded);
	send_pieces(t, how->piece);
	UNTIL(t->loop, has_come(p));
	hostile_hear(t);
}

static void end_in_a_frame_of_payload(struct hostile *t, struct payload *p)
{
	struct rpc_flow_message fin = { .kind = RPC_FLOW_FIN };
	uint8_t body[BODY_MAX];
	size_t len = put_messages(p, body);
	struct message m;
	char c;

	assert_int_equal(message_flow(&fin, &m), 0);
	assert_true(len + m.len <= sizeof(body));
	memcpy(body + len, m.data, m.len);
	h2_frame(&t->out, &(struct h2_frame){ H2_DATA, H2_END_STREAM, 1, body, len + m.len });
	free(m.data);
	send_pieces(t, 18);
	UNTIL(t->loop, has_come(p));
	UNTIL(t->loop, recv(p->server, &c, 1, 0) == 0);
}

static void payload_is_whole_however_it_is_framed(void **state)
{
	static const size_t message = 5 + 4 + MESSAGE, all = 1000000;
	static const struct framing plain = { 20009, 1000000, false }, framings[] = {
		{ message, all, false },      { 2 * message, all, false },
		{ 17000, all, false },	      { 30000, all, false },
		{ message, all, true },	      { 30000, 9000, true },
		{ message, 18, false },	      { message, 4099, false },
		{ 2 * message, 7001, false }, { message, 20027, false },
		{ 17000, 18018, false },      { 1000, all, false },
	};
	struct hostile *t = *state;
	struct payload p = { 0 };
	uint16_t port;
	int listener = host_listen("127.0.0.1", &port);
	unsigned int before;

	hostile_connect(t);
	open_flow(t, 1, port);
	hostile_flush(t);
	p.server = host_accept(listener);
	assert_true(p.server >= 0);
	before = host_descriptors();
	for (int i = 0; i < 20; i++)
		send_framed(t, &p, &plain);
	assert_int_equal(host_descriptors(), before + 2); /* a pipe: it is spliced */
	for (size_t i = 0; i < sizeof(framings) / sizeof(*framings); i++) {
		send_framed(t, &p, &framings[i]);
		send_framed(t, &p, &plain); /* and none leaves the next one in disorder */
	}
	end_in_a_frame_of_payload(t, &p);
	close(p.server);
	close(listener);
}

/* The rest of a frame of which some was spliced never comes, and the call is reset. */
static void call_that_is_reset_between_its_frames_ends_alone(void **state)
{
	static const struct framing plain = { 20009, 1000000, false };
	struct hostile *t = *state;
	struct payload p = { 0 };
	uint16_t port;
	int listener = host_listen("127.0.0.1", &port);
	char c;

	hostile_connect(t);
	open_flow(t, 1, port);
	hostile_flush(t);
	p.server = host_accept(listener);
	for (int i = 0; i < 20; i++)
		send_framed(t, &p, &plain);
	h2_frame(&t->out, &(struct h2_frame){ H2_RST_STREAM, 0, 1, "\0\0\0\x08", 4 });
	h2_frame(&t->out, &(struct h2_frame){ H2_PING, 0, 0, "12345678", 8 });
	hostile_flush(t);
	UNTIL(t->loop, recv(p.server, &c, 1, 0) < 0 && errno == ECONNRESET);
	assert_false(hostile_is_closed(t));
	close(p.server);
	close(listener);
}

/* Its reader has reset it, and a frame of it that was begun goes on. */
static void rest_of_a_frame_of_a_dead_call_is_passed_over(void **state)
{
	static const struct framing plain = { 20009, 1000000, false };
	struct hostile *t = *state;
	struct payload p = { 0 };
	struct linger abort_on_close = { 1, 0 };
	uint8_t body[BODY_MAX];
	uint16_t port;
	int listener = host_listen("127.0.0.1", &port);
	size_t n_heard;

	hostile_connect(t);
	open_flow(t, 1, port);
	hostile_flush(t);
	p.server = host_accept(listener);
	for (int i = 0; i < 20; i++)
		send_framed(t, &p, &plain);
	put_frame(t, body, put_messages(&p, body), false);
	assert_int_equal(send(t->peer, t->out.data, 5000, MSG_NOSIGNAL), 5000);
	fake_loop_settle(t->loop);
	setsockopt(p.server, SOL_SOCKET, SO_LINGER, &abort_on_close, sizeof(abort_on_close));
	close(p.server);
	fake_loop_settle(t->loop);
	memmove(t->out.data, t->out.data + 5000, t->out.len - 5000);
	t->out.len -= 5000;
	hostile_flush(t);
	n_heard = t->n_heard;
	h2_frame(&t->out, &(struct h2_frame){ H2_PING, 0, 0, "12345678", 8 });
	hostile_flush(t);
	assert_true(t->n_heard >= n_heard + 17);
	assert_false(hostile_is_closed(t));
	close(listener);
}

static void calls_beyond_the_most_are_refused(void **state)
{
	struct hostile *t = *state;

	hostile_connect(t);
	for (uint32_t i = 0; i < 500; i++)
		h2_request(&t->out, 1 + 2 * i, TUNNEL);
	hostile_flush(t);
	assert_int_equal(agent_server_counters(t->server)->flows, 100);
}

/* It asks and asks, and never reads an answer. */
static void host_that_never_reads_costs_no_memory(void **state)
{
	struct hostile *t = *state;

	hostile_connect(t);
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
	struct hostile *t = *state;
	uint16_t port;
	int listener = host_listen("127.0.0.1", &port), server;
	unsigned int before = host_descriptors();
	char c;

	hostile_connect(t);
	open_flow(t, 1, port);
	hostile_flush(t);
	server = host_accept(listener);
	assert_true(server >= 0);
	h2_message(&t->out, 1, "\x0a\x01x", 3);
	t->out.len -= 2;
	hostile_flush(t);
	close(t->peer);
	t->peer = -1;
	UNTIL(t->loop, recv(server, &c, 1, 0) < 0 && errno == ECONNRESET);
	close(server);
	assert_int_equal(host_descriptors(), before);
	close(listener);
}

/* It listens in the guest, and does not care for who connects. */
static void connections_that_the_host_does_not_take_are_dropped(void **state)
{
	struct hostile *t = *state;
	char dir[] = "/tmp/netfwd-test-XXXXXX", place[64];
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int client = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	char c;

	assert_non_null(mkdtemp(dir));
	(void)snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/s", dir);
	place[0] = 0x1a;
	place[1] = (char)strlen(sun.sun_path);
	memcpy(place + 2, sun.sun_path, strlen(sun.sun_path));
	hostile_connect(t);
	h2_request(&t->out, 1, "/netfwd.v1.Agent/Listen");
	h2_message(&t->out, 1, place, 2 + strlen(sun.sun_path));
	hostile_flush(t);
	assert_int_equal(connect(client, (struct sockaddr *)&sun, sizeof(sun)), 0);
	fake_loop_settle(t->loop);
	fake_loop_advance(t->loop, 9000);
	assert_int_equal(recv(client, &c, 1, 0), -1);
	assert_int_equal(errno, EAGAIN);
	fake_loop_advance(t->loop, 5000);
	assert_int_equal(recv(client, &c, 1, 0), 0);
	close(client);
	h2_frame(&t->out, &(struct h2_frame){ H2_RST_STREAM, 0, 1, "\0\0\0\x08", 4 });
	hostile_flush(t);
	assert_int_not_equal(access(sun.sun_path, F_OK), 0); /* it goes with its call */
	rmdir(dir);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, hostile_setup_host, hostile_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(host_that_speaks_http_1_is_let_go),
		TEST(frame_that_is_too_long_is_the_end),
		TEST(stream_that_was_never_opened_is_the_end),
		TEST(stream_of_the_other_side_is_the_end),
		TEST(bad_messages_end_their_call_only),
		TEST(window_holds_what_a_host_may_send_to_a_reader_that_stopped),
		TEST(payload_is_whole_however_it_is_framed),
		TEST(call_that_is_reset_between_its_frames_ends_alone),
		TEST(rest_of_a_frame_of_a_dead_call_is_passed_over),
		TEST(calls_beyond_the_most_are_refused),
		TEST(host_that_never_reads_costs_no_memory),
		TEST(connection_cut_in_a_frame_ends_its_flows),
		TEST(connections_that_the_host_does_not_take_are_dropped),
	};

	own_network_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
