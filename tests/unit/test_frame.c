/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/frame.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define N_OF(array) (sizeof(array) / sizeof((array)[0]))

/* A DNS query of a Linux guest as a kernel left it to us: the checksum field
 * (bytes 40 and 41) holds the sum of the pseudo header. */
static const uint8_t
	udp_partial[] = {
		0x52, 0x55, 0xc0, 0xa8, 0x05, 0x03, 0x02, 0x00, 0x00, 0x00,
		0x00, 0x01, 0x08, 0x00, /* eth */
		0x45, 0x00, 0x00, 0x39, 0x12, 0x34, 0x40, 0x00, 0x40, 0x11,
		0x9d, 0x1d, 0xc0, 0xa8, /* ip */
		0x05, 0x0f, 0xc0, 0xa8, 0x05, 0x03, 0x9c, 0x40, 0x00, 0x35,
		0x00, 0x25, 0x8b, 0x99, /* udp */
		0xab, 0xcd, 0x01, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00,
		0x00, 0x00, 0x07, 'e',	'x',  'a',  'm',  'p',	'l',  'e',
		0x03, 'o',  'r',  'g',	0x00, 0x00, 0x01, 0x00, 0x01,
	};
#define UDP_START 34U
/* Worked out apart from this code, after RFC 768: the complement of the sum of
 * the pseudo header and all words from 9c40 to 0001. */
#define UDP_CHECKSUM_HIGH 0x59
#define UDP_CHECKSUM_LOW 0x8a

static void scatter(struct frame *f, uint8_t *bytes, size_t len, size_t piece)
{
	frame_init(f);
	frame_add(f, bytes, 42); /* all headers are in the first one */
	for (size_t at = 42; at < len; at += piece)
		frame_add(f, bytes + at, len - at < piece ? len - at : piece);
}

static void a_partial_checksum_is_finished(void **state)
{
	uint8_t bytes[sizeof(udp_partial)];
	struct frame f;

	(void)state;
	for (size_t piece = 1; piece < 40; piece++) {
		memcpy(bytes, udp_partial, sizeof(bytes));
		scatter(&f, bytes, sizeof(bytes), piece);
		f.offload.csum_partial = true;
		f.offload.csum_start = UDP_START;
		f.offload.csum_offset = 6;

		frame_finish_checksum(&f);

		assert_false(f.offload.csum_partial);
		assert_int_equal(bytes[UDP_START + 6], UDP_CHECKSUM_HIGH);
		assert_int_equal(bytes[UDP_START + 7], UDP_CHECKSUM_LOW);
	}
}

static void a_finished_checksum_is_left_alone(void **state)
{
	uint8_t bytes[sizeof(udp_partial)];
	struct frame f;

	(void)state;
	memcpy(bytes, udp_partial, sizeof(bytes));
	scatter(&f, bytes, sizeof(bytes), 100);

	frame_finish_checksum(&f);

	assert_memory_equal(bytes, udp_partial, sizeof(bytes));
}

/* Zero would tell a receiver of UDP that there is no checksum. */
static void a_checksum_is_never_zero(void **state)
{
	uint8_t bytes[64] = { 0 };
	struct frame f;

	(void)state;
	memset(bytes + UDP_START, 0xff, 2);
	frame_init(&f);
	frame_add(&f, bytes, sizeof(bytes));
	f.offload.csum_partial = true;
	f.offload.csum_start = UDP_START;
	f.offload.csum_offset = 6;

	frame_finish_checksum(&f);

	assert_int_equal(bytes[UDP_START + 6], 0xff);
	assert_int_equal(bytes[UDP_START + 7], 0xff);
}

static void bytes_are_copied_from_anywhere(void **state)
{
	uint8_t bytes[200], out[220];
	struct frame f;

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)i;
	scatter(&f, bytes, sizeof(bytes), 7);
	for (size_t offset = 0; offset <= 200; offset++) {
		for (size_t len = 0; len < 20; len++) {
			size_t n = len < 200 - offset ? len : 200 - offset;

			memset(out, 0xee, sizeof(out));
			assert_int_equal(frame_copy(&f, offset, out, len), n);
			assert_memory_equal(out, bytes + offset, n);
			assert_int_equal(out[n], 0xee);
		}
	}
	assert_int_equal(frame_copy(&f, 0, out, sizeof(out)), 200);
}

