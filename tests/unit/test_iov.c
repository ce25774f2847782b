/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/base/iov.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define N 12

static void copied_in_pieces(const size_t *from_sizes, int n_from, const size_t *to_sizes, int n_to,
			     size_t expected)
{
	uint8_t source[64], sink[64] = { 0 };
	struct iovec from[4], to[4];
	size_t at = 0;

	for (size_t i = 0; i < sizeof(source); i++)
		source[i] = (uint8_t)(i + 1);
	for (int i = 0; i < n_from; i++) {
		from[i] = (struct iovec){ source + at, from_sizes[i] };
		at += from_sizes[i];
	}
	at = 0;
	for (int i = 0; i < n_to; i++) {
		to[i] = (struct iovec){ sink + at, to_sizes[i] };
		at += to_sizes[i];
	}

	assert_int_equal(iov_copy(to, n_to, from, n_from), expected);

	assert_memory_equal(sink, source, expected);
	for (size_t i = expected; i < sizeof(sink); i++)
		assert_int_equal(sink[i], 0);
}

static void pieces_need_not_match(void **state)
{
	(void)state;
	copied_in_pieces((size_t[]){ N }, 1, (size_t[]){ N }, 1, N);
	copied_in_pieces((size_t[]){ 5, 7 }, 2, (size_t[]){ 7, 5 }, 2, N);
	copied_in_pieces((size_t[]){ 1, 1, 10 }, 3, (size_t[]){ 11, 1 }, 2, N);
	copied_in_pieces((size_t[]){ 4, 4, 4 }, 3, (size_t[]){ 4, 4, 4 }, 3, N);
}

static void the_shorter_side_decides(void **state)
{
	(void)state;
	copied_in_pieces((size_t[]){ 3, 4 }, 2, (size_t[]){ 20 }, 1, 7);
	copied_in_pieces((size_t[]){ 20 }, 1, (size_t[]){ 3, 4 }, 2, 7);
	copied_in_pieces((size_t[]){ 20 }, 1, NULL, 0, 0);
	copied_in_pieces(NULL, 0, (size_t[]){ 20 }, 1, 0);
}

static void empty_pieces_are_skipped(void **state)
{
	(void)state;
	copied_in_pieces((size_t[]){ 0, 6, 0, 6 }, 4, (size_t[]){ 0, 12, 0 }, 3, N);
	copied_in_pieces((size_t[]){ 0, 0 }, 2, (size_t[]){ 12 }, 1, 0);
	copied_in_pieces((size_t[]){ 12 }, 1, (size_t[]){ 0, 0 }, 2, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces_need_not_match),
		cmocka_unit_test(the_shorter_side_decides),
		cmocka_unit_test(empty_pieces_are_skipped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
