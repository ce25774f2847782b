/* SPDX-License-Identifier: Apache-2.0 */
/* Every test runs for IPv4 and for IPv6. */
#include "netstack/reassembly.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/wire.h"

/* What fits behind the largest IP header there is a length for. */
#define MAX_PAYLOAD_V4 65515U
#define MAX_PAYLOAD_V6 65535U
#define PROTOCOL IP_PROTO_UDP

struct fixture {
	struct reassembly r;
	struct wire wire;
	size_t max_payload;
	uint64_t now_ms;
	struct frame whole; /* of the last feed() that was true */
};

static uint8_t payload[MAX_PAYLOAD_V6 + 64]; /* some pieces are too long */

static struct fixture *start(const struct ipaddr *dst)
{
	static struct fixture f;

	f = (struct fixture){ .wire = wire_to(dst, 0, 0), .now_ms = 1000 };
	f.max_payload = ipaddr_is_v4(dst) ? MAX_PAYLOAD_V4 : MAX_PAYLOAD_V6;
	for (size_t i = 0; i < sizeof(payload); i++)
		payload[i] = (uint8_t)(i * 7 + i / 251);
	return &f;
}

static int setup_v4(void **state)
{
	*state = start(&wire_gateway4);
	return 0;
}

static int setup_v6(void **state)
{
	*state = start(&wire_gateway6);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	reassembly_deinit(&f->r);
	return 0;
}

static bool feed_piece(struct fixture *f, const struct wire_piece *piece)
{
	static uint8_t bytes[FRAME_MAX_SIZE];
	size_t len = wire_fragment(bytes, &f->wire, piece, payload);
	struct packet packet;
	struct frame frame;

	frame_init(&frame);
	frame_add(&frame, bytes, len < 100 ? len : 100);
	if (len > 100)
		frame_add(&frame, bytes + 100, len - 100);
	assert_int_equal(packet_parse(&frame, &packet), PACKET_OK);
	assert_int_equal(packet.kind, PACKET_FRAGMENT);
	return reassembly_add(&f->r, &frame, &packet, f->now_ms, &f->whole);
}

static bool feed(struct fixture *f, uint32_t id, size_t offset, size_t len, bool has_more)
{
	const struct wire_piece piece = {
		.id = id,
		.protocol = PROTOCOL,
		.offset = offset,
		.len = len,
		.has_more = has_more,
	};

	return feed_piece(f, &piece);
}

static void assert_whole(struct fixture *f, size_t len)
{
	static uint8_t copy[MAX_PAYLOAD_V6];
	struct packet p;
	size_t header;

	assert_int_not_equal(packet_parse(&f->whole, &p), PACKET_SHORT_ETHERNET);
	assert_true(mac_equal(&p.mac_src, &f->wire.src_mac));
	assert_true(mac_equal(&p.mac_dst, &f->wire.dst_mac));
	assert_true(ipaddr_equal(&p.src.addr, &f->wire.src.addr));
	assert_true(ipaddr_equal(&p.dst.addr, &f->wire.dst.addr));
	assert_int_equal(p.protocol, PROTOCOL);
	assert_int_not_equal(p.kind, PACKET_FRAGMENT);
	assert_int_equal(p.ip_len - p.ip_header_size, len);
	header = ETH_HEADER_SIZE + p.ip_header_size;
	assert_int_equal(f->whole.len, header + len);
	assert_int_equal(frame_copy(&f->whole, header, copy, len), len);
	assert_memory_equal(copy, payload, len);
}

static void any_order_gives_the_datagram(void **state)
{
	static const unsigned int orders[][4] = {
		{ 0, 1, 2, 3 }, { 0, 1, 3, 2 }, { 0, 2, 1, 3 }, { 0, 2, 3, 1 }, { 0, 3, 1, 2 },
		{ 0, 3, 2, 1 }, { 1, 0, 2, 3 }, { 1, 0, 3, 2 }, { 1, 2, 0, 3 }, { 1, 2, 3, 0 },
		{ 1, 3, 0, 2 }, { 1, 3, 2, 0 }, { 2, 0, 1, 3 }, { 2, 0, 3, 1 }, { 2, 1, 0, 3 },
		{ 2, 1, 3, 0 }, { 2, 3, 0, 1 }, { 2, 3, 1, 0 }, { 3, 0, 1, 2 }, { 3, 0, 2, 1 },
		{ 3, 1, 0, 2 }, { 3, 1, 2, 0 }, { 3, 2, 0, 1 }, { 3, 2, 1, 0 },
	};
	static const struct {
		size_t offset, len;
	} pieces[4] = { { 0, 16 }, { 16, 8 }, { 24, 1480 }, { 1504, 3 } };
	struct fixture *f = *state;

	for (unsigned int o = 0; o < sizeof(orders) / sizeof(orders[0]); o++) {
		for (unsigned int i = 0; i < 4; i++) {
			unsigned int k = orders[o][i];
			bool done = feed(f, o, pieces[k].offset, pieces[k].len, k < 3);

			assert_int_equal(done, i == 3);
		}
		assert_whole(f, 1507);
	}
	assert_int_equal(f->r.dropped, 0);
}

