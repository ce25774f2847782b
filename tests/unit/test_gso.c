/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/gso.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "netstack/base/bytes.h"
#include "netstack/checksum.h"
#include "netstack/packet.h"
#include "tests/support/wire.h"

#define PAYLOAD 60000U
#define MSS 1448U
#define FIN 0x01
#define PSH 0x08
#define ACK 0x10
#define CWR 0x80

struct fixture {
	uint8_t bytes[FRAME_MAX_SIZE], payload[PAYLOAD];
	struct frame frame;
	bool is_v4;
	/* what the segments were */
	unsigned int n;
	size_t received;
	unsigned int stop_after; /* 0: never */
};

static int setup(void **state)
{
	static struct fixture f;

	memset(&f, 0, sizeof(f));
	for (size_t i = 0; i < sizeof(f.payload); i++)
		f.payload[i] = (uint8_t)(i * 13 + i / 251);
	*state = &f;
	return 0;
}

/* As a guest that leaves the work to its NIC writes it: headers in one piece, the
 * payload in two. */
static void make(struct fixture *f, const struct ipaddr *dst, size_t payload)
{
	static const uint8_t timestamps[12] = { 1, 1, 8, 10 };
	struct wire w = wire_to(dst, 1000, 80);
	const struct wire_tcp tcp = { .seq = 0xfffff000U, /* wraps */
				      .ack = 77,
				      .flags = FIN | PSH | ACK | CWR,
				      .window = 500,
				      .options = timestamps,
				      .options_len = sizeof(timestamps),
				      .data = f->payload,
				      .len = payload };
	size_t len = wire_tcp(f->bytes, &w, &tcp);
	size_t tcp_at = ETH_HEADER_SIZE + (ipaddr_is_v4(dst) ? 20 : 40), headers = tcp_at + 32;
	uint16_t sum = checksum_fold(
		checksum_pseudo(&w.src.addr, &w.dst.addr, IP_PROTO_TCP, len - tcp_at));

	f->is_v4 = ipaddr_is_v4(dst);
	memcpy(f->bytes + tcp_at + 16, &sum, 2);
	frame_init(&f->frame);
	frame_add(&f->frame, f->bytes, headers);
	frame_add(&f->frame, f->bytes + headers, (len - headers) / 3);
	frame_add(&f->frame, f->bytes + headers + (len - headers) / 3,
		  len - headers - (len - headers) / 3);
	f->frame.offload = (struct frame_offload){
		.gso = f->is_v4 ? FRAME_GSO_TCP4 : FRAME_GSO_TCP6,
		.gso_size = MSS,
		.header_size = (uint16_t)headers,
		.csum_partial = true,
		.csum_start = (uint16_t)tcp_at,
		.csum_offset = 16,
	};
}

static int on_segment(void *arg, struct frame *segment)
{
	struct fixture *f = arg;
	uint8_t bytes[FRAME_MAX_SIZE];
	struct frame flat;
	struct packet p;
	size_t len;
	bool is_last;

	if (f->stop_after && f->n == f->stop_after)
		return -EAGAIN;
	assert_int_equal(segment->offload.gso, FRAME_GSO_NONE);
	assert_true(segment->offload.csum_partial);
	frame_finish_checksum(segment);
	len = frame_copy(segment, 0, bytes, sizeof(bytes));
	assert_int_equal(len, segment->len);
	assert_true(wire_has_right_checksum(bytes, len));
	frame_init(&flat);
	frame_add(&flat, bytes, len);
	assert_int_equal(packet_parse(&flat, &p), PACKET_OK);
	assert_int_equal(p.ip_len, len - ETH_HEADER_SIZE);
	assert_int_equal(get_be32(p.l4 + 4), (uint32_t)(0xfffff000U + f->received));
	if (f->is_v4)
		assert_int_equal(get_be16(p.ip + 4), f->n);
	len = p.ip_len - p.ip_header_size - p.l4_header_size;
	assert_true(len <= MSS);
	assert_memory_equal(p.l4 + p.l4_header_size, f->payload + f->received, len);
	f->received += len;
	is_last = f->received == f->frame.len - f->frame.offload.header_size;
	assert_int_equal(p.l4[13] & (FIN | PSH), is_last ? FIN | PSH : 0);
	assert_int_equal(p.l4[13] & CWR, f->n == 0 ? CWR : 0);
	assert_true(p.l4[13] & ACK);
	f->n++;
	return 0;
}

static void a_large_segment_becomes_many(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 2; i++) {
		f->n = 0;
		f->received = 0;
		make(f, i ? &wire_gateway6 : &wire_gateway4, PAYLOAD);
		assert_int_equal(gso_cut(&f->frame, on_segment, f), 0);
		assert_int_equal(f->received, PAYLOAD);
		assert_int_equal(f->n, (PAYLOAD + MSS - 1) / MSS);
	}
}

static void a_payload_of_any_size_is_whole(void **state)
{
	static const size_t sizes[] = { 0, 1, MSS - 1, MSS, MSS + 1, 2 * MSS, 2 * MSS + 1 };
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		f->n = 0;
		f->received = 0;
		make(f, &wire_gateway4, sizes[i]);
		assert_int_equal(gso_cut(&f->frame, on_segment, f), 0);
		assert_int_equal(f->received, sizes[i]);
		assert_int_equal(f->n, sizes[i] ? (sizes[i] + MSS - 1) / MSS : 1);
	}
}

static void a_full_link_ends_the_cutting(void **state)
{
	struct fixture *f = *state;

	f->stop_after = 3;
	make(f, &wire_gateway4, PAYLOAD);
	assert_int_equal(gso_cut(&f->frame, on_segment, f), -EAGAIN);
	assert_int_equal(f->n, 3);
}

static void what_would_make_too_many_segments_is_refused(void **state)
{
	struct fixture *f = *state;

	make(f, &wire_gateway4, PAYLOAD);
	f->frame.offload.gso_size = GSO_MIN_SIZE - 1;
	assert_int_equal(gso_cut(&f->frame, on_segment, f), -EMSGSIZE);
	assert_int_equal(f->n, 0);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_large_segment_becomes_many),
		TEST(a_payload_of_any_size_is_whole),
		TEST(a_full_link_ends_the_cutting),
		TEST(what_would_make_too_many_segments_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
