/* SPDX-License-Identifier: Apache-2.0 */
/* vsock/device.c and connection.c with a guest's driver in this process: who is
 * reached, and how much may be sent. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/fake_loop.h"
#include "tests/support/vsock_world.h"

/* ---- opening ---- */

static void bytes_go_both_ways(void **state)
{
	struct vsock_world *f = *state;
	char bytes[8];

	world_open_stream(f);
	assert_int_equal(world_write_some(f, "to guest", 8), 8);
	world_take_op(f, VSOCK_OP_RW);
	assert_int_equal(f->packet.header.len, 8);
	assert_memory_equal(f->packet.payload, "to guest", 8);
	assert_int_equal(f->packet.header.buf_alloc, VSOCK_WORLD_BUFFER);

	assert_int_equal(world_read_some(f, bytes, 8), -EAGAIN);
	world_send_bytes(f, "to host!", 8);
	assert_int_equal(f->n_ready, 2);
	assert_int_equal(world_read_some(f, bytes, 8), 8);
	assert_memory_equal(bytes, "to host!", 8);
	assert_int_equal(world_read_some(f, bytes, 8), -EAGAIN);
}

static void a_reset_in_answer_is_a_refusal(void **state)
{
	struct vsock_world *f = *state;

	world_dial(f);
	world_send_op(f, VSOCK_OP_RST);
	assert_int_equal(f->n_ready, 1);
	assert_int_equal(f->stream->ops->write(f->stream, NULL, 0), -ECONNREFUSED);
	assert_int_equal(f->stream->error, -ECONNREFUSED);
}

static void a_guest_that_does_not_answer_is_given_up(void **state)
{
	struct vsock_world *f = *state;

	world_dial(f);
	fake_loop_advance(f->loop, 9000);
	assert_int_equal(f->stream->error, 0);
	fake_loop_advance(f->loop, 3000);
	assert_int_equal(f->stream->error, -ETIMEDOUT);
	world_take_op(f, VSOCK_OP_RST); /* late, it hears that nobody waits */
}

static void there_is_no_dialling_without_a_guest(void **state)
{
	struct vsock_world *f = *state;
	uint32_t port;

	assert_int_equal(vsock_dial(f->vsock, VSOCK_WORLD_PORT, &port, &f->stream), -ENETDOWN);
	f->stream = NULL;
}

static int on_accept(void *arg, const struct vsock_call *call, struct stream *stream)
{
	struct vsock_world *f = arg;

	f->call = *call;
	if (f->verdict == 0) {
		f->stream = stream;
		stream_set_ready(stream, world_on_ready, f);
		stream->ops->want(stream, STREAM_READ);
		/* at once: the answer goes first */
		assert_int_equal(world_write_some(f, "welcome", 7), 7);
	}
	return f->verdict;
}

static void call_host(struct vsock_world *f, uint32_t port)
{
	f->header = vsock_guest_header(VSOCK_OP_REQUEST, port);
	world_send_op(f, VSOCK_OP_REQUEST);
}

static void a_guest_reaches_who_listens_and_nobody_else(void **state)
{
	struct vsock_world *f = *state;

	world_start(f);
	vsock_guest_offer(&f->fe, 16);
	f->listener =
		(struct vsock_listener){ .port = VSOCK_WORLD_PORT, .accept = on_accept, .arg = f };
	assert_int_equal(vsock_listen(f->vsock, &f->listener), 0);
	call_host(f, VSOCK_WORLD_PORT + 1);
	world_take_op(f, VSOCK_OP_RST);
	assert_int_equal(f->packet.header.src_port, VSOCK_WORLD_PORT + 1);

	f->verdict = -ECONNREFUSED;
	call_host(f, VSOCK_WORLD_PORT);
	world_take_op(f, VSOCK_OP_RST);

	f->verdict = 0;
	call_host(f, VSOCK_WORLD_PORT);
	assert_int_equal(f->call.host_port, VSOCK_WORLD_PORT);
	assert_int_equal(f->call.guest_port, VSOCK_GUEST_PORT);
	world_take_op(f, VSOCK_OP_RESPONSE);
	world_take_op(f, VSOCK_OP_RW);
	assert_memory_equal(f->packet.payload, "welcome", 7);
}

