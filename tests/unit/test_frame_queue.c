/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/frame_queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "netstack/base/bytes.h"

#define SIZE 1000U
#define HEADER ((size_t)4)

static uint8_t pattern[SIZE];

static int setup(void **state)
{
	static struct frame_queue q;

	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (uint8_t)(i * 13 + 1);
	*state = &q;
	return frame_queue_init(&q, SIZE);
}

static int teardown(void **state)
{
	frame_queue_deinit(*state);
	return 0;
}

/* A frame of the first len bytes of the pattern, in three pieces. */
static struct frame frame_of(size_t len)
{
	struct frame f;

	frame_init(&f);
	frame_add(&f, pattern, 10);
	frame_add(&f, pattern + 10, 7);
	frame_add(&f, pattern + 17, len - 17);
	return f;
}

static void append(struct frame_queue *q, size_t len)
{
	struct frame f = frame_of(len);

	assert_true(frame_queue_fits(q, &f));
	frame_queue_append(q, &f);
}

static size_t gather(const struct iovec *iov, int n, uint8_t *to)
{
	size_t len = 0;

	for (int i = 0; i < n; i++) {
		memcpy(to + len, iov[i].iov_base, iov[i].iov_len);
		len += iov[i].iov_len;
	}
	return len;
}

static void expect_frame(const struct frame_queue *q, size_t offset, size_t len, size_t *next)
{
	uint8_t bytes[SIZE];
	struct iovec iov[2];
	int n = frame_queue_peek_frame(q, offset, iov, next);

	assert_int_equal(gather(iov, n, bytes), len);
	assert_memory_equal(bytes, pattern, len);
	assert_int_equal(*next, offset + HEADER + len);
}

static void the_queue_is_the_wire_form_of_a_stream(void **state)
{
	struct frame_queue *q = *state;
	uint8_t bytes[SIZE];
	struct iovec iov[2];
	int n;

	append(q, 100);
	append(q, 200);
	n = frame_queue_peek(q, 0, q->len, iov);

	assert_int_equal(n, 1);
	assert_int_equal(gather(iov, n, bytes), HEADER + 100 + HEADER + 200);
	assert_int_equal(get_be32(bytes), 100);
	assert_memory_equal(bytes + HEADER, pattern, 100);
	assert_int_equal(get_be32(bytes + HEADER + 100), 200);
	assert_memory_equal(bytes + 2 * HEADER + 100, pattern, 200);
}

static void a_short_frame_is_padded_with_zeros(void **state)
{
	static const uint8_t zeros[ETH_MIN_SIZE - 42];
	struct frame_queue *q = *state;
	uint8_t bytes[SIZE];
	struct iovec iov[2];
	size_t next;
	int n;

	memset(q->data, 0xee, SIZE);
	append(q, 42);
	n = frame_queue_peek_frame(q, 0, iov, &next);

	assert_int_equal(gather(iov, n, bytes), ETH_MIN_SIZE);
	assert_memory_equal(bytes, pattern, 42);
	assert_memory_equal(bytes + 42, zeros, sizeof(zeros));
	assert_int_equal(next, q->len);
	assert_int_equal(frame_queue_peek_frame(q, next, iov, &next), 0);
}

/* Every length of frame, at every place of the ring. */
static void frames_survive_the_wrap(void **state)
{
	struct frame_queue *q = *state;
	size_t queued = 0, at_least_two_pieces = 0;
	struct iovec iov[2];
	size_t next;

	append(q, 60);
	for (size_t i = 0; i < 5000; i++) {
		size_t len = 60 + i * 7 % 300;

		append(q, len);
		queued++;
		expect_frame(q, 0, i == 0 ? 60 : 60 + (i - 1) * 7 % 300, &next);
		at_least_two_pieces += frame_queue_peek(q, 0, q->len, iov) == 2;
		frame_queue_drop(q, next);
		expect_frame(q, 0, len, &next);
		assert_int_equal(next, q->len);
	}
	assert_int_equal(queued, 5000);
	assert_true(at_least_two_pieces > 100);
}

static void a_full_queue_says_so(void **state)
{
	struct frame large = frame_of(SIZE - HEADER);
	struct frame too_large = frame_of(SIZE - HEADER + 1);
	struct frame small = frame_of(60);
	struct frame_queue *q = *state;

	assert_false(frame_queue_fits(q, &too_large));
	assert_true(frame_queue_fits(q, &large));
	frame_queue_append(q, &large);
	assert_false(frame_queue_fits(q, &small));
	frame_queue_drop(q, HEADER + 60);
	assert_true(frame_queue_fits(q, &small));

	frame_queue_reset(q);
	assert_true(frame_queue_fits(q, &large));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_queue_is_the_wire_form_of_a_stream, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_short_frame_is_padded_with_zeros, setup,
						teardown),
		cmocka_unit_test_setup_teardown(frames_survive_the_wrap, setup, teardown),
		cmocka_unit_test_setup_teardown(a_full_queue_says_so, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
