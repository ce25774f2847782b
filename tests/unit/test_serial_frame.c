/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/rpc/serial_frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TAG 0x1122334455667788U

static size_t make(uint8_t *out, enum serial_type type, const void *payload, uint32_t len)
{
	const struct serial_frame frame = { .type = type, .tag = TAG, .number = 7, .len = len };

	memcpy(out + SERIAL_HEADER_SIZE, payload, len);
	return serial_frame_wrap(&frame, out);
}

static void a_frame_is_read_as_it_was_written(void **state)
{
	static uint8_t data[SERIAL_FRAME_MAX], payload[SERIAL_PAYLOAD_MAX];
	const uint32_t sizes[] = { 0, 1, 1000, SERIAL_PAYLOAD_MAX };
	struct serial_frame frame;

	(void)state;
	memset(payload, 'x', sizeof(payload));
	for (size_t i = 0; i < 4; i++) {
		size_t size = make(data, SERIAL_DATA, payload, sizes[i]);

		assert_true(size <= SERIAL_FRAME_MAX);
		assert_int_equal(serial_frame_parse(data, size, &frame), (int)size);
		assert_int_equal(frame.type, SERIAL_DATA);
		assert_true(frame.tag == TAG);
		assert_int_equal(frame.number, 7);
		assert_int_equal(frame.len, sizes[i]);
		assert_memory_equal(frame.payload, payload, sizes[i]);
	}
}

static void the_bytes_of_the_wire_stay_as_they_are(void **state)
{
	/* written down once: two versions have to understand each other */
	static const uint8_t expected[] = {
		'N',  'F',  's',  '1',	4,    0,    0,	  0,	2,    0,    0,	  0,	7,    0,
		0,    0,    0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0xd3, 0xca, 0xd9, 0x27,
		0x16, 0xb6, 0x5d, 0x6b, 'h',  'i',  0xae, 0x86, 0xfc, 0x92, 0x66, 0xab, 0x45, 0x3a,
	};
	uint8_t data[64];

	(void)state;
	assert_int_equal(make(data, SERIAL_DATA, "hi", 2), sizeof(expected));
	assert_memory_equal(data, expected, sizeof(expected));
}

static void every_start_of_a_frame_waits_for_more(void **state)
{
	uint8_t data[128];
	struct serial_frame frame;
	size_t size = make(data, SERIAL_DATA, "hello", 5);

	(void)state;
	for (size_t len = 0; len < size; len++) {
		uint8_t *copy = malloc(len + 1); /* for the sanitizer to see */

		memcpy(copy, data, len);
		assert_int_equal(serial_frame_parse(copy, len, &frame), 0);
		free(copy);
	}
}

static void every_damaged_byte_of_a_frame_is_seen(void **state)
{
	uint8_t data[128];
	struct serial_frame frame;
	size_t size = make(data, SERIAL_DATA, "", 0);

	(void)state;
	for (size_t i = 0; i < size; i++) {
		data[i] ^= 1;
		assert_true(serial_frame_parse(data, size, &frame) < 0);
		data[i] ^= 1;
	}
	assert_true(serial_frame_parse(data, size, &frame) > 0);
}

/* Where the first whole frame starts. */
static size_t find(const uint8_t *data, size_t len, struct serial_frame *frame)
{
	size_t at = 0;
	ssize_t r;

	while ((r = serial_frame_parse(data + at, len - at, frame)) < 0)
		at += (size_t)-r;
	assert_true(r > 0);
	return at;
}

static void a_frame_is_found_behind_one_that_was_cut_off(void **state)
{
	static uint8_t data[3 * SERIAL_FRAME_MAX], payload[40000], whole[SERIAL_FRAME_MAX];
	struct serial_frame frame;
	size_t size, next;

	(void)state;
	memset(payload, 'N', sizeof(payload)); /* as frames begin */
	size = make(whole, SERIAL_DATA, payload, sizeof(payload));
	for (size_t cut = 1; cut < size; cut += 997) {
		memset(data, 0, sizeof(data));
		memcpy(data, whole, cut);
		next = make(data + cut + SERIAL_FRAME_MAX, SERIAL_HELLO, "", 0);
		assert_int_equal(find(data, cut + SERIAL_FRAME_MAX + next, &frame),
				 cut + SERIAL_FRAME_MAX);
		assert_int_equal(frame.type, SERIAL_HELLO);
	}
}

static void a_frame_with_a_wrong_length_for_its_type_is_none(void **state)
{
	uint8_t data[128];
	struct serial_frame frame;

	(void)state;
	assert_true(serial_frame_parse(data, make(data, SERIAL_CALL, "1234567", 7), &frame) < 0);
	assert_true(serial_frame_parse(data, make(data, SERIAL_ANSWER, "", 0), &frame) < 0);
	assert_true(serial_frame_parse(data, make(data, (enum serial_type)7, "", 0), &frame) < 0);
	assert_true(serial_frame_parse(data, make(data, (enum serial_type)0, "", 0), &frame) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_frame_is_read_as_it_was_written),
		cmocka_unit_test(the_bytes_of_the_wire_stay_as_they_are),
		cmocka_unit_test(every_start_of_a_frame_waits_for_more),
		cmocka_unit_test(every_damaged_byte_of_a_frame_is_seen),
		cmocka_unit_test(a_frame_is_found_behind_one_that_was_cut_off),
		cmocka_unit_test(a_frame_with_a_wrong_length_for_its_type_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
