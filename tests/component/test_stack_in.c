/* SPDX-License-Identifier: Apache-2.0 */
/* TCP connections of the host to a guest in memory (stack_dial_tcp): opening,
 * ending, a guest that does not read. What is lost on the way: test_stack_loss. */
#include <errno.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "netstack/base/bytes.h"
#include "tests/support/caller.h"
#include "tests/support/guest.h"
#include "tests/support/own_network.h"

#define SIZE 12000000U
#define SOME 500000U
#define SECOND_MS 1000U
#define MINUTE_MS 60000U

struct fixture {
	struct guest guest;
	struct tcp_peer peer; /* listens on port 80 */
	struct caller caller;
};

static uint8_t data[SIZE];

static int setup_on(void **state, const struct link_caps *caps, const struct ipaddr *gateway)
{
	static struct fixture f;
	int r;

	memset(&f, 0, sizeof(f));
	*state = &f;
	for (size_t i = 0; i < SIZE; i++)
		data[i] = (uint8_t)(i * 13 + i / 254);
	r = guest_start(&f.guest, caps, NULL);
	if (r == 0)
		tcp_peer_init(&f.peer, &f.guest, gateway, 80, 0);
	return r;
}

static int setup(void **state)
{
	return setup_on(state, &fake_link_plain, &wire_gateway4);
}

static int setup_v6(void **state)
{
	return setup_on(state, &fake_link_plain, &wire_gateway6);
}

static int setup_offloads(void **state)
{
	return setup_on(state, &fake_link_offloads, &wire_gateway4);
}

static int setup_offloads_v6(void **state)
{
	return setup_on(state, &fake_link_offloads, &wire_gateway6);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	caller_deinit(&f->caller);
	guest_stop(&f->guest);
	tcp_peer_deinit(&f->peer);
	return 0;
}

static void dial(struct fixture *f)
{
	struct endpoint to = f->peer.wire.src;
	struct stream *stream;

	assert_int_equal(stack_dial_tcp(f->guest.stack, &to, &stream), 0);
	caller_init(&f->caller, stream);
	caller_go_on(&f->caller); /* not connected yet */
	assert_int_equal(f->caller.error, 0);
}

static void open_connection(struct fixture *f)
{
	dial(f);
	guest_run(&f->guest);
	assert_true(f->peer.has_syn);
	assert_int_equal(f->caller.error, 0);
	assert_int_equal(guest_counter(&f->guest, "tcp.connections"), 1);
}

static void write_up_to(struct fixture *f, size_t len)
{
	f->caller.data = data;
	f->caller.to_write = len;
	caller_go_on(&f->caller);
}

static void assert_guest_got(const struct fixture *f, size_t len)
{
	assert_int_equal(f->peer.received_len, len);
	assert_memory_equal(f->peer.received, data, len);
}

static void assert_nothing_left(struct fixture *f)
{
	guest_advance(&f->guest, 2 * SECOND_MS);
	assert_int_equal(guest_counter(&f->guest, "tcp.connections"), 0);
}

/* --- opening ---------------------------------------------------------------- */

static bool keep_syn(struct tcp_peer *p, const struct tcp_segment *s)
{
	uint8_t *copy = p->filter_arg;

	if (s->flags & TCP_FLAG_SYN)
		memcpy(copy, s->frame->packet.l4, s->frame->packet.l4_header_size);
	return true;
}

static bool has_option(const uint8_t *tcp, uint8_t kind)
{
	const uint8_t *at = tcp + 20, *end = tcp + (tcp[12] >> 4) * 4;

	while (at < end && *at != 0) {
		if (*at == kind)
			return true;
		at += *at == 1 ? 1 : at[1];
	}
	return false;
}

static void a_guest_is_dialled_with_all_that_makes_it_fast(void **state)
{
	struct fixture *f = *state;
	uint8_t tcp[60] = { 0 };

	f->peer.filter = keep_syn;
	f->peer.filter_arg = tcp;
	open_connection(f);
	assert_true(ipaddr_equal(&f->peer.wire.dst.addr, &wire_gateway4));
	assert_int_equal(tcp[13], TCP_FLAG_SYN);
	assert_int_equal(f->peer.host_mss, 65440);
	assert_int_equal(f->peer.host_shift, 7);
	assert_true(has_option(tcp, 4)); /* SACK permitted */
}

