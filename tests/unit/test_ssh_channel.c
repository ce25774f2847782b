/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/ssh/ssh_channel.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "forwarder/ssh/ssh_memory.h"

static struct ssh_channel *open_channel(void)
{
	struct ssh_channel *c = ssh_channel_new();

	assert_non_null(c);
	ssh_channel_opened(c);
	return c;
}

static void drop(struct ssh_channel *c)
{
	ssh_channel_release(c);
	ssh_channel_release(c);
}

static void receive(struct ssh_channel *c, const void *bytes, size_t len)
{
	uint8_t *memory = ssh_memory_get(NULL, len);
	const struct ssh_received received = { memory, memory, len };

	assert_non_null(memory);
	memcpy(memory, bytes, len);
	assert_int_equal(ssh_channel_receive(c, &received), 0);
}

static ssize_t put(struct ssh_channel *c, const char *bytes, size_t len)
{
	struct iovec iov[2];
	int n;
	ssize_t r = ssh_channel_reserve(c, iov, &n);

	if (r < 0)
		return r;
	assert_true((size_t)r >= len && iov[0].iov_len >= len);
	memcpy(iov[0].iov_base, bytes, len);
	ssh_channel_commit(c, len);
	return (ssize_t)len;
}

static void nothing_can_be_sent_or_read_before_it_is_open(void **state)
{
	struct ssh_channel *c = ssh_channel_new();
	struct iovec iov[2];
	int n;

	(void)state;
	assert_int_equal(put(c, "x", 1), -EAGAIN);
	assert_int_equal(ssh_channel_peek(c, iov, 2, &n), -EAGAIN);
	assert_int_equal(ssh_channel_status(c), -EAGAIN);
	assert_true(ssh_channel_is_undecided(c));
	ssh_channel_broke(c, -ECONNREFUSED);
	assert_int_equal(put(c, "x", 1), -ECONNREFUSED);
	assert_int_equal(ssh_channel_peek(c, iov, 2, &n), -ECONNREFUSED);
	assert_false(ssh_channel_is_undecided(c));
	drop(c);
}

static void what_is_put_is_to_be_sent_in_order_across_the_end_of_the_ring(void **state)
{
	struct ssh_channel *c = open_channel();
	struct iovec iov[2];
	struct ssh_todo todo;
	int n;

	(void)state;
	assert_int_equal(ssh_channel_reserve(c, iov, &n), SSH_RING_SIZE);
	assert_int_equal(n, 1);
	ssh_channel_commit(c, SSH_RING_SIZE - 2);
	assert_false(ssh_channel_sent(c, SSH_RING_SIZE - 3));
	assert_int_equal(ssh_channel_reserve(c, iov, &n), SSH_RING_SIZE - 1);
	assert_int_equal(n, 2);
	assert_int_equal(iov[0].iov_len, 2);
	memcpy(iov[0].iov_base, "ab", 2);
	memcpy(iov[1].iov_base, "cd", 2);
	ssh_channel_commit(c, 4);
	(void)ssh_channel_sent(c, 1);
	todo = ssh_channel_todo(c);
	assert_int_equal(todo.len, 2);
	assert_memory_equal(todo.bytes, "ab", 2);
	(void)ssh_channel_sent(c, 2);
	todo = ssh_channel_todo(c);
	assert_int_equal(todo.len, 2);
	assert_memory_equal(todo.bytes, "cd", 2);
	drop(c);
}

static void a_full_ring_says_so_and_its_half_is_told(void **state)
{
	struct ssh_channel *c = open_channel();
	struct iovec iov[2];
	int n;

	(void)state;
	(void)ssh_channel_reserve(c, iov, &n);
	ssh_channel_commit(c, SSH_RING_SIZE);
	assert_int_equal(ssh_channel_reserve(c, iov, &n), -EAGAIN);
	assert_false(ssh_channel_sent(c, SSH_RING_SIZE / 2 - 1));
	assert_true(ssh_channel_sent(c, 1));
	assert_false(ssh_channel_sent(c, 1));
	drop(c);
}

