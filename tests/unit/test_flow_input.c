/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/rpc/flow_input.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void assert_peek(const struct flow_input *in, const char *expected)
{
	struct iovec iov[FLOW_INPUT_PIECES + 1];
	char text[256] = "";
	size_t len = 0;
	int n;
	size_t sum = flow_input_peek(in, iov, FLOW_INPUT_PIECES + 1, &n);

	for (int i = 0; i < n; i++) {
		memcpy(text + len, iov[i].iov_base, iov[i].iov_len);
		len += iov[i].iov_len;
	}
	assert_int_equal(len, sum);
	assert_string_equal(text, expected);
	assert_int_equal(flow_input_is_empty(in), sum == 0);
}

static void pieces_are_read_where_they_lie(void **state)
{
	struct flow_input in = { 0 };
	const char *text = "hello there";
	struct iovec iov[2];
	int n;

	(void)state;
	flow_input_add(&in, text, 5);
	flow_input_add(&in, text + 5, 6);
	assert_int_equal(flow_input_peek(&in, iov, 2, &n), 11);
	assert_int_equal(n, 2);
	assert_ptr_equal(iov[0].iov_base, text);
	flow_input_consume(&in, 7);
	assert_peek(&in, "here");
	flow_input_consume(&in, 4);
	assert_peek(&in, "");
	assert_false(flow_input_has_pieces(&in));
	flow_input_deinit(&in);
}

static void what_is_not_read_is_kept_and_comes_first(void **state)
{
	struct flow_input in = { 0 };
	char text[] = "abcdef";

	(void)state;
	flow_input_add(&in, text, 6);
	flow_input_consume(&in, 2);
	assert_int_equal(flow_input_keep(&in), 0);
	memset(text, 'x', 6); /* its memory is used anew */
	assert_peek(&in, "cdef");
	flow_input_add(&in, "gh", 2);
	flow_input_consume(&in, 5); /* over the border */
	assert_peek(&in, "h");
	assert_int_equal(flow_input_keep(&in), 0);
	flow_input_add(&in, "i", 1);
	assert_int_equal(flow_input_keep(&in), 0);
	assert_peek(&in, "hi");
	flow_input_deinit(&in);
}

static void it_takes_as_many_pieces_as_it_says(void **state)
{
	struct flow_input in = { 0 };
	char expected[FLOW_INPUT_PIECES + 1] = "";
	size_t n = 0;

	(void)state;
	while (!flow_input_is_full(&in)) {
		expected[n++] = 'x';
		flow_input_add(&in, "x", 1);
	}
	assert_int_equal(n, FLOW_INPUT_PIECES);
	assert_peek(&in, expected);
	assert_int_equal(flow_input_keep(&in), 0);
	assert_false(flow_input_is_full(&in));
	assert_peek(&in, expected);
	flow_input_deinit(&in);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces_are_read_where_they_lie),
		cmocka_unit_test(what_is_not_read_is_kept_and_comes_first),
		cmocka_unit_test(it_takes_as_many_pieces_as_it_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
