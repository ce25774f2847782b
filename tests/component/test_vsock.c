/* SPDX-License-Identifier: Apache-2.0 */
/* vsock/device.c and connection.c with a guest's driver in this process. */
#include "netstack/vsock/device.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "netstack/base/loop.h"
#include "netstack/relay.h"
#include "netstack/stream.h"
#include "tests/support/fake_loop.h"
#include "tests/support/unix_address.h"
#include "tests/support/vsock_guest.h"

#define PORT 7000U
#define BUFFER (1U << 20) /* what the device lets a guest send */
#define FEATURES (1ULL << 32 | 1ULL << 30 | 1ULL << 28)

struct fixture {
	struct loop *loop;
	struct vsock *vsock;
	struct front_end fe;
	char dir[32], path[64];
	struct vsock_packet packet;
	struct vsock_header header; /* of the connection, for the guest to send */
	struct stream *stream;
	unsigned int n_ready;
	/* of the listener */
	struct vsock_listener listener;
	struct vsock_call call;
	int verdict;
	struct relay *relay;
	struct relay_result result;
};

static int connect_to(const char *path)
{
	struct sockaddr_un sa = unix_address(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

static void settle(struct fixture *f)
{
	fake_loop_settle(f->loop);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	memcpy(f->dir, "/tmp/netfwd-test-XXXXXX", 24);
	if (!mkdtemp(f->dir) || loop_new(&f->loop) < 0)
		return -1;
	(void)snprintf(f->path, sizeof(f->path), "%s/sock", f->dir);
	if (vsock_device_listen(f->loop, f->path, VSOCK_GUEST_CID, &f->vsock) < 0)
		return -1;
	front_end_init(&f->fe, connect_to(f->path), FEATURES);
	list_init(&f->listener.node);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	relay_free(f->relay);
	if (f->stream)
		f->stream->ops->reset(f->stream);
	vsock_unlisten(f->vsock, &f->listener);
	vsock_free(f->vsock);
	loop_free(f->loop);
	front_end_deinit(&f->fe);
	(void)rmdir(f->dir);
	free(f);
	return 0;
}

static void start(struct fixture *f)
{
	front_end_start_like_qemu(&f->fe);
	settle(f);
	assert_true(f->vsock->is_up);
}

static void on_ready(void *arg)
{
	struct fixture *f = arg;

	f->n_ready++;
}

static void take_op(struct fixture *f, enum vsock_op op)
{
	settle(f);
	assert_true(vsock_guest_take(&f->fe, &f->packet));
	assert_int_equal(f->packet.header.op, op);
	assert_int_equal(f->packet.header.src_cid, 2);
	assert_int_equal(f->packet.header.dst_cid, VSOCK_GUEST_CID);
	assert_int_equal(f->packet.header.type, VSOCK_TYPE_STREAM);
}

static void assert_silent(struct fixture *f)
{
	settle(f);
	assert_false(vsock_guest_take(&f->fe, &f->packet));
}

static void send_op(struct fixture *f, enum vsock_op op)
{
	struct vsock_header h = f->header;

	h.op = (uint16_t)op;
	vsock_guest_send(&f->fe, &h, NULL);
	settle(f);
}

static void send_shutdown(struct fixture *f, uint32_t flags)
{
	f->header.flags = flags;
	send_op(f, VSOCK_OP_SHUTDOWN);
	f->header.flags = 0;
}

static void send_bytes(struct fixture *f, const void *bytes, size_t len)
{
	struct vsock_header h = f->header;

	h.op = VSOCK_OP_RW;
	h.len = (uint32_t)len;
	vsock_guest_send(&f->fe, &h, bytes);
	settle(f);
}

/* Dials; the guest has 64 buffers, and the request. */
static void dial(struct fixture *f)
{
	uint32_t host_port;

	start(f);
	vsock_guest_offer(&f->fe, FRONT_END_RING);
	assert_int_equal(vsock_dial(f->vsock, VSOCK_GUEST_PORT, &host_port, &f->stream), 0);
	f->n_ready = 0;
	stream_set_ready(f->stream, on_ready, f);
	assert_int_equal(f->stream->ops->write(f->stream, NULL, 0), -EAGAIN);
	take_op(f, VSOCK_OP_REQUEST);
	assert_int_equal(f->packet.header.dst_port, VSOCK_GUEST_PORT);
	assert_int_equal(f->packet.header.src_port, host_port);
	f->header = vsock_guest_header(VSOCK_OP_RW, host_port);
}

static void open_stream(struct fixture *f)
{
	dial(f);
	send_op(f, VSOCK_OP_RESPONSE);
	assert_int_equal(f->n_ready, 1);
	assert_int_equal(f->stream->ops->write(f->stream, NULL, 0), 0);
	f->stream->ops->want(f->stream, STREAM_READ);
}

static ssize_t read_some(struct fixture *f, void *bytes, size_t len)
{
	struct iovec iov = { bytes, len };

	return f->stream->ops->read(f->stream, &iov, 1);
}

static ssize_t write_some(struct fixture *f, const void *bytes, size_t len)
{
	struct iovec iov = { (void *)(uintptr_t)bytes, len };

	return f->stream->ops->write(f->stream, &iov, 1);
}

/* ---- opening ---- */

static void bytes_go_both_ways(void **state)
{
	struct fixture *f = *state;
	char bytes[8];

	open_stream(f);
	assert_int_equal(write_some(f, "to guest", 8), 8);
	take_op(f, VSOCK_OP_RW);
	assert_int_equal(f->packet.header.len, 8);
	assert_memory_equal(f->packet.payload, "to guest", 8);
	assert_int_equal(f->packet.header.buf_alloc, BUFFER);

	assert_int_equal(read_some(f, bytes, 8), -EAGAIN);
	send_bytes(f, "to host!", 8);
	assert_int_equal(f->n_ready, 2);
	assert_int_equal(read_some(f, bytes, 8), 8);
	assert_memory_equal(bytes, "to host!", 8);
	assert_int_equal(read_some(f, bytes, 8), -EAGAIN);
}

static void a_reset_in_answer_is_a_refusal(void **state)
{
	struct fixture *f = *state;

	dial(f);
	send_op(f, VSOCK_OP_RST);
	assert_int_equal(f->n_ready, 1);
	assert_int_equal(f->stream->ops->write(f->stream, NULL, 0), -ECONNREFUSED);
	assert_int_equal(f->stream->error, -ECONNREFUSED);
}

static void a_guest_that_does_not_answer_is_given_up(void **state)
{
	struct fixture *f = *state;

	dial(f);
	fake_loop_advance(f->loop, 9000);
	assert_int_equal(f->stream->error, 0);
	fake_loop_advance(f->loop, 3000);
	assert_int_equal(f->stream->error, -ETIMEDOUT);
	take_op(f, VSOCK_OP_RST); /* late, it hears that nobody waits */
}

static void there_is_no_dialling_without_a_guest(void **state)
{
	struct fixture *f = *state;
	uint32_t port;

	assert_int_equal(vsock_dial(f->vsock, PORT, &port, &f->stream), -ENETDOWN);
	f->stream = NULL;
}

static int on_accept(void *arg, const struct vsock_call *call, struct stream *stream)
{
	struct fixture *f = arg;

	f->call = *call;
	if (f->verdict == 0) {
		f->stream = stream;
		stream_set_ready(stream, on_ready, f);
		stream->ops->want(stream, STREAM_READ);
		/* at once: the answer goes first */
		assert_int_equal(write_some(f, "welcome", 7), 7);
	}
	return f->verdict;
}

static void call_host(struct fixture *f, uint32_t port)
{
	f->header = vsock_guest_header(VSOCK_OP_REQUEST, port);
	send_op(f, VSOCK_OP_REQUEST);
}

static void a_guest_reaches_who_listens_and_nobody_else(void **state)
{
	struct fixture *f = *state;

	start(f);
	vsock_guest_offer(&f->fe, 16);
	f->listener = (struct vsock_listener){ .port = PORT, .accept = on_accept, .arg = f };
	assert_int_equal(vsock_listen(f->vsock, &f->listener), 0);
	call_host(f, PORT + 1);
	take_op(f, VSOCK_OP_RST);
	assert_int_equal(f->packet.header.src_port, PORT + 1);

	f->verdict = -ECONNREFUSED;
	call_host(f, PORT);
	take_op(f, VSOCK_OP_RST);

	f->verdict = 0;
	call_host(f, PORT);
	assert_int_equal(f->call.host_port, PORT);
	assert_int_equal(f->call.guest_port, VSOCK_GUEST_PORT);
	take_op(f, VSOCK_OP_RESPONSE);
	take_op(f, VSOCK_OP_RW);
	assert_memory_equal(f->packet.payload, "welcome", 7);
}

static void a_port_has_one_listener_and_any_gets_the_rest(void **state)
{
	struct fixture *f = *state;
	struct vsock_listener second = { .port = PORT };

	start(f);
	vsock_guest_offer(&f->fe, 16);
	f->listener =
		(struct vsock_listener){ .port = VSOCK_PORT_ANY, .accept = on_accept, .arg = f };
	assert_int_equal(vsock_listen(f->vsock, &f->listener), 0);
	second.accept = on_accept;
	assert_int_equal(vsock_listen(f->vsock, &second), 0);
	vsock_unlisten(f->vsock, &second);
	call_host(f, 99);
	assert_int_equal(f->call.host_port, 99);
	second.port = VSOCK_PORT_ANY;
	assert_int_equal(vsock_listen(f->vsock, &second), -EADDRINUSE);
}

static void packets_of_other_addresses_are_dropped(void **state)
{
	struct fixture *f = *state;

	start(f);
	vsock_guest_offer(&f->fe, 16);
	f->header = vsock_guest_header(VSOCK_OP_REQUEST, PORT);
	f->header.src_cid = VSOCK_GUEST_CID + 1;
	send_op(f, VSOCK_OP_REQUEST);
	f->header = vsock_guest_header(VSOCK_OP_REQUEST, PORT);
	f->header.dst_cid = 3;
	send_op(f, VSOCK_OP_REQUEST);
	assert_silent(f);
	assert_int_equal(vsock_device_counters(f->vsock)->bad_addresses, 2);
}

static void what_belongs_to_no_connection_is_reset_but_no_reset(void **state)
{
	struct fixture *f = *state;

	start(f);
	vsock_guest_offer(&f->fe, 16);
	f->header = vsock_guest_header(VSOCK_OP_RW, PORT);
	send_bytes(f, "?", 1);
	take_op(f, VSOCK_OP_RST);
	send_op(f, VSOCK_OP_RST);
	assert_silent(f);

	f->header.type = 2; /* packets in order, which was not agreed */
	send_op(f, VSOCK_OP_REQUEST);
	take_op(f, VSOCK_OP_RST);
}

static void a_packet_that_lies_about_its_length_is_dropped(void **state)
{
	struct fixture *f = *state;
	struct driver_ring *ring = &f->fe.rings[1];
	uint8_t bytes[VSOCK_HEADER_SIZE];

	start(f);
	f->header = vsock_guest_header(VSOCK_OP_RW, PORT);
	f->header.len = 100;
	vsock_header_encode(&f->header, bytes);
	memcpy(f->fe.ram.bytes + f->fe.free_at, bytes, sizeof(bytes));
	for (uint16_t i = 0; i < 2; i++) {
		driver_ring_set(ring, i,
				(struct driver_desc){ RAM_GUEST_ADDR + f->fe.free_at,
						      i ? VSOCK_HEADER_SIZE + 99 : 43, 0, 0 });
		driver_ring_offer(ring, i);
	}
	front_end_kick(&f->fe, 1);
	settle(f);
	assert_int_equal(vsock_device_counters(f->vsock)->bad_packets, 2);
}

/* ---- credit and room ---- */

static void a_write_goes_as_far_as_the_guests_credit(void **state)
{
	static uint8_t bytes[100000];
	struct fixture *f = *state;
	size_t sent = 0;
	ssize_t r;

	open_stream(f);
	while ((r = write_some(f, bytes, sizeof(bytes))) > 0)
		sent += (size_t)r;
	assert_int_equal(r, -EAGAIN);
	assert_int_equal(sent, f->header.buf_alloc);

	f->stream->ops->want(f->stream, STREAM_READ | STREAM_WRITE);
	settle(f);
	f->n_ready = 0;
	f->header.fwd_cnt = 1000;
	send_op(f, VSOCK_OP_CREDIT_UPDATE);
	assert_int_equal(f->n_ready, 1);
	assert_int_equal(write_some(f, bytes, sizeof(bytes)), 1000);

	f->header.buf_alloc = 10; /* it has taken room away */
	send_op(f, VSOCK_OP_CREDIT_UPDATE);
	assert_int_equal(write_some(f, bytes, sizeof(bytes)), -EAGAIN);
}

static void a_write_waits_for_the_guests_buffers(void **state)
{
	static uint8_t bytes[100000];
	struct fixture *f = *state;
	size_t sent = 0;
	ssize_t r;

	open_stream(f);
	f->header.buf_alloc = 10U << 20;
	send_op(f, VSOCK_OP_CREDIT_UPDATE);
	while ((r = write_some(f, bytes, sizeof(bytes))) > 0)
		sent += (size_t)r;
	assert_int_equal(sent, (FRONT_END_RING - 1) * (VSOCK_GUEST_BUFFER - VSOCK_HEADER_SIZE));
	f->stream->ops->want(f->stream, STREAM_READ | STREAM_WRITE);
	settle(f);
	f->n_ready = 0;
	for (unsigned int i = 0; i < FRONT_END_RING - 1; i++)
		take_op(f, VSOCK_OP_RW);
	vsock_guest_offer(&f->fe, 1);
	front_end_kick(&f->fe, 0);
	settle(f);
	assert_int_equal(f->n_ready, 1);
	assert_int_equal(write_some(f, bytes, 10), 10);
}

static void the_guest_is_told_when_enough_was_read(void **state)
{
	static uint8_t bytes[60000];
	struct fixture *f = *state;
	size_t got = 0;

	open_stream(f);
	for (int i = 0; i < 5; i++) {
		send_bytes(f, bytes, sizeof(bytes));
		got += (size_t)read_some(f, bytes, sizeof(bytes));
	}
	while (got < 5 * sizeof(bytes))
		got += (size_t)read_some(f, bytes, sizeof(bytes));
	take_op(f, VSOCK_OP_CREDIT_UPDATE);
	assert_in_range(f->packet.header.fwd_cnt, BUFFER / 4, 5 * sizeof(bytes));
	send_op(f, VSOCK_OP_CREDIT_REQUEST);
	take_op(f, VSOCK_OP_CREDIT_UPDATE);
	assert_int_equal(f->packet.header.fwd_cnt, 5 * sizeof(bytes));
}

static void more_than_was_allowed_costs_the_connection(void **state)
{
	static uint8_t bytes[65536];
	struct fixture *f = *state;

	open_stream(f);
	for (unsigned int i = 0; i < BUFFER / sizeof(bytes); i++)
		send_bytes(f, bytes, sizeof(bytes));
	assert_int_equal(f->stream->error, 0);
	send_bytes(f, bytes, 1);
	assert_int_equal(f->stream->error, -EPROTO);
	take_op(f, VSOCK_OP_RST);
	assert_int_equal(vsock_device_counters(f->vsock)->over_credit, 1);
}

static void a_request_waits_for_the_guests_buffers(void **state)
{
	struct fixture *f = *state;
	uint32_t host_port;

	start(f);
	assert_int_equal(vsock_dial(f->vsock, VSOCK_GUEST_PORT, &host_port, &f->stream), 0);
	assert_silent(f);
	vsock_guest_offer(&f->fe, 1);
	front_end_kick(&f->fe, 0);
	take_op(f, VSOCK_OP_REQUEST);
}

/* ---- ending ---- */

static void each_half_closes_by_itself(void **state)
{
	struct fixture *f = *state;
	char bytes[8];

	open_stream(f);
	assert_int_equal(f->stream->ops->shutdown(f->stream), 0);
	take_op(f, VSOCK_OP_SHUTDOWN);
	assert_int_equal(f->packet.header.flags, VSOCK_SHUTDOWN_SEND);
	assert_int_equal(write_some(f, "x", 1), -EPIPE);
	send_bytes(f, "answer", 6);
	send_shutdown(f, VSOCK_SHUTDOWN_SEND);
	assert_int_equal(read_some(f, bytes, 8), 6);
	assert_int_equal(read_some(f, bytes, 8), 0);

	f->stream->ops->close(f->stream);
	f->stream = NULL;
	take_op(f, VSOCK_OP_SHUTDOWN);
	assert_int_equal(f->packet.header.flags, VSOCK_SHUTDOWN_BOTH);
	assert_int_equal(vsock_device_counters(f->vsock)->connections, 1);
	send_op(f, VSOCK_OP_RST);
	assert_int_equal(vsock_device_counters(f->vsock)->connections, 0);
	assert_silent(f);
}

static void a_close_after_the_guests_is_confirmed_by_a_reset(void **state)
{
	struct fixture *f = *state;
	char bytes[8];

	open_stream(f);
	send_bytes(f, "bye", 3);
	send_shutdown(f, VSOCK_SHUTDOWN_BOTH);
	assert_int_equal(read_some(f, bytes, 8), 3);
	assert_int_equal(read_some(f, bytes, 8), 0);
	f->stream->ops->close(f->stream);
	f->stream = NULL;
	take_op(f, VSOCK_OP_RST);
	assert_int_equal(vsock_device_counters(f->vsock)->connections, 0);
}

static void a_guest_that_confirms_no_close_is_forgotten(void **state)
{
	struct fixture *f = *state;

	open_stream(f);
	f->stream->ops->close(f->stream);
	f->stream = NULL;
	take_op(f, VSOCK_OP_SHUTDOWN);
	fake_loop_advance(f->loop, 10000);
	take_op(f, VSOCK_OP_RST);
	assert_int_equal(vsock_device_counters(f->vsock)->connections, 0);
}

static void a_reset_breaks_the_stream_but_not_after_the_end(void **state)
{
	struct fixture *f = *state;
	char bytes[8];

	open_stream(f);
	send_bytes(f, "all", 3);
	send_shutdown(f, VSOCK_SHUTDOWN_SEND);
	send_op(f, VSOCK_OP_RST);
	assert_int_equal(read_some(f, bytes, 8), 3);
	assert_int_equal(read_some(f, bytes, 8), 0);
	f->stream->ops->close(f->stream);

	vsock_guest_offer(&f->fe, 1);
	assert_int_equal(vsock_dial(f->vsock, VSOCK_GUEST_PORT, &f->header.dst_port, &f->stream),
			 0);
	send_op(f, VSOCK_OP_RESPONSE);
	send_op(f, VSOCK_OP_RST);
	assert_int_equal(read_some(f, bytes, 8), -ECONNRESET);
}

static void a_reset_of_ours_reaches_the_guest(void **state)
{
	struct fixture *f = *state;

	open_stream(f);
	f->stream->ops->reset(f->stream);
	f->stream = NULL;
	take_op(f, VSOCK_OP_RST);
	assert_int_equal(vsock_device_counters(f->vsock)->connections, 0);
}

static void a_device_that_stops_breaks_its_streams(void **state)
{
	struct fixture *f = *state;

	open_stream(f);
	front_end_send(&f->fe, VHOST_RESET_DEVICE, NULL, 0, -1);
	settle(f);
	assert_false(f->vsock->is_up);
	assert_int_equal(f->stream->error, -ECONNRESET);
	f->stream->ops->close(f->stream);
	f->stream = NULL;
	front_end_reset_rings(&f->fe);
	open_stream(f);
}

static void a_broken_ring_found_in_a_write_breaks_the_stream(void **state)
{
	struct fixture *f = *state;
	struct driver_ring *ring = &f->fe.rings[0];
	static uint8_t bytes[20 * VSOCK_GUEST_BUFFER];

	open_stream(f);
	f->header.buf_alloc = BUFFER;
	send_op(f, VSOCK_OP_CREDIT_UPDATE);
	for (unsigned int i = 10; i < FRONT_END_RING; i++)
		driver_ring_set(ring, i, (struct driver_desc){ 1, 4096, DESC_WRITE, 0 });
	assert_int_equal(write_some(f, bytes, sizeof(bytes)), -ECONNRESET);
	settle(f);
	assert_int_equal(f->stream->error, -ECONNRESET);
	assert_false(f->vsock->is_up);
}

/* ---- joined to another ---- */

static void on_done(void *arg, const struct relay_result *result)
{
	struct fixture *f = arg;

	f->result = *result;
	f->relay = NULL;
}

/* One reads inside the other's write, and has to tell its guest of it. */
static void two_streams_of_one_guest_are_joined(void **state)
{
	static uint8_t bytes[60000];
	struct fixture *f = *state;
	struct stream *ends[2];
	struct vsock_header from, to;
	unsigned int n_credits = 0;
	uint32_t got = 0;

	open_stream(f);
	ends[0] = f->stream;
	from = f->header;
	assert_int_equal(vsock_dial(f->vsock, VSOCK_GUEST_PORT, &f->header.dst_port, &ends[1]), 0);
	f->stream = NULL;
	take_op(f, VSOCK_OP_REQUEST);
	to = f->header;
	to.buf_alloc = 64U << 20;
	f->header = to;
	send_op(f, VSOCK_OP_RESPONSE);
	assert_int_equal(relay_new(f->loop, ends, on_done, f, &f->relay), 0);
	for (unsigned int i = 0; i < 20; i++) {
		f->header = from;
		send_bytes(f, bytes, sizeof(bytes));
		while (vsock_guest_take(&f->fe, &f->packet)) {
			if (f->packet.header.op == VSOCK_OP_CREDIT_UPDATE)
				n_credits++;
			got += f->packet.header.op == VSOCK_OP_RW ? f->packet.header.len : 0;
			vsock_guest_offer(&f->fe, 1);
		}
		front_end_kick(&f->fe, 0);
		settle(f);
	}
	while (vsock_guest_take(&f->fe, &f->packet))
		got += f->packet.header.op == VSOCK_OP_RW ? f->packet.header.len : 0;
	assert_int_equal(got, 20 * sizeof(bytes));
	assert_true(n_credits >= 4);
	send_op(f, VSOCK_OP_RST);
	assert_null(f->relay);
	assert_int_equal(f->result.end, RELAY_END_A_BROKE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(bytes_go_both_ways),
		TEST(a_reset_in_answer_is_a_refusal),
		TEST(a_guest_that_does_not_answer_is_given_up),
		TEST(there_is_no_dialling_without_a_guest),
		TEST(a_guest_reaches_who_listens_and_nobody_else),
		TEST(a_port_has_one_listener_and_any_gets_the_rest),
		TEST(packets_of_other_addresses_are_dropped),
		TEST(what_belongs_to_no_connection_is_reset_but_no_reset),
		TEST(a_packet_that_lies_about_its_length_is_dropped),
		TEST(a_write_goes_as_far_as_the_guests_credit),
		TEST(a_write_waits_for_the_guests_buffers),
		TEST(the_guest_is_told_when_enough_was_read),
		TEST(more_than_was_allowed_costs_the_connection),
		TEST(a_request_waits_for_the_guests_buffers),
		TEST(each_half_closes_by_itself),
		TEST(a_close_after_the_guests_is_confirmed_by_a_reset),
		TEST(a_guest_that_confirms_no_close_is_forgotten),
		TEST(a_reset_breaks_the_stream_but_not_after_the_end),
		TEST(a_reset_of_ours_reaches_the_guest),
		TEST(a_device_that_stops_breaks_its_streams),
		TEST(a_broken_ring_found_in_a_write_breaks_the_stream),
		TEST(two_streams_of_one_guest_are_joined),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
