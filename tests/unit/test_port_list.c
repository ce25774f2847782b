/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/port_list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "forwarder/agent_listeners.h"

static struct port_listener tcp(unsigned int port)
{
	return (struct port_listener){ FORWARD_TCP, { IPADDR_V4(127, 0, 0, 1), (uint16_t)port } };
}

static struct port_listener udp(unsigned int port)
{
	return (struct port_listener){ FORWARD_UDP, { IPADDR_V4(127, 0, 0, 1), (uint16_t)port } };
}

static void assert_list(const struct port_listener *all, unsigned int n,
			const struct port_listener *expected, unsigned int n_expected)
{
	assert_int_equal(n, n_expected);
	for (unsigned int i = 0; i < n; i++)
		assert_int_equal(port_list_compare(&all[i], &expected[i]), 0);
}

static void sorting_drops_duplicates(void **state)
{
	struct port_listener all[] = { udp(1), tcp(300), tcp(2), tcp(300), udp(1), tcp(2) };
	const struct port_listener sorted[] = { tcp(2), tcp(300), udp(1) };

	(void)state;
	assert_list(all, port_list_sort(all, 6), sorted, 3);
	assert_int_equal(port_list_sort(all, 0), 0);
}

static void what_one_has_and_the_other_not(void **state)
{
	const struct port_listener a[] = { tcp(1), tcp(2), tcp(3), udp(1) };
	const struct port_listener b[] = { tcp(2), tcp(4) };
	const struct port_listener only_a[] = { tcp(1), tcp(3), udp(1) }, only_b[] = { tcp(4) };
	struct port_list list_a = { a, 4 }, list_b = { b, 2 }, none = { NULL, 0 };
	struct port_listener out[4];

	(void)state;
	assert_list(out, port_list_without(&list_a, &list_b, out), only_a, 3);
	assert_list(out, port_list_without(&list_b, &list_a, out), only_b, 1);
	assert_list(out, port_list_without(&list_a, &none, out), a, 4);
	assert_list(out, port_list_without(&none, &list_a, out), a, 0);
	assert_true(port_list_equal(&list_a, &list_a));
	assert_false(port_list_equal(&list_a, &list_b));
}

/* --- agent_listeners --- */

static void assert_known(const struct agent_listeners *l, const struct port_listener *expected,
			 unsigned int n_expected)
{
	unsigned int n;
	const struct port_listener *all = agent_listeners_all(l, &n);

	assert_list(all, n, expected, n_expected);
}

static void reports_change_what_is_known(void **state)
{
	struct port_listener a = tcp(1), b = tcp(2), c = udp(3);
	const struct port_listener ab[] = { tcp(1), tcp(2) }, bc[] = { tcp(2), udp(3) };
	struct agent_listeners *l;

	(void)state;
	assert_int_equal(agent_listeners_new(&l), 0);
	agent_listeners_begin(l, true);
	assert_true(agent_listeners_end(l)); /* that there are none is news as well */

	agent_listeners_begin(l, false);
	assert_true(agent_listeners_add(l, &b));
	assert_true(agent_listeners_add(l, &a));
	assert_true(agent_listeners_end(l));
	assert_known(l, ab, 2);

	agent_listeners_begin(l, false);
	assert_true(agent_listeners_add(l, &c));
	agent_listeners_remove(l, &a);
	agent_listeners_remove(l, &a);
	assert_true(agent_listeners_end(l));
	assert_known(l, bc, 2);

	/* what moves is added and removed: the addition counts */
	agent_listeners_begin(l, false);
	agent_listeners_remove(l, &b);
	assert_true(agent_listeners_add(l, &b));
	assert_false(agent_listeners_end(l));
	assert_known(l, bc, 2);

	agent_listeners_begin(l, false);
	assert_true(agent_listeners_add(l, &a));
	assert_true(agent_listeners_add(l, &b));
	agent_listeners_set_all(l);
	assert_true(agent_listeners_end(l));
	assert_known(l, ab, 2);
	agent_listeners_free(l);
}

static void more_than_the_most_is_not_taken(void **state)
{
	struct agent_listeners *l;
	unsigned int n, n_taken = 0;

	(void)state;
	assert_int_equal(agent_listeners_new(&l), 0);
	agent_listeners_begin(l, true);
	for (unsigned int i = 0; i < 100000; i++) {
		struct port_listener p = { FORWARD_TCP,
					   { IPADDR_V4(10, 0, (uint8_t)(i / 50000), 1),
					     (uint16_t)(1 + i % 50000) } };

		n_taken += agent_listeners_add(l, &p);
	}
	assert_true(n_taken < 100000);
	assert_true(agent_listeners_end(l));
	(void)agent_listeners_all(l, &n);
	assert_int_equal(n, AGENT_LISTENERS_MAX);
	agent_listeners_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sorting_drops_duplicates),
		cmocka_unit_test(what_one_has_and_the_other_not),
		cmocka_unit_test(reports_change_what_is_known),
		cmocka_unit_test(more_than_the_most_is_not_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
