/* SPDX-License-Identifier: Apache-2.0 */
/* Guests of a shared network on loopback addresses, with a publisher and real ports. */
#include "forwarder/loopbacks.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "forwarder/control.h"
#include "netstack/stack.h"
#include "tests/support/own_network.h"
#include "tests/support/published.h"

static struct stack *stack;
static struct loopbacks *loopbacks;
static char error[CONTROL_ERROR_SIZE];

static struct stack_config shared_network(void)
{
	struct stack_config c = stack_config_default();

	c.is_shared = true;
	c.network4 = address("192.168.105.0");
	c.gateway4 = address("192.168.105.1");
	c.dns4 = address("192.168.105.3");
	c.guest4 = address("192.168.105.16");
	return c;
}

/* A guest that has its lease from us. */
static void add_guest(uint8_t number, const char *name)
{
	const struct mac mac = { { 2, 0, 0, 0, 0, number } };
	struct ipaddr four, six;

	assert_int_equal(stack_assign(stack, &mac, name, &four, &six), 0);
}

/* Guests have no ways of their own, but for this one. */
static struct ways *own_ways;

static struct ways *find_ways(void *arg, const char *name)
{
	(void)arg;
	return strcmp(name, "box") == 0 ? own_ways : NULL;
}

static int setup(void **state)
{
	const struct stack_config network = shared_network();
	struct loopbacks_config config = {
		.base = address("127.105.0.0"),
		.prefix4_bits = 24,
		.ports = { 8081 },
		.n_ports = 1,
	};
	struct fixture *t;

	if (publisher_setup(state) < 0)
		return -1;
	t = *state;
	if (stack_new(t->loop, &network, &stack) < 0)
		return -1;
	config.stack = stack;
	config.publisher = t->publisher;
	config.find_ways = find_ways;
	add_guest(1, "box");
	return loopbacks_new(t->loop, &config, &loopbacks);
}

static int teardown(void **state)
{
	loopbacks_free(loopbacks);
	stack_free(stack);
	return publisher_teardown(state);
}

static struct rule_listener listener(enum forward_proto proto, const char *addr, uint16_t port)
{
	return (struct rule_listener){ proto, { address(addr), port } };
}

static int report(const char *name, const struct rule_listener *added, size_t n_added,
		  const struct rule_listener *removed, size_t n_removed)
{
	struct rule_listener all[8];
	const struct control_report r = { all, n_added, n_removed };

	for (size_t i = 0; i < n_added; i++)
		all[i] = added[i];
	for (size_t i = 0; i < n_removed; i++)
		all[n_added + i] = removed[i];
	error[0] = '\0';
	return loopbacks_report(loopbacks, name, &r, error);
}

static void assert_published(struct fixture *t, const char *const *places)
{
	struct listing list = list_all(t);
	unsigned int n = 0;

	for (; places[n]; n++) {
		char host[ADDR_TEXT_SIZE];
		bool is_there = false;

		for (unsigned int i = 0; i < list.n; i++)
			is_there |= strcmp(endpoint_format(&list.all[i].publication->host, host),
					   places[n]) == 0;
		if (!is_there)
			fail_msg("%s is not published", places[n]);
	}
	assert_int_equal(list.n, n);
}

static void what_the_nic_reaches_is_served(void **state)
{
	const struct rule_listener listeners[] = {
		listener(FORWARD_TCP, "0.0.0.0", 8082),
		listener(FORWARD_TCP, "::", 8083),
		listener(FORWARD_UDP, "192.168.105.16", 8084),
		listener(FORWARD_TCP, "127.0.0.1", 85),
		listener(FORWARD_TCP, "192.168.105.99", 8086),
		listener(FORWARD_UDP, "0.0.0.0", 40000),
	};
	static const char *const before[] = { "127.105.0.16:8081", NULL };
	static const char *const after[] = { "127.105.0.16:8081", "127.105.0.16:8082",
					     "127.105.0.16:8083", "127.105.0.16:8084", NULL };
	const struct ipaddr guest = address("192.168.105.16");
	struct fixture *t = *state;

	assert_published(t, before); /* named for every guest */
	assert_int_equal(report("box", listeners, 6, NULL, 0), 0);
	assert_published(t, after);
	close(connect_at("127.105.0.16", 8082));
	assert_int_equal(connect_at("127.0.0.1", 8082), -ECONNREFUSED);
	assert_true(ipaddr_equal(&list_all(t).all[1].publication->guest.addr, &guest));
}

static void what_ends_is_served_no_more(void **state)
{
	const struct rule_listener web_server = listener(FORWARD_TCP, "0.0.0.0", 8082);
	static const char *const before[] = { "127.105.0.16:8081", NULL };
	struct fixture *t = *state;

	assert_int_equal(report("box", &web_server, 1, NULL, 0), 0);
	assert_int_equal(report("box", &web_server, 1, NULL, 0), 0); /* said twice */
	assert_int_equal(list_all(t).n, 2);
	assert_int_equal(report("box", NULL, 0, &web_server, 1), 0);
	assert_published(t, before);
}

static void each_guest_has_its_own(void **state)
{
	const struct rule_listener web_server = listener(FORWARD_TCP, "0.0.0.0", 8082);
	static const char *const both[] = { "127.105.0.16:8081", "127.105.0.16:8082",
					    "127.105.0.17:8081", "127.105.0.17:8082", NULL };

	assert_int_equal(report("other", &web_server, 1, NULL, 0), -ENOENT);
	assert_non_null(strstr(error, "no guest \"other\""));
	add_guest(2, "other");
	loopbacks_refresh(loopbacks);
	assert_int_equal(report("other", &web_server, 1, NULL, 0), 0);
	assert_int_equal(report("box", &web_server, 1, NULL, 0), 0);
	assert_published(*state, both);
}

static void there_is_a_limit(void **state)
{
	struct rule_listener *many = calloc(LOOPBACKS_MAX_LISTENERS + 1, sizeof(*many));
	const struct control_report r = { many, LOOPBACKS_MAX_LISTENERS + 1, 0 };

	(void)state;
	for (unsigned int i = 0; i <= LOOPBACKS_MAX_LISTENERS; i++)
		many[i] = listener(FORWARD_TCP, "0.0.0.0", (uint16_t)(1024 + i));
	assert_int_equal(loopbacks_report(loopbacks, "box", &r, error), -ENOSPC);
	assert_int_equal(list_all(*state).n, 1);
	free(many);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_the_nic_reaches_is_served),
		TEST(what_ends_is_served_no_more),
		TEST(each_guest_has_its_own),
		TEST(there_is_a_limit),
	};

	own_network_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
