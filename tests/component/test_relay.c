/* SPDX-License-Identifier: Apache-2.0 */
/* A relay between streams in memory. Every test runs for every pair of kinds,
 * so through each of the relay's ways to copy, in each direction. */
#include "netstack/relay.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/fake_loop.h"
#include "tests/support/mem_stream.h"

#define SIZE 300000U
#define N_KINDS 4U /* of streams: with peek, with reserve, with both, with none */

struct fixture {
	struct loop *loop;
	struct mem_stream a, b;
	struct relay *relay; /* NULL when it is done */
	unsigned int n_done;
	struct relay_result result;
};

static uint8_t data[SIZE];

static void on_done(void *arg, const struct relay_result *result)
{
	struct fixture *f = arg;

	assert_non_null(f->relay); /* not before relay_new() has returned */
	f->relay = NULL;
	f->result = *result;
	f->n_done++;
}

static void join(struct fixture *f)
{
	struct stream *ends[2] = { &f->a.base, &f->b.base };

	assert_int_equal(relay_new(f->loop, ends, on_done, f, &f->relay), 0);
}

static void settle(struct fixture *f)
{
	fake_loop_settle(f->loop);
}

static void for_every_pair(void (*test)(struct fixture *f))
{
	for (size_t i = 0; i < SIZE; i++)
		data[i] = (uint8_t)(i * 11 + i / 253);
	for (unsigned int pair = 0; pair < N_KINDS * N_KINDS; pair++) {
		struct fixture f = { 0 };

		print_message("  pair %u\n", pair);
		assert_int_equal(loop_new(&f.loop), 0);
		mem_stream_init(&f.a, f.loop, pair / N_KINDS);
		mem_stream_init(&f.b, f.loop, pair % N_KINDS);
		test(&f);
		relay_free(f.relay);
		mem_stream_deinit(&f.a);
		mem_stream_deinit(&f.b);
		loop_free(f.loop);
	}
}

static void assert_got(const struct mem_stream *s, const uint8_t *expected, size_t len)
{
	assert_int_equal(s->output_len, len);
	assert_memory_equal(s->output, expected, len);
}

static void assert_closed(const struct fixture *f)
{
	assert_int_equal(f->n_done, 1);
	assert_int_equal(f->result.end, RELAY_END_CLOSED);
	assert_int_equal(f->result.error, 0);
	assert_true(f->a.is_closed && !f->a.is_reset);
	assert_true(f->b.is_closed && !f->b.is_reset);
}

static void assert_broken(const struct fixture *f, enum relay_end end, int error)
{
	assert_int_equal(f->n_done, 1);
	assert_int_equal(f->result.end, end);
	assert_int_equal(f->result.error, error);
	assert_true(f->a.is_reset && !f->a.is_closed);
	assert_true(f->b.is_reset && !f->b.is_closed);
}

static void close_both(struct fixture *f)
{
	mem_stream_eof(&f->a);
	mem_stream_eof(&f->b);
	settle(f);
	assert_closed(f);
}

/* --- data ----------------------------------------------------------------- */

static void both_ways(struct fixture *f)
{
	join(f);
	settle(f);
	for (size_t at = 0; at < SIZE; at += SIZE / 10) {
		mem_stream_feed(&f->a, data + at, SIZE / 10);
		mem_stream_feed(&f->b, data + at / 3, SIZE / 30);
		settle(f);
	}
	assert_got(&f->b, data, SIZE);
	assert_got(&f->a, data, SIZE / 3);
	assert_int_equal(f->n_done, 0);

	close_both(f);
	assert_int_equal(f->result.a_to_b_bytes, SIZE);
	assert_int_equal(f->result.b_to_a_bytes, SIZE / 3);
}

static void bytes_go_both_ways(void **state)
{
	(void)state;
	for_every_pair(both_ways);
}

static void waiting_before(struct fixture *f)
{
	mem_stream_feed(&f->a, data, SIZE);
	mem_stream_eof(&f->a);
	mem_stream_feed(&f->b, data, 1);
	mem_stream_eof(&f->b);
	join(f);
	assert_int_equal(f->n_done, 0);
	assert_int_equal(f->b.output_len, 0);

	settle(f);
	assert_closed(f);
	assert_got(&f->b, data, SIZE);
	assert_got(&f->a, data, 1);
}