static void a_port_has_one_listener_and_any_gets_the_rest(void **state)
{
	struct vsock_world *f = *state;
	struct vsock_listener second = { .port = VSOCK_WORLD_PORT };

	world_start(f);
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
	struct vsock_world *f = *state;

	world_start(f);
	vsock_guest_offer(&f->fe, 16);
	f->header = vsock_guest_header(VSOCK_OP_REQUEST, VSOCK_WORLD_PORT);
	f->header.src_cid = VSOCK_GUEST_CID + 1;
	world_send_op(f, VSOCK_OP_REQUEST);
	f->header = vsock_guest_header(VSOCK_OP_REQUEST, VSOCK_WORLD_PORT);
	f->header.dst_cid = 3;
	world_send_op(f, VSOCK_OP_REQUEST);
	world_assert_silent(f);
	assert_int_equal(vsock_device_counters(f->vsock)->bad_addresses, 2);
}

static void what_belongs_to_no_connection_is_reset_but_no_reset(void **state)
{
	struct vsock_world *f = *state;

	world_start(f);
	vsock_guest_offer(&f->fe, 16);
	f->header = vsock_guest_header(VSOCK_OP_RW, VSOCK_WORLD_PORT);
	world_send_bytes(f, "?", 1);
	world_take_op(f, VSOCK_OP_RST);
	world_send_op(f, VSOCK_OP_RST);
	world_assert_silent(f);

	f->header.type = 2; /* packets in order, which was not agreed */
	world_send_op(f, VSOCK_OP_REQUEST);
	world_take_op(f, VSOCK_OP_RST);
}

static void a_packet_that_lies_about_its_length_is_dropped(void **state)
{
	struct vsock_world *f = *state;
	struct driver_ring *ring = &f->fe.rings[1];
	uint8_t bytes[VSOCK_HEADER_SIZE];

	world_start(f);
	f->header = vsock_guest_header(VSOCK_OP_RW, VSOCK_WORLD_PORT);
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
	world_settle(f);
	assert_int_equal(vsock_device_counters(f->vsock)->bad_packets, 2);
}

/* ---- credit and room ---- */

static void a_write_goes_as_far_as_the_guests_credit(void **state)
{
	static uint8_t bytes[100000];
	struct vsock_world *f = *state;
	size_t sent = 0;
	ssize_t r;

	world_open_stream(f);
	while ((r = world_write_some(f, bytes, sizeof(bytes))) > 0)
		sent += (size_t)r;
	assert_int_equal(r, -EAGAIN);
	assert_int_equal(sent, f->header.buf_alloc);

	f->stream->ops->want(f->stream, STREAM_READ | STREAM_WRITE);
	world_settle(f);
	f->n_ready = 0;
	f->header.fwd_cnt = 1000;
	world_send_op(f, VSOCK_OP_CREDIT_UPDATE);
	assert_int_equal(f->n_ready, 1);
	assert_int_equal(world_write_some(f, bytes, sizeof(bytes)), 1000);

	f->header.buf_alloc = 10; /* it has taken room away */
	world_send_op(f, VSOCK_OP_CREDIT_UPDATE);
	assert_int_equal(world_write_some(f, bytes, sizeof(bytes)), -EAGAIN);
}

