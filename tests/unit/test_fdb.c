/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/fdb.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "netstack/token_bucket.h"

static struct fdb fdb;
static int ports[4]; /* only their addresses count */

static int setup(void **state)
{
	(void)state;
	memset(&fdb, 0, sizeof(fdb));
	return 0;
}

static struct mac mac(uint32_t number)
{
	return (struct mac){ { 2, 0, (uint8_t)(number >> 24), (uint8_t)(number >> 16),
			       (uint8_t)(number >> 8), (uint8_t)number } };
}

static void learn(uint32_t station, int port, uint64_t now_ms)
{
	struct mac m = mac(station);

	fdb_learn(&fdb, &m, &ports[port], now_ms);
}

static void *find(uint32_t station, uint64_t now_ms)
{
	struct mac m = mac(station);

	return fdb_find(&fdb, &m, now_ms);
}

static void a_station_is_where_it_was_seen_last(void **state)
{
	(void)state;
	assert_null(find(1, 0));
	learn(1, 0, 10);
	learn(2, 1, 10);
	assert_ptr_equal(find(1, 20), &ports[0]);
	assert_ptr_equal(find(2, 20), &ports[1]);
	learn(1, 2, 30);
	assert_ptr_equal(find(1, 30), &ports[2]);
	assert_null(find(3, 30));
}

static void a_silent_station_is_forgotten(void **state)
{
	(void)state;
	learn(1, 0, 1000);
	assert_non_null(find(1, 1000 + FDB_AGE_MS - 1));
	assert_null(find(1, 1000 + FDB_AGE_MS));
	learn(1, 0, 500000); /* it speaks again */
	assert_non_null(find(1, 500000 + FDB_AGE_MS - 1));
}

static void a_port_is_forgotten_with_its_stations(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 100; i++)
		learn(i, (int)(i % 2), 5);
	fdb_forget_port(&fdb, &ports[0]);
	for (uint32_t i = 0; i < 100; i++) {
		if (i % 2 == 0)
			assert_null(find(i, 5));
	}
	assert_ptr_equal(find(99, 5), &ports[1]);
}

static void a_flood_pushes_out_the_oldest(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 100000; i++) {
		learn(i, 0, i);
		assert_ptr_equal(find(i, i), &ports[0]);
	}
	assert_true(fdb.evicted > 90000);
	assert_null(find(0, 100000));
	/* what is renewed all the time stays, whatever is invented beside it */
	learn(7, 1, 100000);
	for (uint32_t i = 0; i < 100000; i++) {
		learn(1000000 + i, 0, 100000 + i);
		learn(7, 1, 100000 + i);
	}
	assert_ptr_equal(find(7, 200000), &ports[1]);
}

static unsigned int take_all(struct token_bucket *b, uint64_t now_ms)
{
	unsigned int n = 0;

	while (token_bucket_take(b, now_ms))
		n++;
	return n;
}

static void a_bucket_gives_its_burst_and_then_its_rate(void **state)
{
	struct token_bucket b;

	(void)state;
	token_bucket_init(&b, 500, 1000, 77);
	assert_int_equal(take_all(&b, 77), 1000);
	assert_int_equal(take_all(&b, 78), 0);
	assert_int_equal(take_all(&b, 79), 1); /* two milliseconds for one */
	assert_int_equal(take_all(&b, 1079), 500);
	assert_int_equal(take_all(&b, UINT64_MAX / 2), 1000);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_station_is_where_it_was_seen_last),
		TEST(a_silent_station_is_forgotten),
		TEST(a_port_is_forgotten_with_its_stations),
		TEST(a_flood_pushes_out_the_oldest),
		TEST(a_bucket_gives_its_burst_and_then_its_rate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