static void what_waits_already_moves_after_the_start(void **state)
{
	(void)state;
	for_every_pair(waiting_before);
}

static void small_reads(struct fixture *f)
{
	f->a.max_read = 7;
	join(f);
	settle(f);
	mem_stream_feed(&f->a, data, 7000);
	settle(f);
	assert_got(&f->b, data, 7000);
	close_both(f);
}

static void small_writes(struct fixture *f)
{
	f->b.max_write = 5;
	join(f);
	settle(f);
	mem_stream_feed(&f->a, data, 7000);
	settle(f);
	assert_got(&f->b, data, 7000);
	close_both(f);
}

/* However little moves per call, nobody calls a second time for it. */
static void small_pieces_need_no_second_call(void **state)
{
	(void)state;
	for_every_pair(small_reads);
	for_every_pair(small_writes);
}

static void full_sink(struct fixture *f)
{
	f->b.room = 100;
	join(f);
	mem_stream_feed(&f->a, data, SIZE);
	settle(f);
	assert_got(&f->b, data, 100);
	assert_int_equal(f->n_done, 0);
	assert_true(f->b.wanted & STREAM_WRITE);
	assert_false(f->a.wanted & STREAM_READ);

	for (size_t len = 100; len < 1100; len++) {
		mem_stream_give_room(&f->b, 1);
		settle(f);
		assert_got(&f->b, data, len + 1);
	}
	mem_stream_give_room(&f->b, SIZE);
	settle(f);
	assert_got(&f->b, data, SIZE);
	assert_false(f->b.wanted & STREAM_WRITE);
	assert_true(f->a.wanted & STREAM_READ);
	close_both(f);
	assert_int_equal(f->result.a_to_b_bytes, SIZE);
}

static void a_full_sink_stops_its_source(void **state)
{
	(void)state;
	for_every_pair(full_sink);
}

/* What the relay has read and could not write stays small. */
static void full_sink_fed_forever(struct fixture *f)
{
	size_t fed = 0;

	f->b.room = 1;
	join(f);
	for (int i = 0; i < 20; i++) {
		mem_stream_feed(&f->a, data, SIZE);
		fed += SIZE;
		settle(f);
	}
	assert_int_equal(f->b.output_len, 1);
	assert_true(f->a.input_at <= 128 * 1024);
	assert_true(f->a.input_len == fed);
}

static void memory_does_not_grow_with_a_slow_sink(void **state)
{
	(void)state;
	for_every_pair(full_sink_fed_forever);
}

static void other_way(struct fixture *f)
{
	f->b.room = 0;
	join(f);
	mem_stream_feed(&f->a, data, SIZE);
	settle(f);
	mem_stream_feed(&f->b, data, SIZE);
	settle(f);
	assert_got(&f->a, data, SIZE);
	assert_int_equal(f->b.output_len, 0);
}

static void one_direction_does_not_wait_for_the_other(void **state)
{
	(void)state;
	for_every_pair(other_way);
}

static void connecting(struct fixture *f)
{
	f->a.is_connecting = f->b.is_connecting = true;
	mem_stream_feed(&f->a, data, 1000);
	mem_stream_feed(&f->b, data, 500);
	join(f);
	settle(f);
	assert_int_equal(f->a.output_len + f->b.output_len, 0);
	mem_stream_connected(&f->a);
	settle(f);
	assert_int_equal(f->a.output_len + f->b.output_len, 0);
	mem_stream_connected(&f->b);
	settle(f);
	assert_got(&f->b, data, 1000);
	assert_got(&f->a, data, 500);
	close_both(f);
}

static void streams_may_still_be_connecting(void **state)
{
	(void)state;
	for_every_pair(connecting);
}

/* --- the end -------------------------------------------------------------- */

