/* SPDX-License-Identifier: Apache-2.0 */
/* What is lost, repeated or acknowledged by halves between the host and a guest,
 * while the memory it was sent from is being used again. The guest in memory
 * compares every byte that is sent twice. */
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

#define SIZE 3000000U
#define MSS 1448U
#define SECOND_MS 1000U
#define MINUTE_MS 60000U

struct fixture {
	struct guest guest;
	struct tcp_peer peer; /* listens on port 80 */
	struct caller caller;
	uint32_t random;
	unsigned int n_lost;
	const unsigned int *n_kept;  /* segments, from the test's table */
	uint32_t lose_from, lose_to; /* offsets in the stream */
};

static uint8_t data[SIZE];

static int setup_on(void **state, const struct link_caps *caps)
{
	static struct fixture f;
	int r;

	memset(&f, 0, sizeof(f));
	f.n_kept = *state;
	*state = &f;
	f.random = 12345;
	for (size_t i = 0; i < SIZE; i++)
		data[i] = (uint8_t)(i * 13 + i / 254);
	r = guest_start(&f.guest, caps, NULL);
	if (r == 0)
		tcp_peer_init(&f.peer, &f.guest, &wire_gateway4, 80, 0);
	f.peer.mss = MSS;
	f.peer.filter_arg = &f;
	return r;
}

static int setup_plain(void **state)
{
	return setup_on(state, &fake_link_plain);
}

static int setup_offloads(void **state)
{
	return setup_on(state, &fake_link_offloads);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	caller_deinit(&f->caller);
	guest_stop(&f->guest);
	tcp_peer_deinit(&f->peer);
	return 0;
}

static unsigned int random_below(struct fixture *f, unsigned int n)
{
	f->random = f->random * 1664525 + 1013904223;
	return (f->random >> 8) % n;
}