/* As virtio 1.1 section 5.1.6 lays it out. */
static void the_header_is_encoded_as_virtio_says(void **state)
{
	static const uint8_t expected[VNET_HEADER_SIZE] = { 1,	  4,	0x4a, 0x00, 0xb4, 0x05,
							    0x36, 0x00, 0x10, 0x00, 0x01, 0x00 };
	uint8_t header[VNET_HEADER_SIZE];
	struct frame f;

	(void)state;
	frame_init(&f);
	f.offload = (struct frame_offload){ .gso = FRAME_GSO_TCP6,
					    .gso_size = 1460,
					    .header_size = 74,
					    .csum_partial = true,
					    .csum_start = 54,
					    .csum_offset = 16 };
	frame_encode_vnet(&f, header);

	assert_memory_equal(header, expected, sizeof(header));
}

static void what_is_encoded_is_decoded(void **state)
{
	static const struct frame_offload cases[] = {
		{ 0 },
		{ .csum_partial = true, .csum_start = 34, .csum_offset = 6 },
		{ .gso = FRAME_GSO_TCP4,
		  .gso_size = 1460,
		  .header_size = 54,
		  .csum_partial = true,
		  .csum_start = 34,
		  .csum_offset = 16 },
		{ .gso = FRAME_GSO_TCP6,
		  .gso_size = 1440,
		  .header_size = 74,
		  .csum_partial = true,
		  .csum_start = 54,
		  .csum_offset = 16 },
	};
	uint8_t header[VNET_HEADER_SIZE];
	struct frame_offload o;
	struct frame f;

	(void)state;
	for (size_t i = 0; i < N_OF(cases); i++) {
		frame_init(&f);
		f.offload = cases[i];
		frame_encode_vnet(&f, header);

		assert_int_equal(frame_decode_vnet(header, 40000, &o), 0);
		assert_int_equal(o.gso, cases[i].gso);
		assert_int_equal(o.gso_size, cases[i].gso_size);
		assert_int_equal(o.header_size, cases[i].header_size);
		assert_int_equal(o.csum_partial, cases[i].csum_partial);
		assert_int_equal(o.csum_start, cases[i].csum_start);
		assert_int_equal(o.csum_offset, cases[i].csum_offset);
	}
}

static void a_congestion_mark_does_not_hide_the_kind(void **state)
{
	static const uint8_t header[VNET_HEADER_SIZE] = { 1, 0x81, 54, 0, 100, 0, 34, 0, 16, 0 };
	struct frame_offload o;

	(void)state;
	assert_int_equal(frame_decode_vnet(header, 1000, &o), 0);
	assert_int_equal(o.gso, FRAME_GSO_TCP4);
}

static void a_header_that_lies_is_refused(void **state)
{
	static const struct {
		uint8_t header[VNET_HEADER_SIZE];
		size_t frame_len;
	} cases[] = {
		{ { 1, 0, 0, 0, 0, 0, 34, 0, 16, 0 }, 51 },	      /* field cut off */
		{ { 1, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff }, 60 }, /* far behind */
		{ { 1, 1, 54, 0, 0, 0, 34, 0, 16, 0 }, 1000 },	      /* segments of 0 bytes */
		{ { 1, 3, 54, 0, 100, 0, 34, 0, 6, 0 }, 1000 },	      /* UDP fragmentation */
		{ { 1, 5, 54, 0, 100, 0, 34, 0, 6, 0 }, 1000 },	      /* UDP segmentation */
		{ { 1, 2, 54, 0, 100, 0, 34, 0, 6, 0 }, 1000 },	      /* unknown */
		{ { 1, 0x80, 54, 0, 100, 0, 34, 0, 6, 0 }, 39 },
		{ { 1, 1, 0xe9, 3, 100, 0, 34, 0, 16, 0 }, 1000 }, /* longer than the frame */
	};
	struct frame_offload o;

	(void)state;
	for (size_t i = 0; i < N_OF(cases); i++) {
		if (frame_decode_vnet(cases[i].header, cases[i].frame_len, &o) != -EINVAL)
			fail_msg("case %zu was not refused", i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_partial_checksum_is_finished),
		cmocka_unit_test(a_finished_checksum_is_left_alone),
		cmocka_unit_test(a_checksum_is_never_zero),
		cmocka_unit_test(bytes_are_copied_from_anywhere),
		cmocka_unit_test(the_header_is_encoded_as_virtio_says),
		cmocka_unit_test(what_is_encoded_is_decoded),
		cmocka_unit_test(a_congestion_mark_does_not_hide_the_kind),
		cmocka_unit_test(a_header_that_lies_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
