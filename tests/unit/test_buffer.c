/* SPDX-License-Identifier: Apache-2.0 */
/* buffer.c, and rx_buffer.c on top of it. */
#include "netstack/buffer.h"
#include "netstack/rx_buffer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define SIZE 1024U

static void a_given_back_buffer_is_taken_again(void **state)
{
	struct buffer_pool pool;
	struct buffer *a, *b;

	(void)state;
	buffer_pool_init(&pool, SIZE, 4);

	a = buffer_take(&pool);
	memset(a->data, 1, SIZE);
	buffer_unref(a);
	b = buffer_take(&pool);

	assert_ptr_equal(a, b);
	assert_int_equal(b->n_refs, 1);
	assert_int_equal(pool.n_used, 1);
	assert_int_equal(pool.n_free, 0);
	buffer_unref(b);
	buffer_pool_deinit(&pool);
}

static void the_last_reference_gives_back(void **state)
{
	struct buffer_pool pool;
	struct buffer *b;

	(void)state;
	buffer_pool_init(&pool, SIZE, 4);
	b = buffer_take(&pool);

	assert_ptr_equal(buffer_ref(b), b);
	buffer_unref(b);
	assert_int_equal(pool.n_used, 1);
	buffer_unref(b);

	assert_int_equal(pool.n_used, 0);
	assert_int_equal(pool.n_free, 1);
	buffer_pool_deinit(&pool);
}

static void no_more_than_max_free_are_kept(void **state)
{
	struct buffer_pool pool;
	struct buffer *b[5];

	(void)state;
	buffer_pool_init(&pool, SIZE, 2);
	for (int i = 0; i < 5; i++)
		b[i] = buffer_take(&pool);
	assert_int_equal(pool.n_used, 5);

	for (int i = 0; i < 5; i++)
		buffer_unref(b[i]);

	assert_int_equal(pool.n_used, 0);
	assert_int_equal(pool.n_free, 2);
	buffer_pool_deinit(&pool);
}

static void nothing_is_given_back_of_nothing(void **state)
{
	(void)state;
	buffer_unref(NULL);
}

static void a_buffer_that_nobody_kept_is_read_into_again(void **state)
{
	struct rx_buffer rx;
	uint8_t *first;

	(void)state;
	rx_buffer_init(&rx, SIZE);
	assert_int_equal(rx_buffer_prepare(&rx, 0, 100), 0);
	first = rx_buffer_end(&rx);
	rx_buffer_commit(&rx, 700);

	assert_int_equal(rx_buffer_prepare(&rx, 0, 100), 0);

	assert_ptr_equal(rx_buffer_end(&rx), first);
	assert_int_equal(rx_buffer_room(&rx), SIZE);
	rx_buffer_deinit(&rx);
}

static void bytes_that_were_kept_are_not_written_again(void **state)
{
	struct rx_buffer rx;
	struct buffer *kept;

	(void)state;
	rx_buffer_init(&rx, SIZE);
	assert_int_equal(rx_buffer_prepare(&rx, 0, 100), 0);
	kept = buffer_ref(rx.current);
	rx_buffer_commit(&rx, 700);

	/* packed behind what was kept, as long as there is room */
	assert_int_equal(rx_buffer_prepare(&rx, 0, 100), 0);
	assert_ptr_equal(rx_buffer_end(&rx), kept->data + 700);
	rx_buffer_commit(&rx, 300);
	assert_int_equal(rx_buffer_prepare(&rx, 0, 100), 0);

	assert_ptr_not_equal(rx.current, kept);
	assert_int_equal(rx.used, 0);
	assert_int_equal(kept->n_refs, 1);
	buffer_unref(kept);
	rx_buffer_deinit(&rx);
}

static void an_incomplete_frame_moves_along(void **state)
{
	static const char partial[] = "incomplete";
	struct rx_buffer rx;
	struct buffer *kept;

	(void)state;
	rx_buffer_init(&rx, SIZE);
	assert_int_equal(rx_buffer_prepare(&rx, 0, SIZE), 0);
	memcpy(rx.current->data + SIZE - sizeof(partial), partial, sizeof(partial));
	rx_buffer_commit(&rx, SIZE);
	kept = buffer_ref(rx.current);

	/* to a buffer of its own, because this one is kept */
	assert_int_equal(rx_buffer_prepare(&rx, sizeof(partial), SIZE / 2), 0);
	assert_ptr_not_equal(rx.current, kept);
	assert_memory_equal(rx.current->data, partial, sizeof(partial));
	assert_ptr_equal(rx_buffer_end(&rx), rx.current->data + sizeof(partial));

	/* to the front, because nobody has kept this one */
	memcpy(rx.current->data + SIZE - sizeof(partial), partial, sizeof(partial));
	rx_buffer_commit(&rx, SIZE - sizeof(partial));
	memset(rx.current->data, 0, sizeof(partial));
	assert_int_equal(rx_buffer_prepare(&rx, sizeof(partial), SIZE / 2), 0);
	assert_memory_equal(rx.current->data, partial, sizeof(partial));
	assert_int_equal(rx.used, sizeof(partial));

	buffer_unref(kept);
	rx_buffer_deinit(&rx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_given_back_buffer_is_taken_again),
		cmocka_unit_test(the_last_reference_gives_back),
		cmocka_unit_test(no_more_than_max_free_are_kept),
		cmocka_unit_test(nothing_is_given_back_of_nothing),
		cmocka_unit_test(a_buffer_that_nobody_kept_is_read_into_again),
		cmocka_unit_test(bytes_that_were_kept_are_not_written_again),
		cmocka_unit_test(an_incomplete_frame_moves_along),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