static void open_connection(struct fixture *f)
{
	struct endpoint to = f->peer.wire.src;
	struct stream *stream;

	assert_int_equal(stack_dial_tcp(f->guest.stack, &to, &stream), 0);
	caller_init(&f->caller, stream);
	guest_run(&f->guest);
	assert_true(f->peer.has_syn);
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

/* --- acknowledged by halves ------------------------------------------------- */

/* The part of the stream between two offsets is lost, the first time. */
static bool lose_a_part(struct tcp_peer *p, const struct tcp_segment *s)
{
	struct fixture *f = p->filter_arg;
	uint32_t offset = s->seq - p->host_first_seq;

	if (s->len == 0 || offset >= f->lose_to || offset + s->len <= f->lose_from)
		return true;
	f->n_lost++;
	return false;
}

/* A frame of 45 segments, of which the guest has got the first few; nothing more
 * is heard of it until the host sends again, by its timer or by duplicate ACKs.
 * Meanwhile the owner writes on, into whatever memory has become free. */
static void half_a_frame(struct fixture *f, bool by_timer)
{
	size_t len = 45 * MSS;

	open_connection(f);
	tcp_peer_ack(&f->peer); /* tells the window: large enough for whole frames */
	f->peer.filter = lose_a_part;
	f->lose_from = *f->n_kept * MSS;
	f->lose_to = SIZE;
	write_up_to(f, len);
	guest_run(&f->guest);
	assert_int_equal(f->peer.received_len, *f->n_kept * MSS);
	write_up_to(f, len + 500000);
	guest_run(&f->guest);
	assert_true(f->n_lost > 0);

	f->lose_to = 0;
	for (int i = 0; !by_timer && i < 4; i++)
		tcp_peer_ack(&f->peer);
	guest_advance(&f->guest, by_timer ? MINUTE_MS : 100);
	assert_true(f->peer.received_len > *f->n_kept * MSS);
	write_up_to(f, SIZE);
	guest_advance(&f->guest, MINUTE_MS);
	assert_int_equal(f->caller.written, SIZE);
	assert_guest_got(f, SIZE);
}

static void half_a_frame_is_sent_again_by_the_timer(void **state)
{
	half_a_frame(*state, true);
}

static void half_a_frame_is_sent_again_after_duplicate_acks(void **state)
{
	half_a_frame(*state, false);
}

/* One ACK for some frames and a part of the next, any byte being the last; then the
 * owner writes on, and the host sends again what was not acknowledged. */
static void any_byte_may_be_acknowledged(void **state)
{
	struct fixture *f = *state;
	size_t acked = 0;

	open_connection(f);
	tcp_peer_ack(&f->peer);
	f->peer.does_not_ack = true;
	while (acked < SIZE) {
		write_up_to(f, acked + 400000 < SIZE ? acked + 400000 : SIZE);
		guest_run(&f->guest);
		acked += random_below(f, 200000);
		if (acked > f->peer.received_len)
			acked = f->peer.received_len;
		tcp_peer_send_at(&f->peer, TCP_FLAG_ACK, 0,
				 (int32_t)acked - (int32_t)f->peer.received_len, NULL, 0);
		write_up_to(f, acked + 400000 < SIZE ? acked + 400000 : SIZE);
		guest_advance(&f->guest, 2 * SECOND_MS);
	}
	assert_guest_got(f, SIZE);
}

/* --- losses at random ------------------------------------------------------- */

static bool lose_some(struct tcp_peer *p, const struct tcp_segment *s)
{
	struct fixture *f = p->filter_arg;

	p->does_not_ack = random_below(f, 4) == 0;
	if ((s->flags & TCP_FLAG_SYN) || random_below(f, 50) != 0)
		return true;
	f->n_lost++;
	return false;
}

static void lossy(struct fixture *f)
{
	open_connection(f);
	f->peer.filter = lose_some;
	for (int i = 0; i < 20000 && f->peer.received_len < SIZE; i++) {
		size_t next = f->caller.to_write + random_below(f, 300000);

		write_up_to(f, next < SIZE ? next : SIZE);
		guest_advance(&f->guest, random_below(f, 100));
	}
	assert_guest_got(f, SIZE);
	assert_true(f->n_lost > 10);
}

static void a_lossy_guest_gets_all(void **state)
{
	lossy(*state);
}

/* Its window, too, does what it likes, but it never shrinks. */
static void a_lossy_and_slow_guest_gets_all(void **state)
{
	struct fixture *f = *state;

	open_connection(f);
	f->peer.filter = lose_some;
	for (int i = 0; i < 20000 && f->peer.received_len < SIZE; i++) {
		int32_t promised = (int32_t)(f->peer.edge - f->peer.host_seq);

		write_up_to(f, SIZE);
		f->peer.window = (promised > 0 ? (uint32_t)promised : 0) + 127 +
				 (i % 7 ? 0 : random_below(f, 100000));
		tcp_peer_ack(&f->peer);
		guest_advance(&f->guest, random_below(f, 500));
	}
	assert_guest_got(f, SIZE);
}

/* A link that fills up in the middle of anything. */
static void a_link_that_is_often_full_loses_nothing(void **state)
{
	struct fixture *f = *state;

	open_connection(f);
	for (int i = 0; i < 20000 && f->peer.received_len < SIZE; i++) {
		struct sent_frame *s;

		write_up_to(f, SIZE);
		f->guest.link.is_full = random_below(f, 3) == 0;
		guest_advance(&f->guest, random_below(f, 60));
		fake_link_make_room(&f->guest.link);
		guest_run(&f->guest);
		while ((s = guest_take(&f->guest, PACKET_TCP)))
			free(s);
	}
	assert_guest_got(f, SIZE);
}

static void a_guest_that_restarts_its_link_gets_all(void **state)
{
	struct fixture *f = *state;

	open_connection(f);
	for (int i = 0; i < 200 && f->peer.received_len < SIZE; i++) {
		size_t next = f->caller.to_write + 40000;

		write_up_to(f, next < SIZE ? next : SIZE);
		fake_link_set_up(&f->guest.link, false);
		guest_advance(&f->guest, 300);
		fake_link_set_up(&f->guest.link, true);
		guest_advance(&f->guest, 50);
	}
	assert_guest_got(f, SIZE);
}

/* --- towards the host ------------------------------------------------------- */

/* Segments of the guest in any order, more than once, and overlapping. */
static void a_disordered_guest_is_heard_right(void **state)
{
	struct fixture *f = *state;
	size_t total = 600000;

	f->guest.link.borrows = true;
	open_connection(f);
	for (int i = 0; i < 40000 && f->peer.acked - f->peer.first_seq - 1 < total; i++) {
		size_t at = f->peer.acked - f->peer.first_seq - 1;
		size_t offset = at + random_below(f, 40000), len = 1 + random_below(f, MSS);

		if (random_below(f, 3) == 0)
			offset = at > 500 ? at - random_below(f, 500) : at;
		if (offset >= total)
			offset = total - 1;
		if (offset + len > total)
			len = total - offset;
		f->guest.link.lends = random_below(f, 2);
		tcp_peer_send_at(&f->peer, TCP_FLAG_ACK,
				 (int32_t)(f->peer.first_seq + 1 + offset - f->peer.seq), 0,
				 data + offset, len);
		if (i % 8 == 0)
			guest_run(&f->guest);
	}
	guest_run(&f->guest);
	assert_int_equal(f->caller.got_len, total);
	assert_memory_equal(f->caller.got, data, total);
}

static void a_fin_that_comes_early_waits(void **state)
{
	struct fixture *f = *state;

	open_connection(f);
	tcp_peer_send_at(&f->peer, TCP_FLAG_ACK | TCP_FLAG_FIN, 1000, 0, data + 1000, 1000);
	guest_run(&f->guest);
	assert_int_equal(f->caller.got_len, 0);
	assert_false(f->caller.has_eof);
	tcp_peer_send_at(&f->peer, TCP_FLAG_ACK, 0, 0, data, 1000);
	guest_run(&f->guest);
	assert_int_equal(f->caller.got_len, 2000);
	assert_memory_equal(f->caller.got, data, 2000);
	assert_true(f->caller.has_eof);
}

/* Faults of lwIP 2.1.3 that 2.2.1 mends (vendor/README.md). */
static void a_segment_over_the_window_is_cut(void **state)
{
	struct fixture *f = *state;
	const size_t window = 4 * 1024 * 1024;

	open_connection(f);
	f->caller.does_not_read = true;
	for (size_t at = 0; at + 60000 < window; at += 60000)
		tcp_peer_send(&f->peer, TCP_FLAG_ACK, data, 60000);
	guest_advance(&f->guest, 100); /* the last one's ACK may be delayed */
	assert_true(f->peer.host_window < 60000);
	tcp_peer_send_at(&f->peer, TCP_FLAG_ACK, 1000, 0, data, 100);
	tcp_peer_send_at(&f->peer, TCP_FLAG_ACK, 1000, 0, data, 65000); /* replaces it */
	tcp_peer_send_at(&f->peer, TCP_FLAG_ACK | TCP_FLAG_FIN, 1000, 0, data, 65000);
	tcp_peer_send_at(&f->peer, TCP_FLAG_ACK, 0, 0, data, 65000);
	guest_run(&f->guest);
	assert_true(f->peer.acked - f->peer.first_seq - 1 <= window);
	assert_int_equal(f->caller.error, 0);
}

static void a_syn_in_an_open_connection_disturbs_nothing(void **state)
{
	struct fixture *f = *state;

	open_connection(f);
	tcp_peer_send_at(&f->peer, TCP_FLAG_ACK, 1000, 0, data + 1000, 1000);
	tcp_peer_send_at(&f->peer, TCP_FLAG_ACK | TCP_FLAG_SYN, 500, 0, data, 1000);
	tcp_peer_send_at(&f->peer, TCP_FLAG_SYN, 1500, 0, data, 1000);
	tcp_peer_send_at(&f->peer, TCP_FLAG_ACK, 0, 0, data, 1000);
	guest_run(&f->guest);
	assert_int_equal(f->caller.got_len, 2000);
	assert_memory_equal(f->caller.got, data, 2000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_plain, teardown)
#define TEST_OFFLOADS(name)                                                   \
	{                                                                     \
#name " (segmentation)", name, setup_offloads, teardown, NULL \
	}

static unsigned int kept[] = { 0, 1, 2, 22, 43, 44 };

#define HALF(i, name, how)                                                        \
	{                                                                         \
#name " (" #how " " #i ")", name, setup_##how, teardown, &kept[i] \
	}
#define HALVES(name, how)                                                               \
	HALF(0, name, how), HALF(1, name, how), HALF(2, name, how), HALF(3, name, how), \
		HALF(4, name, how), HALF(5, name, how)

int main(void)
{
	const struct CMUnitTest tests[] = {
		HALVES(half_a_frame_is_sent_again_by_the_timer, offloads),
		HALVES(half_a_frame_is_sent_again_after_duplicate_acks, offloads),
		HALVES(half_a_frame_is_sent_again_by_the_timer, plain),
		HALVES(half_a_frame_is_sent_again_after_duplicate_acks, plain),
		TEST(any_byte_may_be_acknowledged),
		TEST_OFFLOADS(any_byte_may_be_acknowledged),
		TEST(a_lossy_guest_gets_all),
		TEST_OFFLOADS(a_lossy_guest_gets_all),
		TEST(a_lossy_and_slow_guest_gets_all),
		TEST_OFFLOADS(a_lossy_and_slow_guest_gets_all),
		TEST(a_link_that_is_often_full_loses_nothing),
		TEST_OFFLOADS(a_link_that_is_often_full_loses_nothing),
		TEST(a_guest_that_restarts_its_link_gets_all),
		TEST(a_disordered_guest_is_heard_right),
		TEST(a_fin_that_comes_early_waits),
		TEST_OFFLOADS(a_segment_over_the_window_is_cut),
		TEST(a_syn_in_an_open_connection_disturbs_nothing),
	};

	own_network_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
