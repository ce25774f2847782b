/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/client_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

struct fixture {
	struct client_table table;
	struct client_share a, b;
	struct client_entry entries[8];
};

static struct client_key key_of(const void *forward, uint16_t client_port)
{
	struct client_key key = { .forward = forward };

	key.client = IPADDR_V4(127, 0, 0, 1);
	key.client_port = client_port;
	return key;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	client_table_init(&f->table, 5);
	client_share_init(&f->a, 3);
	client_share_init(&f->b, 3);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

/* Entry i of client port i; of forward b from 4 on. */
static void add(struct fixture *f, int i)
{
	struct client_share *share = i < 4 ? &f->a : &f->b;

	f->entries[i].key = key_of(share, (uint16_t)i);
	client_table_add(&f->table, share, &f->entries[i]);
}

static void every_part_of_the_key_tells_entries_apart(void **state)
{
	struct fixture *f = *state;
	struct client_key key = key_of(&f->a, 1);

	add(f, 1);
	assert_ptr_equal(client_table_find(&f->table, &key), &f->entries[1]);

	key.forward = &f->b;
	assert_null(client_table_find(&f->table, &key));
	key = key_of(&f->a, 2);
	assert_null(client_table_find(&f->table, &key));
	key = key_of(&f->a, 1);
	key.client = IPADDR_V4(127, 0, 0, 2);
	assert_null(client_table_find(&f->table, &key));
	key = key_of(&f->a, 1);
	key.host = IPADDR_V4(127, 0, 0, 1);
	assert_null(client_table_find(&f->table, &key));
	key = key_of(&f->a, 1);
	key.scope_id = 2;
	assert_null(client_table_find(&f->table, &key));
}

static void a_removed_entry_is_not_found_and_makes_room(void **state)
{
	struct fixture *f = *state;
	struct client_key key = key_of(&f->a, 1);

	add(f, 0);
	add(f, 1);
	client_table_remove(&f->table, &f->a, &f->entries[1]);

	assert_null(client_table_find(&f->table, &key));
	assert_int_equal(f->table.n, 1);
	assert_int_equal(f->a.n, 1);
}

static void a_full_share_gives_up_its_own_longest_unused(void **state)
{
	struct fixture *f = *state;

	add(f, 4); /* older, but of the other share */
	add(f, 0);
	add(f, 1);
	assert_null(client_table_victim(&f->table, &f->a));
	add(f, 2);
	assert_ptr_equal(client_table_victim(&f->table, &f->a), &f->entries[0]);

	client_table_touch(&f->table, &f->a, &f->entries[0]);
	assert_ptr_equal(client_table_victim(&f->table, &f->a), &f->entries[1]);
}

static void a_full_table_gives_up_the_longest_unused_of_all(void **state)
{
	struct fixture *f = *state;

	add(f, 0);
	add(f, 1);
	add(f, 4);
	add(f, 5);
	assert_null(client_table_victim(&f->table, &f->b));
	add(f, 2);
	assert_ptr_equal(client_table_victim(&f->table, &f->b), &f->entries[0]);

	client_table_touch(&f->table, &f->a, &f->entries[0]);
	client_table_touch(&f->table, &f->a, &f->entries[1]);
	assert_ptr_equal(client_table_victim(&f->table, &f->b), &f->entries[4]);
}

static void entries_of_one_bucket_are_all_found(void **state)
{
	enum { N = 3 * CLIENT_TABLE_BUCKETS };
	struct client_entry *entries = calloc(N, sizeof(*entries));
	struct client_table *table = calloc(1, sizeof(*table));
	struct client_share share;

	(void)state;
	client_table_init(table, N);
	client_share_init(&share, N);
	for (int i = 0; i < N; i++) {
		entries[i].key = key_of(&share, (uint16_t)i);
		client_table_add(table, &share, &entries[i]);
	}

	for (int i = 0; i < N; i++) {
		struct client_key key = key_of(&share, (uint16_t)i);

		assert_ptr_equal(client_table_find(table, &key), &entries[i]);
	}
	for (int i = 0; i < N; i += 2)
		client_table_remove(table, &share, &entries[i]);
	for (int i = 0; i < N; i++) {
		struct client_key key = key_of(&share, (uint16_t)i);

		assert_ptr_equal(client_table_find(table, &key), i % 2 ? &entries[i] : NULL);
	}
	free(table);
	free(entries);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_part_of_the_key_tells_entries_apart, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_removed_entry_is_not_found_and_makes_room, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_full_share_gives_up_its_own_longest_unused, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_full_table_gives_up_the_longest_unused_of_all,
						setup, teardown),
		cmocka_unit_test(entries_of_one_bucket_are_all_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
