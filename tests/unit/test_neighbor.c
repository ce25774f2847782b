/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/neighbor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct neighbors table;

static int setup(void **state)
{
	(void)state;
	memset(&table, 0, sizeof(table));
	return 0;
}

static struct ipaddr ip(uint32_t number)
{
	return (struct ipaddr){ { 0xfd, [12] = (uint8_t)(number >> 24), (uint8_t)(number >> 16),
				  (uint8_t)(number >> 8), (uint8_t)number } };
}

static struct mac mac(uint32_t number)
{
	return (struct mac){ { 2, 0, 0, (uint8_t)(number >> 16), (uint8_t)(number >> 8),
			       (uint8_t)number } };
}

static bool learn(uint32_t address, uint32_t station, uint64_t now_ms)
{
	struct ipaddr a = ip(address);
	struct mac m = mac(station);

	return neighbors_learn(&table, &a, &m, now_ms);
}

static bool ask(uint32_t address)
{
	struct ipaddr a = ip(address);

	return neighbors_ask(&table, &a);
}

static void assert_known(uint32_t address, uint32_t station)
{
	struct ipaddr a = ip(address);
	struct mac m = mac(station);
	const struct mac *found = neighbors_find(&table, &a);

	assert_non_null(found);
	assert_true(mac_equal(found, &m));
}

static void what_was_learnt_last_is_found(void **state)
{
	struct ipaddr unknown = ip(2);

	(void)state;
	assert_false(learn(1, 10, 1000));
	assert_known(1, 10);
	assert_null(neighbors_find(&table, &unknown));

	assert_false(learn(1, 11, 1001));
	assert_known(1, 11);
}

static void only_the_first_answer_to_a_question_is_news(void **state)
{
	(void)state;
	assert_true(ask(1));
	assert_false(ask(1)); /* asked already */
	assert_false(learn(2, 10, 1000));

	assert_true(learn(1, 11, 1000));
	assert_false(learn(1, 11, 1000));
	assert_true(ask(1)); /* may be asked again */
}

static void an_answered_question_is_not_repeated(void **state)
{
	unsigned int at = 0;
	bool gone;

	(void)state;
	ask(1);
	ask(2);
	learn(1, 10, 1000);
	struct ipaddr second = ip(2);
	const struct ipaddr *due = neighbors_retry(&table, &at, &gone);

	assert_non_null(due);
	assert_true(ipaddr_equal(due, &second));
	assert_false(gone);
	assert_null(neighbors_retry(&table, &at, &gone));
}

static void a_question_is_given_up_after_its_tries(void **state)
{
	unsigned int asked = 1; /* by neighbors_ask() */
	bool gone = false;

	(void)state;
	assert_true(ask(1));
	for (;;) {
		unsigned int at = 0;

		assert_non_null(neighbors_retry(&table, &at, &gone));
		if (gone)
			break;
		asked++;
	}
	assert_int_equal(asked, NEIGHBOR_MAX_TRIES);

	unsigned int at = 0;

	assert_null(neighbors_retry(&table, &at, &gone));
	assert_false(learn(1, 10, 1000)); /* nobody waits any more */
	assert_true(ask(3));
}

static void questions_are_bounded(void **state)
{
	unsigned int at = 0, n = 0;
	bool gone;

	(void)state;
	for (uint32_t i = 0; i < NEIGHBOR_MAX_ASKED; i++)
		assert_true(ask(i));
	assert_false(ask(1000));
	while (neighbors_retry(&table, &at, &gone))
		n++;
	assert_int_equal(n, NEIGHBOR_MAX_ASKED);

	assert_true(learn(7, 10, 1000));
	assert_true(ask(1000));
}

/* A guest that invents addresses can push out others, but never the one that
 * was heard of last. */
static void a_flood_makes_old_entries_give_way(void **state)
{
	uint32_t known = 0;

	(void)state;
	for (uint32_t i = 0; i < 100 * NEIGHBOR_SLOTS; i++) {
		learn(i, i, 1000 + i);
		assert_known(i, i);
	}
	for (uint32_t i = 0; i < 100 * NEIGHBOR_SLOTS; i++) {
		struct ipaddr a = ip(i);

		known += neighbors_find(&table, &a) != NULL;
	}
	assert_in_range(known, NEIGHBOR_SLOTS / 2, NEIGHBOR_SLOTS);
}

static void an_address_in_use_survives_strangers(void **state)
{
	(void)state;
	for (uint32_t i = 1; i < 20 * NEIGHBOR_SLOTS; i++) {
		learn(0, 99, 1000 + i); /* heard of again and again */
		learn(i, i, 1000 + i);
	}
	assert_known(0, 99);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(what_was_learnt_last_is_found, setup),
		cmocka_unit_test_setup(only_the_first_answer_to_a_question_is_news, setup),
		cmocka_unit_test_setup(an_answered_question_is_not_repeated, setup),
		cmocka_unit_test_setup(a_question_is_given_up_after_its_tries, setup),
		cmocka_unit_test_setup(questions_are_bounded, setup),
		cmocka_unit_test_setup(a_flood_makes_old_entries_give_way, setup),
		cmocka_unit_test_setup(an_address_in_use_survives_strangers, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
