/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/base/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

struct item {
	int value;
	struct list node;
};

static int value_of(struct list *link)
{
	return container_of(link, struct item, node)->value;
}

static void fill(struct list *head, struct item *items, int n)
{
	list_init(head);
	for (int i = 0; i < n; i++) {
		items[i].value = i;
		list_init(&items[i].node);
		list_append(head, &items[i].node);
	}
}

static void a_new_list_empty(void **state)
{
	struct list head;

	(void)state;
	list_init(&head);

	assert_true(list_empty(&head));
	assert_null(list_take(&head));
	list_for_each(it, &head)
		fail_msg("visited a member of an empty list");
}

static void append_keeps_the_order(void **state)
{
	struct item items[3];
	struct list head;
	int expected = 0;

	(void)state;
	fill(&head, items, 3);

	list_for_each(it, &head)
		assert_int_equal(value_of(it), expected++);
	assert_int_equal(expected, 3);
}

static void take_empties_from_the_front(void **state)
{
	struct item items[2];
	struct list head;

	(void)state;
	fill(&head, items, 2);

	assert_ptr_equal(list_take(&head), &items[0].node);
	assert_true(list_empty(&items[0].node));
	assert_ptr_equal(list_take(&head), &items[1].node);
	assert_null(list_take(&head));
}

static void unlink_takes_out_only_the_one(void **state)
{
	struct item items[3];
	struct list head;

	(void)state;
	fill(&head, items, 3);

	list_unlink(&items[1].node);

	assert_ptr_equal(items[0].node.next, &items[2].node);
	assert_ptr_equal(items[2].node.prev, &items[0].node);
	assert_true(list_empty(&items[1].node));
}

static void unlinking_twice_is_harmless(void **state)
{
	struct item items[2];
	struct list head;

	(void)state;
	fill(&head, items, 2);

	list_unlink(&items[0].node);
	list_unlink(&items[0].node);

	assert_ptr_equal(list_take(&head), &items[1].node);
	assert_null(list_take(&head));
}

static void iteration_survives_unlinking_each_member(void **state)
{
	struct item items[4];
	struct list head;
	int visited = 0;

	(void)state;
	fill(&head, items, 4);

	list_for_each(it, &head) {
		list_unlink(it);
		visited++;
	}

	assert_int_equal(visited, 4);
	assert_true(list_empty(&head));
}

static void moving_all_keeps_both_orders(void **state)
{
	struct item items[2], more[2];
	struct list head, from;

	(void)state;
	fill(&head, items, 2);
	fill(&from, more, 2);

	list_move_all(&head, &from);
	list_move_all(&head, &from); /* empty by now */

	assert_true(list_empty(&from));
	assert_ptr_equal(list_take(&head), &items[0].node);
	assert_ptr_equal(list_take(&head), &items[1].node);
	assert_ptr_equal(list_take(&head), &more[0].node);
	assert_ptr_equal(list_take(&head), &more[1].node);
	assert_null(list_take(&head));
	list_move_all(&head, &from);
	assert_true(list_empty(&head));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_list_empty),
		cmocka_unit_test(append_keeps_the_order),
		cmocka_unit_test(take_empties_from_the_front),
		cmocka_unit_test(unlink_takes_out_only_the_one),
		cmocka_unit_test(unlinking_twice_is_harmless),
		cmocka_unit_test(iteration_survives_unlinking_each_member),
		cmocka_unit_test(moving_all_keeps_both_orders),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
