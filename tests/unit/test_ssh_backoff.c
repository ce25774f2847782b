/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/ssh/ssh_backoff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define START 1000000U

/* The pause after n failures in a row, each as soon as the last one allowed. */
static uint64_t lose(struct ssh_backoff *b, uint64_t *now)
{
	uint64_t pause;

	ssh_backoff_failed(b, *now);
	pause = ssh_backoff_due_ms(b) - *now;
	*now = ssh_backoff_due_ms(b);
	return pause;
}

static void after_a_success_the_next_try_is_due_at_once(void **state)
{
	struct ssh_backoff b;
	uint64_t now = START;

	(void)state;
	ssh_backoff_reset(&b, now);
	assert_int_equal(ssh_backoff_due_ms(&b), now);
	lose(&b, &now);
	ssh_backoff_reset(&b, now);
	assert_int_equal(ssh_backoff_due_ms(&b), now);
	assert_in_range(lose(&b, &now), 75, 125);
}

static void pauses_grow_but_for_minutes_a_server_is_found_within_a_second(void **state)
{
	struct ssh_backoff b;
	uint64_t now = START, pause = 0;

	(void)state;
	ssh_backoff_reset(&b, now);
	assert_in_range(lose(&b, &now), 75, 125);
	assert_in_range(lose(&b, &now), 150, 250);
	assert_in_range(lose(&b, &now), 300, 500);
	while (now < START + 120000)
		assert_in_range(lose(&b, &now), 300, 800);
	for (int i = 0; i < 10; i++)
		pause = lose(&b, &now);
	assert_in_range(pause, 3750, 6250);
}

static void a_try_at_once_leaves_the_pauses_as_they_are(void **state)
{
	struct ssh_backoff b;
	uint64_t now = START;

	(void)state;
	ssh_backoff_reset(&b, now);
	lose(&b, &now);
	ssh_backoff_now(&b);
	assert_in_range(ssh_backoff_due_ms(&b), 0, now);
	assert_in_range(lose(&b, &now), 150, 250);
}

static void two_do_not_keep_in_step(void **state)
{
	struct ssh_backoff a, b;
	uint64_t now_a = START, now_b = START;

	(void)state;
	ssh_backoff_reset(&a, now_a);
	ssh_backoff_reset(&b, now_b);
	for (int i = 0; i < 50; i++) {
		lose(&a, &now_a);
		lose(&b, &now_b);
	}
	assert_int_not_equal(now_a, now_b);
}

static void who_is_waited_for_tries_after_the_shortest_pause(void **state)
{
	struct ssh_backoff b;
	uint64_t now = START;

	(void)state;
	ssh_backoff_reset(&b, now);
	while (now < START + 400000)
		lose(&b, &now);
	ssh_backoff_failed(&b, now);
	ssh_backoff_hurry(&b);
	assert_int_equal(ssh_backoff_due_ms(&b), now + 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(after_a_success_the_next_try_is_due_at_once),
		cmocka_unit_test(pauses_grow_but_for_minutes_a_server_is_found_within_a_second),
		cmocka_unit_test(a_try_at_once_leaves_the_pauses_as_they_are),
		cmocka_unit_test(two_do_not_keep_in_step),
		cmocka_unit_test(who_is_waited_for_tries_after_the_shortest_pause),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