static void both_ways(struct fixture *f)
{
	open_connection(f);
	write_up_to(f, SIZE);
	guest_run(&f->guest);
	assert_int_equal(f->caller.written, SIZE);
	assert_guest_got(f, SIZE);
	assert_int_equal(tcp_peer_write(&f->peer, data, SOME), SOME);
	guest_run(&f->guest);
	assert_int_equal(f->caller.got_len, SOME);
	assert_memory_equal(f->caller.got, data, SOME);
}

static void bytes_go_both_ways(void **state)
{
	both_ways(*state);
}

/* Frames of 64 KiB, cut by the link: a tenth of the frames, and of the calls. */
static void a_link_that_segments_gets_large_frames(void **state)
{
	struct fixture *f = *state;

	open_connection(f);
	f->guest.link.n_sent = 0;
	write_up_to(f, SIZE);
	guest_run(&f->guest);
	assert_guest_got(f, SIZE);
	assert_true(f->guest.link.n_sent < SIZE / 30000);
	assert_int_equal(f->peer.n_segments - 1 > SIZE / 1460, 1);
}

static void a_closed_port_refuses(void **state)
{
	struct fixture *f = *state;
	struct wire_tcp rst = { .flags = TCP_FLAG_RST | TCP_FLAG_ACK };
	uint8_t bytes[100];
	struct sent_frame *s;
	struct wire back;

	f->peer.wire.src.port = 81; /* nobody listens on 80 */
	f->caller.stream = NULL;
	struct endpoint to = { wire_guest4, 80 };
	struct stream *stream;

	assert_int_equal(stack_dial_tcp(f->guest.stack, &to, &stream), 0);
	caller_init(&f->caller, stream);
	caller_go_on(&f->caller);
	guest_run(&f->guest);
	s = guest_take(&f->guest, PACKET_TCP);
	assert_non_null(s);
	back = wire_to(&wire_gateway4, 80, s->packet.src.port);
	rst.ack = get_be32(s->packet.l4 + 4) + 1;
	free(s);
	guest_send(&f->guest, bytes, wire_tcp(bytes, &back, &rst));
	guest_run(&f->guest);
	assert_int_equal(f->caller.error, -ECONNREFUSED);
}

static void a_guest_that_is_not_there_is_unreachable(void **state)
{
	struct fixture *f = *state;

	f->guest.is_silent = true;
	dial(f);
	guest_advance(&f->guest, 2 * SECOND_MS);
	assert_int_equal(f->caller.error, 0); /* it may still answer */
	guest_advance(&f->guest, 2 * SECOND_MS);
	assert_int_equal(f->caller.error, -EHOSTUNREACH);
}

static void a_guest_that_comes_late_is_connected(void **state)
{
	struct fixture *f = *state;

	f->guest.is_silent = true;
	dial(f);
	guest_advance(&f->guest, 2 * SECOND_MS);
	f->guest.is_silent = false;
	guest_advance(&f->guest, SECOND_MS);
	assert_true(f->peer.has_syn);
	write_up_to(f, 1000);
	guest_run(&f->guest);
	assert_guest_got(f, 1000);
}

static bool lose_all(struct tcp_peer *p, const struct tcp_segment *s)
{
	(void)p;
	(void)s;
	return false;
}

static void a_guest_that_ignores_us_times_out(void **state)
{
	struct fixture *f = *state;

	f->peer.filter = lose_all;
	dial(f);
	guest_advance(&f->guest, 3 * SECOND_MS);
	assert_int_equal(f->caller.error, 0);
	guest_advance(&f->guest, 3 * MINUTE_MS);
	assert_int_equal(f->caller.error, -ETIMEDOUT);
}