static void half_close(struct fixture *f, struct mem_stream *first, struct mem_stream *second)
{
	join(f);
	mem_stream_feed(first, data, 1000);
	mem_stream_eof(first);
	settle(f);
	assert_got(second, data, 1000);
	assert_int_equal(second->n_shutdowns, 1);
	assert_int_equal(first->n_shutdowns, 0);
	assert_int_equal(f->n_done, 0);

	mem_stream_feed(second, data, SIZE); /* the answer */
	settle(f);
	assert_got(first, data, SIZE);
	assert_int_equal(f->n_done, 0);
	mem_stream_eof(second);
	settle(f);
	assert_int_equal(first->n_shutdowns, 1);
	assert_int_equal(second->n_shutdowns, 1);
	assert_closed(f);
}

static void half_close_by_a(struct fixture *f)
{
	half_close(f, &f->a, &f->b);
	assert_int_equal(f->result.a_to_b_bytes, 1000);
	assert_int_equal(f->result.b_to_a_bytes, SIZE);
}

static void half_close_by_b(struct fixture *f)
{
	half_close(f, &f->b, &f->a);
	assert_int_equal(f->result.b_to_a_bytes, 1000);
	assert_int_equal(f->result.a_to_b_bytes, SIZE);
}

static void each_direction_ends_by_itself(void **state)
{
	(void)state;
	for_every_pair(half_close_by_a);
	for_every_pair(half_close_by_b);
}

static void eof_behind_a_full_sink(struct fixture *f)
{
	f->b.room = 10;
	join(f);
	mem_stream_feed(&f->a, data, 20);
	mem_stream_eof(&f->a);
	mem_stream_eof(&f->b);
	settle(f);
	assert_got(&f->b, data, 10);
	assert_int_equal(f->b.n_shutdowns, 0);
	assert_int_equal(f->n_done, 0);

	mem_stream_give_room(&f->b, 11);
	settle(f);
	assert_got(&f->b, data, 20);
	assert_int_equal(f->b.n_shutdowns, 1);
	assert_closed(f);
}

static void the_end_waits_for_the_bytes_before_it(void **state)
{
	(void)state;
	for_every_pair(eof_behind_a_full_sink);
}

static void nothing_at_all(struct fixture *f)
{
	mem_stream_eof(&f->a);
	mem_stream_eof(&f->b);
	join(f);
	settle(f);
	assert_closed(f);
	assert_int_equal(f->result.a_to_b_bytes + f->result.b_to_a_bytes, 0);
}

static void two_empty_streams_end_at_once(void **state)
{
	(void)state;
	for_every_pair(nothing_at_all);
}

static void reset_by_a(struct fixture *f)
{
	join(f);
	mem_stream_feed(&f->a, data, 1000);
	mem_stream_feed(&f->b, data, 300);
	settle(f);
	mem_stream_break(&f->a, -ECONNRESET);
	settle(f);
	assert_broken(f, RELAY_END_A_BROKE, -ECONNRESET);
	assert_int_equal(f->result.a_to_b_bytes, 1000);
	assert_int_equal(f->result.b_to_a_bytes, 300);
}

static void reset_by_b(struct fixture *f)
{
	join(f);
	settle(f);
	mem_stream_break(&f->b, -ETIMEDOUT);
	settle(f);
	assert_broken(f, RELAY_END_B_BROKE, -ETIMEDOUT);
}

static void refused(struct fixture *f)
{
	f->b.is_connecting = true;
	mem_stream_feed(&f->a, data, 1000);
	join(f);
	settle(f);
	mem_stream_break(&f->b, -ECONNREFUSED);
	settle(f);
	assert_broken(f, RELAY_END_B_BROKE, -ECONNREFUSED);
	assert_int_equal(f->result.a_to_b_bytes, 0);
}

static void broken_after_half_close(struct fixture *f)
{
	join(f);
	mem_stream_eof(&f->a);
	settle(f);
	mem_stream_feed(&f->b, data, 10);
	settle(f);
	mem_stream_break(&f->b, -ECONNRESET);
	settle(f);
	assert_broken(f, RELAY_END_B_BROKE, -ECONNRESET);
	assert_int_equal(f->result.b_to_a_bytes, 10);
}