static void single_bytes_are_gathered(void **state)
{
	struct ssh_channel *c = open_channel();
	struct iovec iov[16];
	size_t got = 0;
	int n;

	(void)state;
	for (int i = 0; i < 10000; i++)
		receive(c, "x", 1);
	assert_int_equal(ssh_channel_peek(c, iov, 16, &n), 10000);
	assert_in_range(n, 1, 3);
	for (int i = 0; i < n; i++)
		got += iov[i].iov_len;
	assert_int_equal(got, 10000);
	(void)ssh_channel_consume(c, 10000);
	assert_int_equal(ssh_channel_peek(c, iov, 16, &n), -EAGAIN);
	drop(c);
}

static void a_large_packet_is_passed_on_in_its_own_memory(void **state)
{
	struct ssh_channel *c = open_channel();
	struct ssh_memory memory;
	struct ssh_received received = { .len = 8192 };
	struct iovec iov[2];
	int n;

	(void)state;
	ssh_memory_init(&memory);
	received.memory = ssh_memory_get(&memory, 9000);
	received.bytes = received.memory + 9;
	assert_int_equal(ssh_channel_receive(c, &received), 0);
	assert_int_equal(ssh_channel_peek(c, iov, 2, &n), 8192);
	assert_ptr_equal(iov[0].iov_base, received.bytes);
	(void)ssh_channel_consume(c, 100);
	assert_int_equal(ssh_channel_peek(c, iov, 2, &n), 8092);
	(void)ssh_channel_consume(c, 8092);
	/* and is used again */
	assert_ptr_equal(ssh_memory_get(&memory, 20000), received.memory);
	ssh_memory_free(received.memory);
	drop(c);
	ssh_memory_deinit(&memory);
}

static void what_came_before_the_end_or_the_break_is_read_first(void **state)
{
	struct ssh_channel *c = open_channel();
	struct iovec iov[2];
	int n;

	(void)state;
	receive(c, "last", 4);
	ssh_channel_ended(c);
	ssh_channel_broke(c, -ECONNRESET);
	assert_int_equal(put(c, "x", 1), -EAGAIN); /* not the error yet: it would reset */
	assert_int_equal(ssh_channel_peek(c, iov, 2, &n), 4);
	assert_int_equal(ssh_channel_consume(c, 4) & SSH_TELL_LOOP, SSH_TELL_LOOP);
	assert_int_equal(ssh_channel_peek(c, iov, 2, &n), 0);
	assert_int_equal(put(c, "x", 1), -ECONNRESET);
	drop(c);
}

static void what_was_consumed_is_handed_over_in_steps(void **state)
{
	static const uint8_t bytes[32768];
	struct ssh_channel *c = open_channel();
	size_t consumed = 0;

	(void)state;
	for (;;) {
		receive(c, bytes, sizeof(bytes));
		consumed += sizeof(bytes);
		if (ssh_channel_consume(c, sizeof(bytes)) & SSH_TELL_WORKER)
			break;
	}
	assert_in_range(consumed, SSH_WINDOW / 16, SSH_WINDOW / 2);
	assert_int_equal(ssh_channel_todo(c).n_returned, consumed);
	assert_int_equal(ssh_channel_todo(c).n_returned, 0);
	drop(c);
}

static void leaving_means_that_nothing_follows(void **state)
{
	struct ssh_channel *c = open_channel();
	struct ssh_todo todo;

	(void)state;
	assert_int_equal(put(c, "bye", 3), 3);
	ssh_channel_leave(c, SSH_LEAVE_CLOSED);
	todo = ssh_channel_todo(c);
	assert_int_equal(todo.len, 3);
	assert_true(todo.is_shut);
	assert_int_equal(todo.leave, SSH_LEAVE_CLOSED);
	drop(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_can_be_sent_or_read_before_it_is_open),
		cmocka_unit_test(what_is_put_is_to_be_sent_in_order_across_the_end_of_the_ring),
		cmocka_unit_test(a_full_ring_says_so_and_its_half_is_told),
		cmocka_unit_test(single_bytes_are_gathered),
		cmocka_unit_test(a_large_packet_is_passed_on_in_its_own_memory),
		cmocka_unit_test(what_came_before_the_end_or_the_break_is_read_first),
		cmocka_unit_test(what_was_consumed_is_handed_over_in_steps),
		cmocka_unit_test(leaving_means_that_nothing_follows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
