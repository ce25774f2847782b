/* SPDX-License-Identifier: Apache-2.0 */
/* How vsock streams end, in order and otherwise. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/fake_loop.h"
#include "tests/support/vsock_world.h"

/* ---- ending ---- */

static void each_half_closes_by_itself(void **state)
{
	struct vsock_world *f = *state;
	char bytes[8];

	world_open_stream(f);
	assert_int_equal(f->stream->ops->shutdown(f->stream), 0);
	world_take_op(f, VSOCK_OP_SHUTDOWN);
	assert_int_equal(f->packet.header.flags, VSOCK_SHUTDOWN_SEND);
	assert_int_equal(world_write_some(f, "x", 1), -EPIPE);
	world_send_bytes(f, "answer", 6);
	world_send_shutdown(f, VSOCK_SHUTDOWN_SEND);
	assert_int_equal(world_read_some(f, bytes, 8), 6);
	assert_int_equal(world_read_some(f, bytes, 8), 0);

	f->stream->ops->close(f->stream);
	f->stream = NULL;
	world_take_op(f, VSOCK_OP_SHUTDOWN);
	assert_int_equal(f->packet.header.flags, VSOCK_SHUTDOWN_BOTH);
	assert_int_equal(vsock_device_counters(f->vsock)->connections, 1);
	world_send_op(f, VSOCK_OP_RST);
	assert_int_equal(vsock_device_counters(f->vsock)->connections, 0);
	world_assert_silent(f);
}

static void a_close_after_the_guests_is_confirmed_by_a_reset(void **state)
{
	struct vsock_world *f = *state;
	char bytes[8];

	world_open_stream(f);
	world_send_bytes(f, "bye", 3);
	world_send_shutdown(f, VSOCK_SHUTDOWN_BOTH);
	assert_int_equal(world_read_some(f, bytes, 8), 3);
	assert_int_equal(world_read_some(f, bytes, 8), 0);
	f->stream->ops->close(f->stream);
	f->stream = NULL;
	world_take_op(f, VSOCK_OP_RST);
	assert_int_equal(vsock_device_counters(f->vsock)->connections, 0);
}

static void a_guest_that_confirms_no_close_is_forgotten(void **state)
{
	struct vsock_world *f = *state;

	world_open_stream(f);
	f->stream->ops->close(f->stream);
	f->stream = NULL;
	world_take_op(f, VSOCK_OP_SHUTDOWN);
	fake_loop_advance(f->loop, 10000);
	world_take_op(f, VSOCK_OP_RST);
	assert_int_equal(vsock_device_counters(f->vsock)->connections, 0);
}

static void a_reset_breaks_the_stream_but_not_after_the_end(void **state)
{
	struct vsock_world *f = *state;
	char bytes[8];

	world_open_stream(f);
	world_send_bytes(f, "all", 3);
	world_send_shutdown(f, VSOCK_SHUTDOWN_SEND);
	world_send_op(f, VSOCK_OP_RST);
	assert_int_equal(world_read_some(f, bytes, 8), 3);
	assert_int_equal(world_read_some(f, bytes, 8), 0);
	f->stream->ops->close(f->stream);

	vsock_guest_offer(&f->fe, 1);
	assert_int_equal(vsock_dial(f->vsock, VSOCK_GUEST_PORT, &f->header.dst_port, &f->stream),
			 0);
	world_send_op(f, VSOCK_OP_RESPONSE);
	world_send_op(f, VSOCK_OP_RST);
	assert_int_equal(world_read_some(f, bytes, 8), -ECONNRESET);
}

static void a_reset_of_ours_reaches_the_guest(void **state)
{
	struct vsock_world *f = *state;

	world_open_stream(f);
	f->stream->ops->reset(f->stream);
	f->stream = NULL;
	world_take_op(f, VSOCK_OP_RST);
	assert_int_equal(vsock_device_counters(f->vsock)->connections, 0);
}

static void a_device_that_stops_breaks_its_streams(void **state)
{
	struct vsock_world *f = *state;

	world_open_stream(f);
	front_end_send(&f->fe, VHOST_RESET_DEVICE, NULL, 0, -1);
	world_settle(f);
	assert_false(f->vsock->is_up);
	assert_int_equal(f->stream->error, -ECONNRESET);
	f->stream->ops->close(f->stream);
	f->stream = NULL;
	front_end_reset_rings(&f->fe);
	world_open_stream(f);
}

static void a_broken_ring_found_in_a_write_breaks_the_stream(void **state)
{
	struct vsock_world *f = *state;
	struct driver_ring *ring = &f->fe.rings[0];
	static uint8_t bytes[20 * VSOCK_GUEST_BUFFER];

	world_open_stream(f);
	f->header.buf_alloc = VSOCK_WORLD_BUFFER;
	world_send_op(f, VSOCK_OP_CREDIT_UPDATE);
	for (unsigned int i = 10; i < FRONT_END_RING; i++)
		driver_ring_set(ring, i, (struct driver_desc){ 1, 4096, DESC_WRITE, 0 });
	assert_int_equal(world_write_some(f, bytes, sizeof(bytes)), -ECONNRESET);
	world_settle(f);
	assert_int_equal(f->stream->error, -ECONNRESET);
	assert_false(f->vsock->is_up);
}

/* ---- joined to another ---- */

static void on_done(void *arg, const struct relay_result *result)
{
	struct vsock_world *f = arg;

	f->result = *result;
	f->relay = NULL;
}

/* One reads inside the other's write, and has to tell its guest of it. */
static void two_streams_of_one_guest_are_joined(void **state)
{
	static uint8_t bytes[60000];
	struct vsock_world *f = *state;
	struct stream *ends[2];
	struct vsock_header from, to;
	unsigned int n_credits = 0;
	uint32_t got = 0;

	world_open_stream(f);
	ends[0] = f->stream;
	from = f->header;
	assert_int_equal(vsock_dial(f->vsock, VSOCK_GUEST_PORT, &f->header.dst_port, &ends[1]), 0);
	f->stream = NULL;
	world_take_op(f, VSOCK_OP_REQUEST);
	to = f->header;
	to.buf_alloc = 64U << 20;
	f->header = to;
	world_send_op(f, VSOCK_OP_RESPONSE);
	assert_int_equal(relay_new(f->loop, ends, on_done, f, &f->relay), 0);
	for (unsigned int i = 0; i < 20; i++) {
		f->header = from;
		world_send_bytes(f, bytes, sizeof(bytes));
		while (vsock_guest_take(&f->fe, &f->packet)) {
			if (f->packet.header.op == VSOCK_OP_CREDIT_UPDATE)
				n_credits++;
			got += f->packet.header.op == VSOCK_OP_RW ? f->packet.header.len : 0;
			vsock_guest_offer(&f->fe, 1);
		}
		front_end_kick(&f->fe, 0);
		world_settle(f);
	}
	while (vsock_guest_take(&f->fe, &f->packet))
		got += f->packet.header.op == VSOCK_OP_RW ? f->packet.header.len : 0;
	assert_int_equal(got, 20 * sizeof(bytes));
	assert_true(n_credits >= 4);
	world_send_op(f, VSOCK_OP_RST);
	assert_null(f->relay);
	assert_int_equal(f->result.end, RELAY_END_A_BROKE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
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