static void without_a_guest_nobody_is_dialled(void **state)
{
	struct fixture *f = *state;
	struct stream *stream;
	struct endpoint to = { wire_guest4, 80 };

	fake_link_set_up(&f->guest.link, false);
	assert_int_equal(stack_dial_tcp(f->guest.stack, &to, &stream), -ENETDOWN);
	assert_int_equal(guest_counter(&f->guest, "tcp.connections"), 0);
}

static void a_stream_may_be_ended_before_it_is_connected(void **state)
{
	struct fixture *f = *state;

	dial(f);
	caller_close(&f->caller);
	guest_run(&f->guest);
	caller_deinit(&f->caller);
	dial(f);
	caller_reset(&f->caller);
	guest_run(&f->guest);
	assert_nothing_left(f);
}

/* --- a guest that does not read --------------------------------------------- */

static void slow_guest(struct fixture *f, size_t bound)
{
	open_connection(f);
	f->peer.window = 0;
	tcp_peer_ack(&f->peer);
	write_up_to(f, SIZE);
	guest_advance(&f->guest, 30 * SECOND_MS);
	assert_true(f->caller.written > 0);
	assert_true(f->caller.written <= bound);
	assert_int_equal(f->caller.error, 0);

	guest_advance(&f->guest, 60 * MINUTE_MS); /* it answers probes: it is there */
	assert_int_equal(f->caller.error, 0);
	assert_true(f->caller.written <= bound);
	f->peer.window = 100000; /* a little at a time */
	tcp_peer_ack(&f->peer);
	guest_advance(&f->guest, SECOND_MS);
	assert_int_equal(f->caller.written, SIZE);
	assert_guest_got(f, SIZE);
}

static void a_guest_that_does_not_read_stops_the_host(void **state)
{
	slow_guest(*state, 512 * 1024);
}

static void a_guest_that_does_not_read_large_frames_stops_the_host(void **state)
{
	slow_guest(*state, (4096 + 256) * 1024);
}

/* Windows that open by less than a segment, and by less than a byte. */
static void a_guest_that_reads_in_sips_gets_all(void **state)
{
	struct fixture *f = *state;

	open_connection(f);
	for (int i = 0; i < 400 && f->peer.received_len < 40000; i++) {
		f->peer.window = i % 3 ? 128 * (uint32_t)(i % 5) : 0;
		tcp_peer_ack(&f->peer);
		write_up_to(f, 40000);
		guest_advance(&f->guest, SECOND_MS);
	}
	assert_guest_got(f, 40000);
}

/* The byte of a probe was the last one, and lwIP still means to probe. */
static void a_guest_may_take_a_probe_and_stay_shut(void **state)
{
	struct fixture *f = *state;

	open_connection(f);
	f->peer.window = 0;
	tcp_peer_ack(&f->peer);
	write_up_to(f, 1);
	guest_advance(&f->guest, MINUTE_MS);
	assert_guest_got(f, 1); /* acknowledged, and the window as it was */
	assert_int_equal(f->caller.error, 0);

	write_up_to(f, 1000);
	guest_advance(&f->guest, MINUTE_MS);
	f->peer.window = 1 << 20;
	tcp_peer_ack(&f->peer);
	guest_advance(&f->guest, SECOND_MS);
	assert_guest_got(f, 1000);
}

/* --- a host that does not read ---------------------------------------------- */

static void a_host_that_does_not_read_stops_the_guest(void **state)
{
	struct fixture *f = *state;
	size_t at = 0, n;

	open_connection(f);
	f->caller.does_not_read = true;
	do {
		n = tcp_peer_write(&f->peer, data + at, SIZE - at);
		at += n;
		guest_advance(&f->guest, 100);
	} while (n);
	assert_int_equal(f->peer.host_window, 0);
	assert_int_equal(at, 4 * 1024 * 1024);
	f->caller.does_not_read = false;
	caller_go_on(&f->caller);
	while (at < SIZE) {
		at += tcp_peer_write(&f->peer, data + at, SIZE - at);
		guest_run(&f->guest);
	}
	assert_int_equal(f->caller.got_len, SIZE);
	assert_memory_equal(f->caller.got, data, SIZE);
}

/* The window counts bytes; single ones would each hold some sixty. (Under
 * AddressSanitizer nobody counts, and only the data is compared.) */