static void broken_with_a_full_sink(struct fixture *f)
{
	f->b.room = 10;
	join(f);
	mem_stream_feed(&f->a, data, SIZE);
	settle(f);
	mem_stream_break(&f->b, -ECONNRESET);
	settle(f);
	assert_broken(f, RELAY_END_B_BROKE, -ECONNRESET);
	assert_int_equal(f->result.a_to_b_bytes, 10);
}

static void a_reset_is_passed_on_as_a_reset(void **state)
{
	(void)state;
	for_every_pair(reset_by_a);
	for_every_pair(reset_by_b);
	for_every_pair(refused);
	for_every_pair(broken_after_half_close);
	for_every_pair(broken_with_a_full_sink);
}

static void broken_pipe(struct fixture *f)
{
	join(f);
	mem_stream_feed(&f->a, data, 100);
	settle(f);
	mem_stream_break_writing(&f->b, -EPIPE);
	assert_int_equal(f->n_done, 0);
	mem_stream_feed(&f->a, data, 100);
	settle(f);
	assert_broken(f, RELAY_END_B_BROKE, -EPIPE);
	assert_int_equal(f->result.a_to_b_bytes, 100);
}

static void a_sink_that_breaks_breaks_the_source(void **state)
{
	(void)state;
	for_every_pair(broken_pipe);
}

static void closed_sink(struct fixture *f)
{
	join(f);
	settle(f);
	f->a.room = 10;
	mem_stream_feed(&f->b, data, SIZE);
	mem_stream_eof(&f->b);
	f->b.takes_no_more = true;
	settle(f);
	assert_int_equal(f->n_done, 0);
	mem_stream_give_room(&f->a, SIZE);
	settle(f);
	assert_got(&f->a, data, SIZE);
	mem_stream_eof(&f->a);
	settle(f);
	assert_closed(f);
}

static void what_a_sink_said_before_it_closed_is_delivered(void **state)
{
	(void)state;
	for_every_pair(closed_sink);
}

static void broken_shutdown(struct fixture *f)
{
	f->b.shutdown_error = -ENOTCONN;
	join(f);
	mem_stream_eof(&f->a);
	settle(f);
	assert_broken(f, RELAY_END_B_BROKE, -ENOTCONN);
}

static void a_shutdown_that_fails_breaks_both(void **state)
{
	(void)state;
	for_every_pair(broken_shutdown);
}

static void freed_early(struct fixture *f)
{
	join(f);
	relay_free(f->relay); /* not even started */
	f->relay = NULL;
	settle(f);
	assert_true(f->a.is_reset && f->b.is_reset);
	assert_int_equal(f->n_done, 0);
}

static void freed_with_data(struct fixture *f)
{
	f->b.room = 10;
	join(f);
	mem_stream_feed(&f->a, data, SIZE);
	settle(f);
	relay_free(f->relay);
	f->relay = NULL;
	settle(f);
	assert_true(f->a.is_reset && f->b.is_reset);
	assert_int_equal(f->n_done, 0);
}

static void freeing_a_relay_resets_both_and_tells_nobody(void **state)
{
	(void)state;
	for_every_pair(freed_early);
	for_every_pair(freed_with_data);
	relay_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_go_both_ways),
		cmocka_unit_test(what_waits_already_moves_after_the_start),
		cmocka_unit_test(small_pieces_need_no_second_call),
		cmocka_unit_test(a_full_sink_stops_its_source),
		cmocka_unit_test(memory_does_not_grow_with_a_slow_sink),
		cmocka_unit_test(one_direction_does_not_wait_for_the_other),
		cmocka_unit_test(streams_may_still_be_connecting),
		cmocka_unit_test(each_direction_ends_by_itself),
		cmocka_unit_test(the_end_waits_for_the_bytes_before_it),
		cmocka_unit_test(two_empty_streams_end_at_once),
		cmocka_unit_test(a_reset_is_passed_on_as_a_reset),
		cmocka_unit_test(a_sink_that_breaks_breaks_the_source),
		cmocka_unit_test(what_a_sink_said_before_it_closed_is_delivered),
		cmocka_unit_test(a_shutdown_that_fails_breaks_both),
		cmocka_unit_test(freeing_a_relay_resets_both_and_tells_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
