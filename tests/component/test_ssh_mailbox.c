/* SPDX-License-Identifier: Apache-2.0 */
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "forwarder/ssh/ssh_mailbox.h"

static bool is_readable(const struct ssh_mailbox *m)
{
	struct pollfd p = { .fd = m->fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static void a_letter_is_in_it_once_and_wakes_who_sleeps(void **state)
{
	struct ssh_letter a, b;
	struct ssh_mailbox m;

	(void)state;
	assert_int_equal(ssh_mailbox_init(&m), 0);
	ssh_letter_init(&a, SSH_LETTER_CHANNEL);
	ssh_letter_init(&b, SSH_LETTER_REVERSE);
	assert_true(ssh_mailbox_may_sleep(&m));
	assert_false(is_readable(&m));
	ssh_mailbox_post(&m, &a);
	ssh_mailbox_post(&m, &b);
	ssh_mailbox_post(&m, &a);
	assert_true(is_readable(&m));
	assert_false(ssh_mailbox_may_sleep(&m));
	assert_ptr_equal(ssh_mailbox_take(&m), &a);
	assert_ptr_equal(ssh_mailbox_take(&m), &b);
	assert_null(ssh_mailbox_take(&m));
	assert_true(ssh_mailbox_may_sleep(&m));
	assert_false(is_readable(&m));
	ssh_mailbox_deinit(&m);
}

static void a_letter_that_is_put_wakes_nobody_before_it_is_time(void **state)
{
	struct ssh_letter a;
	struct ssh_mailbox m;

	(void)state;
	assert_int_equal(ssh_mailbox_init(&m), 0);
	ssh_letter_init(&a, SSH_LETTER_CHANNEL);
	ssh_mailbox_rouse(&m);
	assert_false(is_readable(&m));
	ssh_mailbox_put(&m, &a);
	assert_false(is_readable(&m));
	ssh_mailbox_rouse(&m);
	assert_true(is_readable(&m));
	ssh_mailbox_deinit(&m);
}

static void a_void_letter_is_not_posted_any_more(void **state)
{
	struct ssh_letter a;
	struct ssh_mailbox m;

	(void)state;
	assert_int_equal(ssh_mailbox_init(&m), 0);
	ssh_letter_init(&a, SSH_LETTER_CHANNEL);
	ssh_mailbox_post(&m, &a);
	ssh_mailbox_void(&m, &a);
	assert_null(ssh_mailbox_take(&m));
	ssh_mailbox_post(&m, &a);
	assert_null(ssh_mailbox_take(&m));
	ssh_mailbox_deinit(&m);
}

static void once_stopped_there_is_no_sleep(void **state)
{
	struct ssh_mailbox m;

	(void)state;
	assert_int_equal(ssh_mailbox_init(&m), 0);
	assert_true(ssh_mailbox_may_sleep(&m));
	assert_false(ssh_mailbox_is_stopped(&m));
	ssh_mailbox_stop(&m);
	assert_true(is_readable(&m));
	assert_false(ssh_mailbox_may_sleep(&m));
	assert_true(ssh_mailbox_is_stopped(&m));
	ssh_mailbox_deinit(&m);
}

#define ROUNDS 20000
#define PATIENCE_MS 10000

struct sender {
	struct ssh_mailbox *to, *from;
	struct ssh_letter letter;
};

static struct ssh_letter *wait_for_letter(struct ssh_mailbox *m)
{
	struct ssh_letter *letter;

	while (!(letter = ssh_mailbox_take(m))) {
		struct pollfd p = { .fd = m->fd, .events = POLLIN };

		if (ssh_mailbox_may_sleep(m) && poll(&p, 1, PATIENCE_MS) != 1)
			return NULL;
	}
	return letter;
}

static void *answer(void *arg)
{
	struct sender *s = arg;

	for (int i = 0; i < ROUNDS && wait_for_letter(s->from); i++)
		ssh_mailbox_post(s->to, &s->letter);
	return NULL;
}

static void no_letter_is_missed_between_two_threads(void **state)
{
	struct ssh_mailbox there, back;
	struct sender s = { .to = &back, .from = &there };
	struct ssh_letter mine;
	pthread_t thread;

	(void)state;
	assert_int_equal(ssh_mailbox_init(&there), 0);
	assert_int_equal(ssh_mailbox_init(&back), 0);
	ssh_letter_init(&s.letter, SSH_LETTER_CHANNEL);
	ssh_letter_init(&mine, SSH_LETTER_CHANNEL);
	assert_int_equal(pthread_create(&thread, NULL, answer, &s), 0);
	for (int i = 0; i < ROUNDS; i++) {
		ssh_mailbox_post(&there, &mine);
		assert_ptr_equal(wait_for_letter(&back), &s.letter);
	}
	pthread_join(thread, NULL);
	ssh_mailbox_deinit(&there);
	ssh_mailbox_deinit(&back);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_letter_is_in_it_once_and_wakes_who_sleeps),
		cmocka_unit_test(a_letter_that_is_put_wakes_nobody_before_it_is_time),
		cmocka_unit_test(a_void_letter_is_not_posted_any_more),
		cmocka_unit_test(once_stopped_there_is_no_sleep),
		cmocka_unit_test(no_letter_is_missed_between_two_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