static void a_write_waits_for_the_guests_buffers(void **state)
{
	static uint8_t bytes[400000];
	struct vsock_world *f = *state;
	size_t sent = 0;
	ssize_t r;

	world_open_stream(f);
	f->header.buf_alloc = 10U << 20;
	world_send_op(f, VSOCK_OP_CREDIT_UPDATE);
	while ((r = world_write_some(f, bytes, sizeof(bytes))) > 0)
		sent += (size_t)r;
	assert_int_equal(sent, (FRONT_END_RING - 1) * (VSOCK_GUEST_BUFFER - VSOCK_HEADER_SIZE));
	f->stream->ops->want(f->stream, STREAM_READ | STREAM_WRITE);
	world_settle(f);
	f->n_ready = 0;
	for (unsigned int i = 0; i < FRONT_END_RING - 1; i++)
		world_take_op(f, VSOCK_OP_RW);
	vsock_guest_offer(&f->fe, 1);
	front_end_kick(&f->fe, 0);
	world_settle(f);
	assert_int_equal(f->n_ready, 1);
	assert_int_equal(world_write_some(f, bytes, 10), 10);
}

/* Linux has no more on its way than its own buffer holds, which is less than ours. */
static void a_guest_of_a_small_buffer_is_told_before_that_is_full(void **state)
{
	static uint8_t bytes[20000];
	struct vsock_world *f = *state;
	size_t got = 0;

	world_open_stream(f);
	f->header.buf_alloc = 64000;
	world_send_bytes(f, bytes, sizeof(bytes));
	while (got < sizeof(bytes))
		got += (size_t)world_read_some(f, bytes, sizeof(bytes));
	world_take_op(f, VSOCK_OP_CREDIT_UPDATE);
	assert_int_equal(f->packet.header.fwd_cnt, sizeof(bytes));
}

static void the_guest_is_told_when_enough_was_read(void **state)
{
	static uint8_t bytes[60000];
	struct vsock_world *f = *state;
	size_t got = 0;

	world_open_stream(f);
	f->header.buf_alloc = VSOCK_WORLD_BUFFER;
	for (int i = 0; i < 5; i++) {
		world_send_bytes(f, bytes, sizeof(bytes));
		got += (size_t)world_read_some(f, bytes, sizeof(bytes));
	}
	while (got < 5 * sizeof(bytes))
		got += (size_t)world_read_some(f, bytes, sizeof(bytes));
	world_take_op(f, VSOCK_OP_CREDIT_UPDATE);
	assert_in_range(f->packet.header.fwd_cnt, VSOCK_WORLD_BUFFER / 4, 5 * sizeof(bytes));
	world_send_op(f, VSOCK_OP_CREDIT_REQUEST);
	world_take_op(f, VSOCK_OP_CREDIT_UPDATE);
	assert_int_equal(f->packet.header.fwd_cnt, 5 * sizeof(bytes));
}

static void more_than_was_allowed_costs_the_connection(void **state)
{
	static uint8_t bytes[65536];
	struct vsock_world *f = *state;

	world_open_stream(f);
	for (unsigned int i = 0; i < VSOCK_WORLD_BUFFER / sizeof(bytes); i++)
		world_send_bytes(f, bytes, sizeof(bytes));
	assert_int_equal(f->stream->error, 0);
	world_send_bytes(f, bytes, 1);
	assert_int_equal(f->stream->error, -EPROTO);
	world_take_op(f, VSOCK_OP_RST);
	assert_int_equal(vsock_device_counters(f->vsock)->over_credit, 1);
}

static void a_request_waits_for_the_guests_buffers(void **state)
{
	struct vsock_world *f = *state;
	uint32_t host_port;

	world_start(f);
	assert_int_equal(vsock_dial(f->vsock, VSOCK_GUEST_PORT, &host_port, &f->stream), 0);
	world_assert_silent(f);
	vsock_guest_offer(&f->fe, 1);
	front_end_kick(&f->fe, 0);
	world_take_op(f, VSOCK_OP_REQUEST);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

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
		TEST(a_guest_of_a_small_buffer_is_told_before_that_is_full),
		TEST(the_guest_is_told_when_enough_was_read),
		TEST(more_than_was_allowed_costs_the_connection),
		TEST(a_request_waits_for_the_guests_buffers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
