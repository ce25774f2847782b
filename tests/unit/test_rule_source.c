/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/rule_source.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ON RULE_SWITCH_ON

static char ip_0[] = "0.0.0.0", ip_10[] = "10.0.0.5", ip_v6_any[] = "::", not_an_ip[] = "localhost",
	    multicast[] = "224.0.0.1", path_a[] = "/run/a.sock", path_b[] = "/run/b.sock",
	    relative[] = "a.sock",
	    too_long[] = "/23456789012345678901234567890123456789012345678901234567890123456789"
			 "0123456789012345678901234567890123456789",
	    longest[] = "/2345678901234567890123456789012345678901234567890123456789012345678901"
			"2345678901234567890123456789012345";

/* Every error is expected under its field, and no other. */
struct row {
	struct rule_source source;
	const char *fields[4]; /* after portForwards[2]. */
	const char *text;      /* part of the first error */
};

static const struct row bad_rows[] = {
	/* 1: guestIPMustBeZero */
	{ { .guest_ip = ip_10, .guest_ip_must_be_zero = ON }, { "guestIPMustBeZero" }, "0.0.0.0" },
	{ { .guest_ip = ip_v6_any, .guest_ip_must_be_zero = ON }, { "guestIPMustBeZero" }, NULL },
	/* 2: guestPort */
	{ { .guest_port = 80, .guest_socket = path_a, .host_socket = path_b },
	  { "guestPort" },
	  "must be 0" },
	{ { .guest_port = 80, .guest_port_range = { 81, 82 } }, { "guestPort" }, "must match" },
	{ { .guest_port = -1 }, { "guestPort" }, "must be > 0" },
	{ { .guest_port = 22, .host_port = 2222 }, { "guestPort" }, "must not be 22" },
	{ { .guest_port = 65536 }, { "guestPort" }, "must be < 65536" },
	/* 3: hostPort */
	{ { .host_port = 80, .guest_port = 80, .host_socket = path_a },
	  { "hostPort" },
	  "must be 0" },
	{ { .guest_port_range = { 80, 81 }, .host_port = 90, .host_port_range = { 91, 92 } },
	  { "hostPort" },
	  "must match" },
	{ { .guest_port = 80, .host_port = -80 }, { "hostPort" }, "must be > 0" },
	{ { .guest_port = 2222, .host_port = 22 }, { "hostPort" }, "must not be 22" },
	{ { .guest_port = 80, .host_port = 70000 }, { "hostPort" }, "must be < 65536" },
	/* 4: the ends of the ranges */
	{ { .guest_port_range = { 0, 10 }, .host_port_range = { 10, 20 } },
	  { "guestPortRange[0]" },
	  "must be set" },
	{ { .guest_port_range = { -3, 10 }, .host_port_range = { 10, 23 } },
	  { "guestPortRange[0]" },
	  "must be > 0" },
	{ { .guest_port_range = { 22, 32 }, .host_port_range = { 122, 132 } },
	  { "guestPortRange[0]" },
	  "must not be 22" },
	{ { .guest_port_range = { 12, 22 }, .host_port_range = { 112, 122 } },
	  { "guestPortRange[1]" },
	  "must not be 22" },
	{ { .guest_port_range = { 65530, 65536 }, .host_port_range = { 1, 7 } },
	  { "guestPortRange[1]" },
	  "must be < 65536" },
	{ { .guest_port_range = { 1, 11 }, .host_port_range = { 0, 10 } },
	  { "hostPortRange[0]" },
	  "must be set" },
	{ { .guest_port_range = { 1, 11 }, .host_port_range = { 12, 22 } },
	  { "hostPortRange[1]" },
	  "must not be 22" },
	{ { .guest_port_range = { 1, 7 }, .host_port_range = { 65530, 65536 } },
	  { "hostPortRange[1]" },
	  "must be < 65536" },
	/* 5: upside down */
	{ { .guest_port_range = { 10, 9 }, .host_port_range = { 20, 19 } },
	  { "guestPortRange[1]", "hostPortRange[1]" },
	  "greater than or equal" },
	/* 6: guestSocket */
	{ { .guest_socket = relative, .host_socket = path_a }, { "guestSocket" }, "absolute" },
	{ { .guest_socket = path_a }, { "guestSocket" }, "single port or socket" },
	{ { .guest_socket = too_long, .host_socket = path_a }, { "guestSocket" }, "less than" },
	/* 7: hostSocket, lengths */
	{ { .host_socket = relative, .guest_port = 80 }, { "hostSocket" }, "absolute" },
	{ { .host_socket = path_a }, { "hostSocket" }, "single port or socket" },
	{ { .host_socket = path_a, .guest_port_range = { 80, 81 } },
	  { "hostSocket" },
	  "single port or socket" },
	{ { .guest_port_range = { 80, 89 }, .host_port_range = { 80, 88 } },
	  { "hostPortRange" },
	  "same number of ports" },
	{ { .guest_port_range = { 80, 89 }, .host_port = 80 },
	  { "hostPortRange" },
	  "same number of ports" },
	{ { .host_port = 80 }, { "hostPortRange" }, "same number of ports" },
	{ { .guest_socket = path_a, .host_port = 80 }, { "hostPortRange" }, "same number" },
	/* 8: the length of a socket's path */
	{ { .guest_port = 80, .host_socket = too_long }, { "hostSocket" }, "less than 108" },
	/* 10: reverse */
	{ { .reverse = ON }, { "reverse" }, "must be false" },
	{ { .reverse = ON, .guest_port = 80 }, { "reverse" }, "must be false" },
	{ { .reverse = ON, .guest_port = 80, .proto = RULE_PROTO_ANY }, { "reverse" }, NULL },
	{ { .reverse = ON, .proto = RULE_PROTO_TCP }, { "reverse" }, NULL },
	{ { .reverse = ON, .guest_port = 80, .host_socket = path_a }, { "reverse" }, NULL },
	/* addresses, and what is not Lima's */
	{ { .guest_ip = not_an_ip }, { "guestIP" }, "localhost" },
	{ { .host_ip = not_an_ip }, { "hostIP" }, "localhost" },
	{ { .host_ip = multicast }, { "hostIP" }, "multicast" },
	{ { .via = RULE_VIA_SSH, .proto = RULE_PROTO_UDP }, { "via" }, "does not support" },
	/* all together */
	{ { .guest_ip = not_an_ip, .guest_port = 22, .host_port = -1, .reverse = ON },
	  { "guestIP", "guestPort", "hostPort", "reverse" },
	  NULL },
	/* beyond every int */
	{ { .guest_port_range = { INT32_MIN, INT32_MAX }, .host_port_range = { 1, 2 } },
	  { "guestPortRange[0]", "guestPortRange[1]", "hostPortRange" },
	  NULL },
};

