/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/byte_queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define LARGE 100000U

static uint8_t pattern(size_t i)
{
	return (uint8_t)(i * 7 + i / 251);
}

static void append(struct byte_queue *q, size_t from, size_t len, size_t skip)
{
	static uint8_t bytes[LARGE];
	struct iovec iov[2] = { { bytes, len / 3 }, { bytes + len / 3, len - len / 3 } };

	for (size_t i = 0; i < len; i++)
		bytes[i] = pattern(from + i);
	assert_int_equal(byte_queue_append(q, iov, 2, skip), 0);
}

/* The first len bytes are those from number `from` on. */
static void check_and_consume(struct byte_queue *q, size_t from, size_t len)
{
	while (len) {
		struct iovec iov[3];
		int n = byte_queue_peek(q, iov, 3);
		size_t done = 0;

		assert_true(n > 0);
		for (int i = 0; i < n; i++) {
			const uint8_t *bytes = iov[i].iov_base;

			for (size_t j = 0; j < iov[i].iov_len && done < len; j++, done++)
				assert_int_equal(bytes[j], pattern(from + done));
		}
		byte_queue_consume(q, done);
		from += done;
		len -= done;
	}
}

static void bytes_come_out_as_they_went_in(void **state)
{
	struct byte_queue q;

	(void)state;
	byte_queue_init(&q);
	append(&q, 0, LARGE, 0);
	check_and_consume(&q, 0, 12345);
	append(&q, LARGE, 50000, 0);
	assert_int_equal(q.len, LARGE + 50000 - 12345);
	check_and_consume(&q, 12345, q.len);
	assert_int_equal(q.len, 0);
	assert_true(list_empty(&q.blocks));
}

static void tiny_pieces_share_a_block(void **state)
{
	struct byte_queue q;
	struct iovec iov[4];

	(void)state;
	byte_queue_init(&q);
	for (size_t i = 0; i < 10000; i++)
		append(&q, i, 1, 0);
	assert_int_equal(byte_queue_peek(&q, iov, 4), 1);
	check_and_consume(&q, 0, 10000);
}

static void what_is_to_be_skipped_is_left_out(void **state)
{
	struct byte_queue q;

	(void)state;
	byte_queue_init(&q);
	for (size_t skip = 0; skip <= 300; skip += 100) {
		append(&q, 0, 300, skip);
		assert_int_equal(q.len, 300 - skip);
		check_and_consume(&q, skip, 300 - skip);
	}
	append(&q, 0, 5, 0);
	byte_queue_clear(&q);
	assert_int_equal(q.len, 0);
	assert_int_equal(byte_queue_peek(&q, NULL, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_come_out_as_they_went_in),
		cmocka_unit_test(tiny_pieces_share_a_block),
		cmocka_unit_test(what_is_to_be_skipped_is_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