static void tiny_segments_do_not_pile_up(void **state)
{
	const size_t n = 200000;
	struct fixture *f = *state;
	size_t before;

	open_connection(f);
	f->caller.does_not_read = true;
	before = mallinfo2().uordblks;
	for (size_t i = 0; i < n; i++)
		tcp_peer_send(&f->peer, TCP_FLAG_ACK, data + i, 1);
	guest_run(&f->guest);
	assert_true(mallinfo2().uordblks < before + 1000000);
	assert_int_equal(f->peer.acked, f->peer.seq);

	f->caller.does_not_read = false;
	caller_go_on(&f->caller);
	assert_int_equal(f->caller.got_len, n);
	assert_memory_equal(f->caller.got, data, n);
}

/* --- the end ---------------------------------------------------------------- */

static void the_host_may_close_with_data_on_its_way(void **state)
{
	struct fixture *f = *state;

	open_connection(f);
	f->peer.window = 0;
	tcp_peer_ack(&f->peer);
	write_up_to(f, SOME);
	assert_true(f->caller.written > 0);
	caller_close(&f->caller);
	guest_advance(&f->guest, SECOND_MS);
	assert_false(f->peer.has_fin);
	f->peer.window = 1 << 20;
	tcp_peer_ack(&f->peer);
	guest_advance(&f->guest, SECOND_MS);
	assert_guest_got(f, f->caller.written);
	assert_true(f->peer.has_fin);
	assert_false(f->peer.has_rst);
	tcp_peer_send(&f->peer, TCP_FLAG_FIN | TCP_FLAG_ACK, NULL, 0);
	assert_nothing_left(f);
}

/* A guest that never takes what closed connections still have for it. */
static void closed_connections_do_not_pile_up(void **state)
{
	enum { N = 80 }; /* of 4 MiB each */
	static struct tcp_peer peers[N];
	struct fixture *f = *state;
	unsigned int n_reset = 0;

	list_unlink(&f->peer.node); /* only says whom to dial */
	for (unsigned int i = 0; i < N; i++) {
		tcp_peer_init(&peers[i], &f->guest, &wire_gateway4, (uint16_t)(1000 + i), 0);
		f->peer.wire.src.port = peers[i].wire.src.port;
		dial(f);
		guest_run(&f->guest);
		peers[i].window = 0;
		tcp_peer_ack(&peers[i]);
		write_up_to(f, SIZE);
		assert_true(f->caller.written >= 4000000);
		caller_close(&f->caller);
		caller_deinit(&f->caller);
		guest_run(&f->guest);
	}
	for (unsigned int i = 0; i < N; i++) {
		n_reset += peers[i].has_rst;
		if (i > 0) /* the oldest first */
			assert_true(peers[i - 1].has_rst >= peers[i].has_rst);
		tcp_peer_deinit(&peers[i]);
	}
	assert_in_range(n_reset, 10, 20);
	assert_int_equal(guest_counter(&f->guest, "tcp.orphans-dropped"), n_reset);
	assert_int_equal(guest_counter(&f->guest, "tcp.connections"), N - n_reset);
}

static void the_host_may_close_one_direction(void **state)
{
	struct fixture *f = *state;

	open_connection(f);
	write_up_to(f, SOME);
	guest_run(&f->guest);
	assert_int_equal(f->caller.written, SOME);
	assert_int_equal(f->caller.stream->ops->shutdown(f->caller.stream), 0);
	guest_run(&f->guest);
	assert_guest_got(f, SOME);
	assert_true(f->peer.has_fin);
	assert_int_equal(tcp_peer_write(&f->peer, data, SOME), SOME);
	tcp_peer_send(&f->peer, TCP_FLAG_FIN | TCP_FLAG_ACK, NULL, 0);
	guest_run(&f->guest);
	assert_true(f->caller.has_eof);
	assert_int_equal(f->caller.got_len, SOME);
	caller_close(&f->caller);
	assert_nothing_left(f);
}

