/* SPDX-License-Identifier: Apache-2.0 */
/* `netfwd expose`, with a publisher and real ports: all of a forward or nothing,
 * and a clear reason. */
#include "forwarder/exposed.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "forwarder/ways.h"
#include "tests/support/own_network.h"
#include "tests/support/published.h"

static char error[CONTROL_ERROR_SIZE];

static struct control_forward forward(const char *text)
{
	struct control_forward f = { .via = RULE_VIA_DEFAULT };
	char why[FORWARD_SPEC_ERROR_SIZE];

	if (forward_spec_parse(text, &f.spec, why) < 0)
		fail_msg("%s", why);
	return f;
}

static int add(struct exposed *e, const char *text)
{
	struct control_forward f = forward(text);

	error[0] = '\0';
	return exposed_add(e, &f, error);
}

static int take(struct exposed *e, const char *text)
{
	struct control_forward f = forward(text);

	error[0] = '\0';
	return exposed_remove(e, &f, error);
}

static void no_free(struct tunnel *t)
{
	(void)t;
}

/* Of the ways, only that they are there is asked. */
static const struct tunnel_ops nic_ops = { .free = no_free };
static struct ways *ways;

static int setup(void **state)
{
	static struct tunnel nic;
	struct fixture *t;
	int r = publisher_setup(state);

	t = *state;
	nic = (struct tunnel){ .ops = &nic_ops, .name = "direct", .state = TUNNEL_UP };
	if (r == 0)
		r = ways_new(t->loop, &ways);
	if (r == 0)
		ways_add(ways, RULE_VIA_DIRECT, &nic);
	return r;
}

static int teardown(void **state)
{
	ways_free(ways);
	return publisher_teardown(state);
}

static struct exposed *make(struct fixture *t)
{
	struct exposed *e;

	assert_int_equal(exposed_new(t->publisher, ways, &e), 0);
	return e;
}

static void a_port_is_open_until_it_is_taken_back(void **state)
{
	struct fixture *t = *state;
	struct exposed *e = make(t);

	assert_int_equal(add(e, "tcp:8080:80"), 0);
	expect_served(t, 8080);
	assert_int_equal(t->dialled.guest.port, 80);
	assert_true(ipaddr_is_any(&t->dialled.guest.addr));
	assert_int_equal(take(e, "tcp:8080:81"), -ENOENT);
	expect_served(t, 8080);
	assert_int_equal(take(e, "tcp:8080:80"), 0);
	expect_refused(8080);
	assert_int_equal(take(e, "tcp:8080:80"), -ENOENT);
	exposed_free(e);
}

static void a_range_is_exposed_as_a_whole_or_not_at_all(void **state)
{
	struct fixture *t = *state;
	struct exposed *e = make(t);
	int other = occupy("127.0.0.1", 9002);

	assert_int_equal(add(e, "tcp:9000-9003:80-83"), -EADDRINUSE);
	assert_non_null(strstr(error, "127.0.0.1:9002"));
	expect_refused(9000);
	expect_refused(9003);
	close(other);
	assert_int_equal(add(e, "tcp:9000-9003:80-83"), 0);
	expect_served(t, 9000);
	expect_served(t, 9003);
	assert_int_equal(t->dialled.guest.port, 83);
	exposed_free(e);
	expect_refused(9000);
}

static void a_failure_leaves_the_others(void **state)
{
	struct fixture *t = *state;
	struct exposed *e = make(t);
	struct control_forward ssh = forward("tcp:8081:81");
	int other = occupy("127.0.0.1", 9000);

	ssh.via = RULE_VIA_SSH;
	assert_int_equal(add(e, "tcp:8080:80"), 0);
	assert_int_equal(add(e, "tcp:8080:80"), -EEXIST);
	assert_int_equal(add(e, "tcp:0.0.0.0:8080:81"), -EADDRINUSE);
	assert_non_null(strstr(error, "8080"));
	assert_int_equal(add(e, "tcp:9000:90"), -EADDRINUSE);
	assert_int_equal(add(e, "tcp:10000-14096:10000-14096"), -ENOSPC);
	assert_int_equal(exposed_add(e, &ssh, error), -EOPNOTSUPP);
	assert_non_null(strstr(error, "ssh"));
	expect_served(t, 8080);
	assert_int_equal(list_all(t).n, 1);
	close(other);
	exposed_free(e);
}

static void a_port_that_a_guest_has_is_not_taken_from_it(void **state)
{
	struct fixture *t = *state;
	struct exposed *e = make(t);

	publish(t, web("192.168.5.15"));
	assert_int_equal(add(e, "tcp:8080:81"), -EADDRINUSE);
	expect_served(t, 8080);
	assert_int_equal(t->dialled.guest.port, 80);
	exposed_free(e);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_port_is_open_until_it_is_taken_back),
		TEST(a_range_is_exposed_as_a_whole_or_not_at_all),
		TEST(a_failure_leaves_the_others),
		TEST(a_port_that_a_guest_has_is_not_taken_from_it),
	};

	own_network_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