static void one_fragment_may_be_all(void **state)
{
	struct fixture *f = *state;

	assert_true(feed(f, 1, 0, 21, false));
	assert_whole(f, 21);
}

static void the_largest_datagram_passes(void **state)
{
	struct fixture *f = *state;
	size_t half = 32768;

	assert_false(feed(f, 1, half, f->max_payload - half, false));
	assert_true(feed(f, 1, 0, half, true));
	assert_whole(f, f->max_payload);

	for (size_t at = 0; at < f->max_payload; at += 8) {
		size_t left = f->max_payload - at;
		bool is_last = left <= 8;

		assert_int_equal(feed(f, 2, at, is_last ? left : 8, !is_last), is_last);
	}
	assert_whole(f, f->max_payload);
	assert_int_equal(f->r.dropped, 0);
}

static void more_than_a_length_field_holds_is_refused(void **state)
{
	struct fixture *f = *state;
	size_t offset = 65528, most = f->max_payload - 65504;

	assert_false(feed(f, 1, 0, 8, true));
	assert_false(feed(f, 1, offset, 8, false));
	assert_int_equal(f->r.dropped, 1);
	assert_false(feed(f, 1, 65504, most + 1, false));
	assert_int_equal(f->r.dropped, 2);
	assert_false(feed(f, 1, offset, 16, true));
	assert_int_equal(f->r.dropped, 3);

	assert_false(feed(f, 1, 65504, most, false)); /* fits: nothing is broken */
	for (size_t at = 8; at < 65504; at += 8)
		assert_int_equal(feed(f, 1, at, 8, true), at == 65496);
	assert_whole(f, f->max_payload);
}

static void a_middle_piece_has_whole_units(void **state)
{
	struct fixture *f = *state;

	assert_false(feed(f, 1, 0, 12, true));
	assert_int_equal(f->r.dropped, 1);
	assert_false(feed(f, 1, 8, 0, false));
	assert_int_equal(f->r.dropped, 2);
	assert_false(feed(f, 1, 8, 0, true));
	assert_int_equal(f->r.dropped, 3);
}

/* Whatever overlaps, the datagram is given up, and what is left of it does not
 * make a datagram either (RFC 5722). */
static void overlaps_give_the_datagram_up(void **state)
{
	static const struct {
		size_t offset, len;
		bool has_more;
	} cases[][3] = {
		{ { 0, 16, true }, { 0, 16, true }, { 16, 8, false } },	 /* repeated */
		{ { 0, 16, true }, { 8, 16, true }, { 24, 8, false } },	 /* over the end */
		{ { 8, 16, true }, { 0, 16, true }, { 24, 8, false } },	 /* over the start */
		{ { 0, 32, true }, { 8, 8, true }, { 32, 8, false } },	 /* inside */
		{ { 8, 8, true }, { 0, 24, true }, { 24, 8, false } },	 /* around */
		{ { 16, 8, false }, { 16, 8, false }, { 0, 16, true } }, /* the end twice */
		{ { 16, 8, false }, { 24, 8, false }, { 0, 16, true } }, /* two ends */
		{ { 16, 8, false }, { 24, 8, true }, { 0, 16, true } },	 /* behind the end */
		{ { 24, 8, true }, { 16, 8, false }, { 0, 16, true } },	 /* the same, before */
		{ { 16, 5, false }, { 16, 8, true }, { 0, 16, true } },	 /* odd end */
		{ { 160, 8, true }, { 16, 8, false }, { 0, 8, true } },	 /* counts add up */
	};
	struct fixture *f = *state;

	for (uint32_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
		uint64_t dropped = f->r.dropped;

		for (unsigned int i = 0; i < 3; i++) {
			if (feed(f, c, cases[c][i].offset, cases[c][i].len, cases[c][i].has_more))
				fail_msg("case %u made a datagram", c);
		}
		if (f->r.dropped == dropped)
			fail_msg("case %u was not counted", c);
		f->now_ms += REASSEMBLY_MAX_AGE_MS + 1;
	}
}