static void check_row(const struct row *row, size_t number)
{
	const struct rule_context context = { .index = 2 };
	struct rule_source source = row->source;
	struct problems problems = { 0 };
	struct rule rule;
	size_t n = 0;

	if (rule_from_source(&source, &context, &rule, &problems) != -EINVAL)
		fail_msg("row %zu was accepted", number);
	for (; n < 4 && row->fields[n]; n++) {
		char field[64];

		(void)snprintf(field, sizeof(field), "portForwards[2].%s", row->fields[n]);
		if (n >= problems.n || strcmp(problems.list[n].field, field) != 0)
			fail_msg("row %zu: %s, not %s", number,
				 n < problems.n ? problems.list[n].field : "nothing", field);
	}
	if (problems.n != n)
		fail_msg("row %zu: also %s %s", number, problems.list[n].field,
			 problems.list[n].text);
	if (row->text && !strstr(problems.list[0].text, row->text))
		fail_msg("row %zu: \"%s\" lacks \"%s\"", number, problems.list[0].text, row->text);
}

static void every_condition_is_an_error_of_its_field(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bad_rows) / sizeof(bad_rows[0]); i++)
		check_row(&bad_rows[i], i);
}

static const struct rule_source good_rows[] = {
	{ .guest_port = 80 },
	{ .guest_port = 1, .host_port = 65535 },
	{ .guest_port_range = { 1, 65535 } },
	{ .guest_port_range = { 20, 30 } }, /* spans 22 */
	{ .guest_port = 80, .guest_port_range = { 80, 81 } },
	{ .guest_ip = ip_0, .guest_ip_must_be_zero = ON },
	{ .guest_ip_must_be_zero = ON },
	{ .guest_socket = path_a, .host_socket = path_b },
	{ .guest_socket = path_a, .host_socket = path_b, .reverse = ON },
	{ .guest_socket = path_a, .guest_port_range = { 80, 80 }, .host_port = 8080 },
	{ .guest_port = 80, .host_socket = longest },
	{ .reverse = ON, .guest_port = 80, .proto = RULE_PROTO_TCP },
	{ .reverse = ON, .guest_port_range = { 80, 89 }, .proto = RULE_PROTO_UDP },
	{ .via = RULE_VIA_SSH },
	{ .ignore = ON },
};