static void the_guest_may_close_one_direction(void **state)
{
	struct fixture *f = *state;

	open_connection(f);
	assert_int_equal(tcp_peer_write(&f->peer, data, SOME), SOME);
	tcp_peer_send(&f->peer, TCP_FLAG_FIN | TCP_FLAG_ACK, NULL, 0);
	guest_run(&f->guest);
	assert_true(f->caller.has_eof);
	assert_int_equal(f->caller.got_len, SOME);
	write_up_to(f, SIZE);
	guest_run(&f->guest);
	assert_guest_got(f, SIZE);
	assert_false(f->peer.has_fin);
	caller_close(&f->caller);
	guest_run(&f->guest);
	assert_true(f->peer.has_fin);
	assert_nothing_left(f);
}

static void unread_data_makes_a_close_a_reset(void **state)
{
	struct fixture *f = *state;

	open_connection(f);
	f->caller.does_not_read = true;
	assert_int_equal(tcp_peer_write(&f->peer, data, 1000), 1000);
	guest_run(&f->guest);
	caller_close(&f->caller);
	guest_run(&f->guest);
	assert_true(f->peer.has_rst);
	assert_nothing_left(f);
}

static void a_reset_of_the_guest_is_told(void **state)
{
	struct fixture *f = *state;

	open_connection(f);
	f->caller.does_not_read = true;
	assert_int_equal(tcp_peer_write(&f->peer, data, 1000), 1000);
	tcp_peer_send(&f->peer, TCP_FLAG_RST, NULL, 0);
	guest_run(&f->guest);
	assert_int_equal(f->caller.stream->error, -ECONNRESET);
	f->caller.does_not_read = false;
	caller_go_on(&f->caller);
	assert_int_equal(f->caller.error, -ECONNRESET);
	assert_int_equal(f->caller.got_len, 0); /* a reset takes the rest with it */
	caller_close(&f->caller);
	assert_nothing_left(f);
}

static void a_reset_of_the_host_is_a_reset(void **state)
{
	struct fixture *f = *state;

	open_connection(f);
	f->peer.window = 0;
	tcp_peer_ack(&f->peer);
	write_up_to(f, SOME);
	caller_reset(&f->caller);
	guest_run(&f->guest);
	assert_true(f->peer.has_rst);
	assert_false(f->peer.has_fin);
	assert_nothing_left(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_ON(name, how)                                             \
	{                                                              \
#name " (" #how ")", name, setup_##how, teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_guest_is_dialled_with_all_that_makes_it_fast),
		TEST(bytes_go_both_ways),
		TEST_ON(bytes_go_both_ways, v6),
		TEST_ON(bytes_go_both_ways, offloads),
		TEST_ON(bytes_go_both_ways, offloads_v6),
		TEST_ON(a_link_that_segments_gets_large_frames, offloads),
		TEST(a_closed_port_refuses),
		TEST(a_guest_that_is_not_there_is_unreachable),
		TEST_ON(a_guest_that_is_not_there_is_unreachable, v6),
		TEST(a_guest_that_comes_late_is_connected),
		TEST(a_guest_that_ignores_us_times_out),
		TEST(without_a_guest_nobody_is_dialled),
		TEST(a_stream_may_be_ended_before_it_is_connected),
		TEST(a_guest_that_does_not_read_stops_the_host),
		TEST_ON(a_guest_that_does_not_read_large_frames_stops_the_host, offloads),
		TEST(a_guest_that_reads_in_sips_gets_all),
		TEST_ON(a_guest_that_reads_in_sips_gets_all, offloads),
		TEST(a_guest_may_take_a_probe_and_stay_shut),
		TEST(a_host_that_does_not_read_stops_the_guest),
		TEST(tiny_segments_do_not_pile_up),
		TEST(the_host_may_close_with_data_on_its_way),
		TEST_ON(closed_connections_do_not_pile_up, offloads),
		TEST(the_host_may_close_one_direction),
		TEST(the_guest_may_close_one_direction),
		TEST(unread_data_makes_a_close_a_reset),
		TEST(a_reset_of_the_guest_is_told),
		TEST(a_reset_of_the_host_is_a_reset),
	};

	own_network_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