static void an_id_may_be_used_again(void **state)
{
	struct fixture *f = *state;

	for (int round = 0; round < 3; round++) {
		assert_false(feed(f, 9, 8, 4, false));
		assert_true(feed(f, 9, 0, 8, true));
		assert_whole(f, 12);
	}
	assert_false(feed(f, 9, 0, 8, true));
	assert_false(feed(f, 9, 0, 8, true)); /* overlaps: given up */
	assert_false(feed(f, 9, 8, 4, false));
	assert_true(feed(f, 9, 0, 8, true));
	assert_whole(f, 12);
}

static void datagrams_do_not_mix(void **state)
{
	struct fixture *f = *state;
	const struct wire_piece tcp = { .id = 1, .protocol = IP_PROTO_TCP, .offset = 8, .len = 8 };
	struct wire mine = f->wire, other = f->wire;

	other.src.addr.b[15] ^= 1;
	assert_false(feed(f, 1, 0, 8, true));
	assert_false(feed(f, 2, 8, 4, false));
	assert_false(feed_piece(f, &tcp));
	f->wire = other;
	assert_false(feed(f, 1, 8, 4, false));
	f->wire = mine;
	f->wire.dst.addr.b[15] ^= 1;
	assert_false(feed(f, 1, 8, 4, false));

	f->wire = other;
	assert_true(feed(f, 1, 0, 8, true));
	assert_whole(f, 12);
	f->wire = mine;
	assert_true(feed(f, 1, 8, 4, false));
	assert_whole(f, 12);
}

static void time_ends_a_datagram(void **state)
{
	struct fixture *f = *state;

	assert_false(feed(f, 1, 0, 8, true));
	f->now_ms += REASSEMBLY_MAX_AGE_MS;
	assert_true(feed(f, 1, 8, 4, false)); /* in time */

	assert_false(feed(f, 2, 0, 8, true));
	f->now_ms += REASSEMBLY_MAX_AGE_MS + 1;
	assert_false(feed(f, 2, 8, 4, false));
	assert_int_equal(f->r.dropped, 1);
	assert_true(feed(f, 2, 0, 8, true)); /* the late piece began a new one */
	assert_whole(f, 12);
}

static unsigned int count_slots(const struct fixture *f)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < REASSEMBLY_SLOTS; i++)
		n += f->r.slots[i] != NULL;
	return n;
}

/* A flood comes within one millisecond. */
static void a_flood_evicts_the_oldest(void **state)
{
	struct fixture *f = *state;

	for (uint32_t id = 0; id < REASSEMBLY_SLOTS; id++)
		assert_false(feed(f, id, 0, 8, true));
	assert_int_equal(count_slots(f), REASSEMBLY_SLOTS);

	for (uint32_t id = 100; id < 104; id++)
		assert_false(feed(f, id, 0, 8, true));
	assert_int_equal(count_slots(f), REASSEMBLY_SLOTS);
	assert_int_equal(f->r.dropped, 4);

	for (uint32_t id = 4; id < REASSEMBLY_SLOTS; id++)
		assert_true(feed(f, id, 8, 4, false));
	for (uint32_t id = 100; id < 104; id++)
		assert_true(feed(f, id, 8, 4, false));
	for (uint32_t id = 0; id < 4; id++)
		assert_false(feed(f, id, 8, 4, false));
}

static void a_long_flood_stays_bounded(void **state)
{
	struct fixture *f = *state;

	for (uint32_t id = 0; id < 10000; id++) {
		assert_false(feed(f, id, 0, 8, true));
		f->now_ms += id % 3 == 0;
		assert_true(count_slots(f) <= REASSEMBLY_SLOTS);
	}
	assert_int_equal(f->r.dropped, 10000 - REASSEMBLY_SLOTS);
	assert_true(feed(f, 9999, 8, 4, false));
	assert_whole(f, 12);
}

#define BOTH(test)                                              \
	{ #test " (IPv4)", test, setup_v4, teardown, NULL },    \
	{                                                       \
#test " (IPv6)", test, setup_v6, teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(any_order_gives_the_datagram),
		/* IPv4 has no such fragment */
		cmocka_unit_test_setup_teardown(one_fragment_may_be_all, setup_v6, teardown),
		BOTH(the_largest_datagram_passes),
		BOTH(more_than_a_length_field_holds_is_refused),
		BOTH(a_middle_piece_has_whole_units),
		BOTH(overlaps_give_the_datagram_up),
		BOTH(an_id_may_be_used_again),
		BOTH(datagrams_do_not_mix),
		BOTH(time_ends_a_datagram),
		BOTH(a_flood_evicts_the_oldest),
		BOTH(a_long_flood_stays_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