static void what_is_right_is_accepted(void **state)
{
	const struct rule_context context = { .index = 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(good_rows) / sizeof(good_rows[0]); i++) {
		struct rule_source source = good_rows[i];
		struct problems problems = { 0 };
		struct rule rule;

		if (rule_from_source(&source, &context, &rule, &problems) != 0)
			fail_msg("row %zu: %s %s", i, problems.list[0].field,
				 problems.list[0].text);
		assert_int_equal(problems.n, 0);
	}
}

static struct rule fill(struct rule_source source)
{
	const struct rule_context context = { .index = 7 };
	struct problems problems = { 0 };
	struct rule rule = { 0 };

	assert_int_equal(rule_from_source(&source, &context, &rule, &problems), 0);
	return rule;
}

static void nothing_given_means_every_port_of_the_loopback(void **state)
{
	struct rule rule = fill((struct rule_source){ 0 });
	char text[ADDR_TEXT_SIZE];

	(void)state;
	assert_int_equal(rule.origin, RULE_ORIGIN_USER);
	assert_int_equal(rule.index, 7);
	assert_int_equal(rule.proto, RULE_PROTO_ANY);
	assert_string_equal(ipaddr_format(&rule.guest_ip, text), "127.0.0.1");
	assert_false(rule.guest_ip_must_be_zero);
	assert_string_equal(ipaddr_format(&rule.host_ip, text), "127.0.0.1");
	assert_false(rule.is_host_ip_given);
	assert_int_equal(rule.guest_first, 1);
	assert_int_equal(rule.guest_last, 65535);
	assert_int_equal(rule.host_first, 1);
	assert_int_equal(rule.host_last, 65535);
	assert_false(rule.is_static || rule.is_reverse || rule.is_ignore);
}

static void defaults_follow_what_is_given(void **state)
{
	char text[ADDR_TEXT_SIZE];
	struct rule rule;

	(void)state;
	rule = fill((struct rule_source){ .guest_ip_must_be_zero = ON });
	assert_string_equal(ipaddr_format(&rule.guest_ip, text), "0.0.0.0");
	assert_true(rule.guest_ip_must_be_zero);

	assert_true(fill((struct rule_source){ .guest_ip = ip_0 }).guest_ip_must_be_zero);
	assert_false(fill((struct rule_source){ .guest_ip = ip_v6_any }).guest_ip_must_be_zero);

	rule = fill((struct rule_source){ .guest_port = 80 });
	assert_int_equal(rule.guest_last, 80);
	assert_int_equal(rule.host_first, 80);
	assert_int_equal(rule.host_last, 80);

	rule = fill((struct rule_source){ .guest_port = 80, .host_socket = path_a });
	assert_int_equal(rule.host_first, 0);
	assert_string_equal(rule.host_socket, path_a);
}

static void a_relative_host_socket_is_put_below_the_directory(void **state)
{
	const struct rule_context context = { .index = 0, .socket_dir = "/run/netfwd/sock" };
	struct rule_source source = { .guest_port = 80, .host_socket = strdup("docker.sock") };
	struct problems problems = { 0 };
	struct rule rule;

	(void)state;
	assert_int_equal(rule_from_source(&source, &context, &rule, &problems), 0);
	assert_string_equal(rule.host_socket, "/run/netfwd/sock/docker.sock");
	free(source.host_socket);
}

static void variables_in_paths_are_replaced(void **state)
{
	static const struct rule_variable variables[] = { { "UID", "1000" }, { NULL, NULL } };
	const struct rule_context context = {
		.guest_variables = variables,
		.host_variables = variables,
	};
	struct rule_source source = {
		.guest_socket = strdup("/run/user/{{.UID}}/docker.sock"),
		.host_socket = strdup("/tmp/{{.Nobody}}.sock"),
	};
	struct problems problems = { 0 };
	struct rule rule;

	(void)state;
	assert_int_equal(rule_from_source(&source, &context, &rule, &problems), 0);
	assert_string_equal(rule.guest_socket, "/run/user/1000/docker.sock");
	assert_string_equal(rule.host_socket, "/tmp/{{.Nobody}}.sock");
	assert_int_equal(problems.n_warnings, 1);
	assert_string_equal(problems.list[0].field, "portForwards[0].hostSocket");
	free(source.guest_socket);
	free(source.host_socket);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_condition_is_an_error_of_its_field),
		cmocka_unit_test(what_is_right_is_accepted),
		cmocka_unit_test(nothing_given_means_every_port_of_the_loopback),
		cmocka_unit_test(defaults_follow_what_is_given),
		cmocka_unit_test(a_relative_host_socket_is_put_below_the_directory),
		cmocka_unit_test(variables_in_paths_are_replaced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
