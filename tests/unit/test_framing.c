/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/framing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define BIG (FRAMING_MAX_SIZE + 16)

static uint8_t bytes[2 * BIG];

static struct framing_window window_of(size_t len)
{
	return (struct framing_window){ bytes, len };
}

/* Writes a frame of len bytes of `fill` at offset `at`; returns its end. */
static size_t put_frame(size_t at, size_t len, uint8_t fill)
{
	framing_put_header(bytes + at, len);
	memset(bytes + at + FRAMING_HEADER_SIZE, fill, len);
	return at + FRAMING_HEADER_SIZE + len;
}

static void the_length_is_big_endian(void **state)
{
	const uint8_t expected[4] = { 0, 1, 2, 3 };
	uint8_t header[4];

	(void)state;
	framing_put_header(header, 0x010203);

	assert_memory_equal(header, expected, 4);
}

static void frames_are_yielded_in_place_and_in_order(void **state)
{
	static const size_t lens[] = { ETH_HEADER_SIZE, 60, 1514, FRAME_MAX_SIZE };
	size_t end = 0, at = 0;
	struct framing_window w;
	struct iovec frame;

	(void)state;
	for (int i = 0; i < 4; i++)
		end = put_frame(end, lens[i], (uint8_t)i);
	w = window_of(end);

	for (int i = 0; i < 4; i++) {
		assert_int_equal(framing_next(&w, &frame), FRAMING_FRAME);
		assert_ptr_equal(frame.iov_base, bytes + at + FRAMING_HEADER_SIZE);
		assert_int_equal(frame.iov_len, lens[i]);
		at += FRAMING_HEADER_SIZE + lens[i];
	}
	assert_int_equal(framing_next(&w, &frame), FRAMING_PARTIAL);
	assert_int_equal(w.len, 0);
}

static void every_cut_of_a_frame_is_partial(void **state)
{
	size_t end = put_frame(0, 60, 7);

	(void)state;
	for (size_t cut = 0; cut < end; cut++) {
		struct framing_window w = window_of(cut);
		size_t known_end = cut < FRAMING_HEADER_SIZE ? FRAMING_HEADER_SIZE : end;
		struct iovec frame;

		assert_int_equal(framing_missing(&w), known_end - cut);
		assert_int_equal(framing_next(&w, &frame), FRAMING_PARTIAL);
		assert_int_equal(w.len, cut);
		assert_ptr_equal(w.data, bytes);
	}
}

static void impossible_lengths_are_refused_and_stay_refused(void **state)
{
	static const struct {
		uint32_t len;
		enum framing_status status;
	} cases[] = {
		{ FRAME_MAX_SIZE + 1, FRAMING_OVERSIZED },
		{ 0x00100000, FRAMING_OVERSIZED },
		{ 0x80000000, FRAMING_OVERSIZED },
		{ UINT32_MAX, FRAMING_OVERSIZED },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct framing_window w = window_of(BIG);
		struct iovec frame;

		put_be32(bytes, cases[i].len);
		for (int twice = 0; twice < 2; twice++)
			assert_int_equal(framing_next(&w, &frame), cases[i].status);
		assert_int_equal(w.len, BIG);
		assert_int_equal(framing_missing(&w), 0);
	}
}

static void runts_are_taken_off_and_named(void **state)
{
	static const uint32_t lengths[] = { 0, 1, ETH_HEADER_SIZE - 1 };

	(void)state;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		struct framing_window w = window_of(BIG);
		struct iovec frame;

		put_be32(bytes, lengths[i]);
		assert_int_equal(framing_next(&w, &frame), FRAMING_RUNT);
		assert_int_equal(frame.iov_len, lengths[i]);
		assert_int_equal(w.len, BIG - FRAMING_HEADER_SIZE - lengths[i]);
	}
}

static void a_bad_length_is_seen_before_its_bytes_arrive(void **state)
{
	struct framing_window w = window_of(FRAMING_HEADER_SIZE);
	struct iovec frame;

	(void)state;
	put_be32(bytes, FRAME_MAX_SIZE + 1);

	assert_int_equal(framing_next(&w, &frame), FRAMING_OVERSIZED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_length_is_big_endian),
		cmocka_unit_test(frames_are_yielded_in_place_and_in_order),
		cmocka_unit_test(every_cut_of_a_frame_is_partial),
		cmocka_unit_test(impossible_lengths_are_refused_and_stay_refused),
		cmocka_unit_test(runts_are_taken_off_and_named),
		cmocka_unit_test(a_bad_length_is_seen_before_its_bytes_arrive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
