/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/rule.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "forwarder/rule_source.h"

#define ON RULE_SWITCH_ON
#define OFF RULE_SWITCH_OFF
#define MAX_RULES 4

static char ip_0[] = "0.0.0.0", ip_127[] = "127.0.0.1", ip_v6_any[] = "::", ip_v6_lo[] = "::1",
	    ip_10[] = "10.0.0.5", ip_v6[] = "fd00::15", ip_mapped[] = "::ffff:127.0.0.1",
	    ip_lan[] = "192.168.1.7", path_a[] = "/run/a.sock", path_b[] = "/run/b.sock";

/* What a decision is, in one line: "127.0.0.1:80 [::1]:80 user 0 ssh", or
 * "- user 0". */
static const char *describe(const struct rule_decision *d)
{
	static const char *const origins[] = {
		[RULE_ORIGIN_NONE] = "none",
		[RULE_ORIGIN_USER] = "user",
		[RULE_ORIGIN_BUILTIN] = "builtin",
		[RULE_ORIGIN_OPTION] = "option",
	};
	static char line[256];
	char host[ADDR_TEXT_SIZE], also[ADDR_TEXT_SIZE];

	if (!d->is_forward)
		(void)snprintf(line, sizeof(line), "- %s %u", origins[d->origin], d->index);
	else
		(void)snprintf(line, sizeof(line), "%s%s%s %s %u %s",
			       d->host_socket ? d->host_socket : endpoint_format(&d->host, host),
			       d->has_also ? " " : "",
			       d->has_also ? endpoint_format(&d->also, also) : "",
			       origins[d->origin], d->index, rule_via_name(d->via));
	return line;
}

struct asked {
	const char *address;
	const char *tcp, *udp; /* what is expected; udp NULL: the same, by grpc */
};

struct table {
	struct rule_source rules[MAX_RULES];
	unsigned int n_rules;
	const struct asked *asked; /* ends with an address of NULL */
};

static void run_one(const struct rule_set *set, const char *proto, const char *address,
		    const char *expected)
{
	struct rule_listener listener;
	struct rule_decision decision;

	assert_int_equal(rule_listener_parse(proto, address, &listener), 0);
	decision = rule_decide(set, &listener);
	if (strcmp(describe(&decision), expected) != 0)
		fail_msg("%s %s: \"%s\", not \"%s\"", proto, address, describe(&decision),
			 expected);
}

static void run_table(const struct table *table)
{
	struct problems problems = { 0 };
	struct rule rules[MAX_RULES];
	struct rule_set set = {
		.rules = rules,
		.n_rules = table->n_rules,
		.types = { RULE_VIA_SSH, RULE_VIA_GRPC },
		.ssh_port = 60022,
	};
	char udp[256];

	for (unsigned int i = 0; i < table->n_rules; i++) {
		struct rule_source source = table->rules[i];
		const struct rule_context context = { .index = i };

		assert_int_equal(rule_from_source(&source, &context, &rules[i], &problems), 0);
	}
	for (const struct asked *a = table->asked; a->address; a++) {
		size_t len = strlen(a->tcp);

		run_one(&set, "tcp", a->address, a->tcp);
		(void)snprintf(udp, sizeof(udp), "%s", a->tcp);
		if (len > 4 && strcmp(a->tcp + len - 4, " ssh") == 0)
			(void)snprintf(udp, sizeof(udp), "%.*s grpc", (int)(len - 4), a->tcp);
		run_one(&set, "udp", a->address, a->udp ? a->udp : udp);
	}
}

static void without_rules_loopback_and_wildcard_are_forwarded(void **state)
{
	static const struct asked asked[] = {
		{ "127.0.0.1:3000", "127.0.0.1:3000 [::1]:3000 builtin 0 ssh", NULL },
		{ "0.0.0.0:1", "127.0.0.1:1 [::1]:1 builtin 0 ssh", NULL },
		{ "[::]:65535", "127.0.0.1:65535 [::1]:65535 builtin 0 ssh", NULL },
		{ "[::1]:80", "127.0.0.1:80 [::1]:80 builtin 0 ssh", NULL },
		{ "[::ffff:127.0.0.1]:80", "127.0.0.1:80 [::1]:80 builtin 0 ssh", NULL },
		{ "[::ffff:0.0.0.0]:80", "127.0.0.1:80 [::1]:80 builtin 0 ssh", NULL },
		{ "127.0.0.2:80", "- none 0", NULL },
		{ "127.0.0.53:53", "- none 0", NULL },
		{ "10.0.0.5:80", "- none 0", NULL },
		{ "192.168.5.15:80", "- none 0", NULL },
		{ "[::ffff:10.0.0.5]:80", "- none 0", NULL },
		{ "[fe80::1]:80", "- none 0", NULL },
		{ "[fd00::15]:80", "- none 0", NULL },
		{ NULL, NULL, NULL },
	};

	(void)state;
	run_table(&(struct table){ .asked = asked });
}

/* A rule that forwards all cannot bring them back. */
static void ssh_is_never_forwarded_on_whatever_address(void **state)
{
	static const struct asked asked[] = {
		{ "127.0.0.1:22", "- builtin 0", NULL },
		{ "0.0.0.0:22", "- builtin 0", NULL },
		{ "[::]:22", "- builtin 0", NULL },
		{ "[::1]:22", "- builtin 0", NULL },
		{ "10.0.0.5:22", "- builtin 0", NULL },
		{ "[fd00::15]:22", "- builtin 0", NULL },
		{ "127.0.0.1:60022", "- builtin 0", NULL },
		{ "[::1]:60022", "- builtin 0", NULL },
		{ "0.0.0.0:60022", "- builtin 0", NULL },
		{ "10.0.0.5:60022", "- builtin 0", NULL },
		{ "10.0.0.5:60023", "127.0.0.1:60023 [::1]:60023 user 0 ssh", NULL },
		{ NULL, NULL, NULL },
	};

	(void)state;
	run_table(&(struct table){
		.rules = { { .guest_ip = ip_0, .guest_ip_must_be_zero = OFF } },
		.n_rules = 1,
		.asked = asked,
	});
}

static void a_rule_matches_its_address(void **state)
{
	static const struct asked asked[] = {
		{ "10.0.0.5:80", "127.0.0.1:8080 [::1]:8080 user 0 ssh", NULL },
		{ "[::ffff:10.0.0.5]:80", "127.0.0.1:8080 [::1]:8080 user 0 ssh", NULL },
		{ "0.0.0.0:80", "127.0.0.1:8080 [::1]:8080 user 0 ssh", NULL },
		{ "[::]:80", "127.0.0.1:8080 [::1]:8080 user 0 ssh", NULL },
		{ "127.0.0.1:80", "127.0.0.1:80 [::1]:80 builtin 0 ssh", NULL },
		{ "[::1]:80", "127.0.0.1:80 [::1]:80 builtin 0 ssh", NULL },
		{ "10.0.0.5:81", "- none 0", NULL },
		{ "[fd00::15]:443", "[::1]:443 user 1 ssh", NULL },
		{ "[fd00::16]:443", "- none 0", NULL },
		{ "0.0.0.0:443", "[::1]:443 user 1 ssh", NULL },
		{ "127.0.0.1:443", "127.0.0.1:443 [::1]:443 builtin 0 ssh", NULL },
		{ NULL, NULL, NULL },
	};

	(void)state;
	run_table(&(struct table){
		.rules = { { .guest_ip = ip_10, .guest_port = 80, .host_port = 8080 },
			   { .guest_ip = ip_v6, .guest_port = 443, .host_ip = ip_v6_lo } },
		.n_rules = 2,
		.asked = asked,
	});
}

static void v6_loopback_matches_a_v4_loopback_rule_but_not_the_reverse(void **state)
{
	static const struct asked asked[] = {
		{ "[::1]:80", "192.168.1.7:80 user 0 ssh", NULL },
		{ "127.0.0.1:80", "192.168.1.7:80 user 0 ssh", NULL },
		{ "[::ffff:127.0.0.1]:80", "192.168.1.7:80 user 0 ssh", NULL },
		{ "[::1]:81", "192.168.1.7:81 user 1 ssh", NULL },
		{ "127.0.0.1:81", "127.0.0.1:81 [::1]:81 builtin 0 ssh", NULL },
		{ "0.0.0.0:81", "192.168.1.7:81 user 1 ssh", NULL },
		{ "[::1]:82", "192.168.1.7:82 user 2 ssh", NULL },
		{ "127.0.0.1:82", "192.168.1.7:82 user 2 ssh", NULL },
		{ NULL, NULL, NULL },
	};

	(void)state;
	run_table(&(struct table){
		.rules = { { .guest_port = 80, .host_ip = ip_lan },
			   { .guest_ip = ip_v6_lo, .guest_port = 81, .host_ip = ip_lan },
			   { .guest_ip = ip_mapped, .guest_port = 82, .host_ip = ip_lan } },
		.n_rules = 3,
		.asked = asked,
	});
}

/* 0.0.0.0 means the wildcard itself, unless guestIPMustBeZero is false; :: means
 * every address. */
static void a_wildcard_rule_is_strict_by_default_only_for_v4(void **state)
{
	static const struct asked asked[] = {
		{ "0.0.0.0:80", "192.168.1.7:80 user 0 ssh", NULL },
		{ "[::]:80", "192.168.1.7:80 user 0 ssh", NULL },
		{ "127.0.0.1:80", "127.0.0.1:80 [::1]:80 builtin 0 ssh", NULL },
		{ "10.0.0.5:80", "- none 0", NULL },
		{ "10.0.0.5:81", "192.168.1.7:81 user 1 ssh", NULL },
		{ "127.0.0.1:81", "192.168.1.7:81 user 1 ssh", NULL },
		{ "[fd00::15]:81", "192.168.1.7:81 user 1 ssh", NULL },
		{ "10.0.0.5:82", "192.168.1.7:82 user 2 ssh", NULL },
		{ "[::1]:82", "192.168.1.7:82 user 2 ssh", NULL },
		{ "0.0.0.0:83", "192.168.1.7:83 user 3 ssh", NULL },
		{ "10.0.0.5:83", "- none 0", NULL },
		{ NULL, NULL, NULL },
	};

	(void)state;
	run_table(&(struct table){
		.rules = { { .guest_ip = ip_0, .guest_port = 80, .host_ip = ip_lan },
			   { .guest_ip = ip_0,
			     .guest_ip_must_be_zero = OFF,
			     .guest_port = 81,
			     .host_ip = ip_lan },
			   { .guest_ip = ip_v6_any, .guest_port = 82, .host_ip = ip_lan },
			   { .guest_ip_must_be_zero = ON, .guest_port = 83, .host_ip = ip_lan } },
		.n_rules = 4,
		.asked = asked,
	});
}

static void an_ignore_of_one_address_leaves_a_wildcard_listener_alone(void **state)
{
	static const struct asked asked[] = {
		{ "127.0.0.1:80", "- user 0", NULL },
		{ "[::1]:80", "- user 0", NULL },
		{ "0.0.0.0:80", "127.0.0.1:80 [::1]:80 builtin 0 ssh", NULL },
		{ "[::]:80", "127.0.0.1:80 [::1]:80 builtin 0 ssh", NULL },
		{ "0.0.0.0:81", "- user 1", NULL },
		{ "[::]:81", "- user 1", NULL },
		{ "127.0.0.1:81", "127.0.0.1:81 [::1]:81 builtin 0 ssh", NULL },
		{ "10.0.0.5:82", "- user 2", NULL },
		{ "[::]:82", "- user 2", NULL },
		{ "127.0.0.1:82", "- user 2", NULL },
		{ NULL, NULL, NULL },
	};

	(void)state;
	run_table(&(struct table){
		.rules = { { .guest_port = 80, .ignore = ON },
			   { .guest_ip = ip_0, .guest_port = 81, .ignore = ON },
			   { .guest_ip = ip_0,
			     .guest_ip_must_be_zero = OFF,
			     .guest_port = 82,
			     .ignore = ON } },
		.n_rules = 3,
		.asked = asked,
	});
}

static void the_first_rule_wins_and_ranges_keep_their_distance(void **state)
{
	static const struct asked asked[] = {
		{ "127.0.0.1:4000", "127.0.0.1:5000 [::1]:5000 user 0 ssh", NULL },
		{ "127.0.0.1:4009", "127.0.0.1:5009 [::1]:5009 user 0 ssh", NULL },
		{ "127.0.0.1:4010", "- user 2", NULL },
		{ "127.0.0.1:3999", "- user 2", NULL },
		{ "127.0.0.1:4005", "127.0.0.1:5005 [::1]:5005 user 0 ssh", NULL },
		{ NULL, NULL, NULL },
	};

	(void)state;
	run_table(&(struct table){
		.rules = { { .guest_port_range = { 4000, 4009 },
			     .host_port_range = { 5000, 5009 } },
			   { .guest_port = 4005, .ignore = ON },
			   { .ignore = ON } },
		.n_rules = 3,
		.asked = asked,
	});
}

static void protocols_are_told_apart(void **state)
{
	static const struct asked asked[] = {
		{ "127.0.0.1:53", "127.0.0.1:5300 [::1]:5300 user 0 ssh",
		  "127.0.0.1:5353 [::1]:5353 user 1 direct" },
		{ "127.0.0.1:54", "127.0.0.1:5400 [::1]:5400 user 2 ssh",
		  "127.0.0.1:5400 [::1]:5400 user 2 grpc" },
		{ NULL, NULL, NULL },
	};

	(void)state;
	run_table(&(struct table){
		.rules = { { .proto = RULE_PROTO_TCP, .guest_port = 53, .host_port = 5300 },
			   { .proto = RULE_PROTO_UDP,
			     .guest_port = 53,
			     .host_port = 5353,
			     .via = RULE_VIA_DIRECT },
			   { .guest_port = 54, .host_port = 5400, .via = RULE_VIA_SSH } },
		.n_rules = 3,
		.asked = asked,
	});
}

static void sockets_and_reversed_rules(void **state)
{
	static const struct asked asked[] = {
		{ "127.0.0.1:8080", "/run/a.sock user 0 ssh", NULL },
		/* netfwd itself listens there */
		{ "127.0.0.1:9000", "- user 2", "- user 3" },
		{ "[::ffff:127.0.0.1]:9000", "- user 2", "- user 3" },
		{ "0.0.0.0:9000", "127.0.0.1:9000 [::1]:9000 builtin 0 ssh", NULL },
		{ "127.0.0.1:9001", "127.0.0.1:9001 [::1]:9001 builtin 0 ssh", NULL },
		{ NULL, NULL, NULL },
	};

	(void)state;
	run_table(&(struct table){
		.rules = { { .guest_port = 8080, .host_socket = path_a },
			   { .guest_socket = path_b, .host_socket = path_a },
			   { .guest_port = 9000, .proto = RULE_PROTO_TCP, .reverse = ON },
			   { .guest_port = 9000, .proto = RULE_PROTO_UDP, .reverse = ON } },
		.n_rules = 4,
		.asked = asked,
	});
}

static void v6_loopback_is_added_only_when_no_host_address_was_given(void **state)
{
	static const struct asked asked[] = {
		{ "127.0.0.1:80", "127.0.0.1:80 user 0 ssh", NULL },
		{ "127.0.0.1:81", "0.0.0.0:81 user 1 ssh", NULL },
		{ NULL, NULL, NULL },
	};

	(void)state;
	run_table(&(struct table){
		.rules = { { .guest_port = 80, .host_ip = ip_127 },
			   { .guest_port = 81, .host_ip = ip_0 } },
		.n_rules = 2,
		.asked = asked,
	});
}

static void a_type_of_none_forwards_nothing_unless_a_rule_says_how(void **state)
{
	static const struct rule named = {
		.origin = RULE_ORIGIN_USER,
		.index = 3,
		.via = RULE_VIA_GRPC,
		.guest_ip = IPADDR_V4(127, 0, 0, 1),
		.guest_first = 80,
		.guest_last = 80,
		.host_ip = IPADDR_V4(127, 0, 0, 1),
		.host_first = 80,
		.host_last = 80,
	};
	const struct rule_set set = {
		.rules = &named,
		.n_rules = 1,
		.types = { RULE_VIA_NONE, RULE_VIA_AUTO },
	};

	(void)state;
	run_one(&set, "tcp", "127.0.0.1:80", "127.0.0.1:80 [::1]:80 user 3 grpc");
	run_one(&set, "tcp", "127.0.0.1:81", "- none 0");
	run_one(&set, "udp", "127.0.0.1:81", "127.0.0.1:81 [::1]:81 builtin 0 auto");
}

static void a_forward_of_the_command_line_goes_first_and_direct(void **state)
{
	char error[FORWARD_SPEC_ERROR_SIZE];
	struct forward_spec spec;
	struct rule rule;
	const struct rule_set set = {
		.rules = &rule,
		.n_rules = 1,
		.types = { RULE_VIA_SSH, RULE_VIA_GRPC },
	};

	(void)state;
	assert_int_equal(forward_spec_parse("tcp:8000-8009:80-89", &spec, error), 0);
	rule = rule_from_forward(&spec, 1);

	assert_true(rule.is_static);
	run_one(&set, "tcp", "0.0.0.0:85", "127.0.0.1:8005 option 1 direct");
	run_one(&set, "tcp", "127.0.0.1:85", "127.0.0.1:85 [::1]:85 builtin 0 ssh");
	run_one(&set, "udp", "0.0.0.0:85", "127.0.0.1:85 [::1]:85 builtin 0 grpc");
}

static void only_well_formed_listeners_are_accepted(void **state)
{
	static const char *const bad[][2] = {
		{ "TCP", "127.0.0.1:80" },
		{ "Udp", "127.0.0.1:80" },
		{ "tcp6", "127.0.0.1:80" },
		{ "any", "127.0.0.1:80" },
		{ "", "127.0.0.1:80" },
		{ "tcp\n", "127.0.0.1:80" },
		{ "tcp", "" },
		{ "tcp", ":80" },
		{ "tcp", "80" },
		{ "tcp", "127.0.0.1" },
		{ "tcp", "127.0.0.1:" },
		{ "tcp", "127.0.0.1:0" },
		{ "tcp", "127.0.0.1:65536" },
		{ "tcp", "127.0.0.1:70000" },
		{ "tcp", "127.0.0.1:-1" },
		{ "tcp", "127.0.0.1:+80" },
		{ "tcp", "127.0.0.1: 80" },
		{ "tcp", "127.0.0.1:80 " },
		{ "tcp", "127.0.0.1:080" },
		{ "tcp", "127.0.0.1:0x50" },
		{ "tcp", "127.0.0.1:999999999999" },
		{ "tcp", " 127.0.0.1:80" },
		{ "tcp", "127.1:80" },
		{ "tcp", "256.0.0.1:80" },
		{ "tcp", "127.0.0.1\x1b:80" },
		{ "tcp", "localhost:80" },
		{ "tcp", "not-an-ip:80" },
		{ "tcp", "::1:80" },
		{ "tcp", "[::1:80" },
		{ "tcp", "::1]:80" },
		{ "tcp", "[]:80" },
		{ "tcp", "[:80" },
		{ "tcp", "[127.0.0.1]:80" },
		{ "tcp", "[fe80::1%eth0]:80" },
		{ "tcp", "[::1]80" },
		{ "tcp", "[::1]:80:80" },
	};
	struct rule_listener l;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (rule_listener_parse(bad[i][0], bad[i][1], &l) != -EINVAL)
			fail_msg("%s %s was accepted", bad[i][0], bad[i][1]);
	}
}

static void the_nic_reaches_all_but_the_loopback(void **state)
{
	static const char *const direct[] = { "0.0.0.0:1", "[::]:1", "192.168.5.15:1",
					      "[fd00::15]:1" };
	static const char *const tunnel[] = { "127.0.0.1:1", "127.0.0.53:1", "[::1]:1",
					      "[::ffff:127.0.0.1]:1" };
	struct rule_listener l;

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(rule_listener_parse("tcp", direct[i], &l), 0);
		assert_true(rule_listener_is_direct(&l));
		assert_int_equal(rule_listener_parse("udp", tunnel[i], &l), 0);
		assert_false(rule_listener_is_direct(&l));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_rules_loopback_and_wildcard_are_forwarded),
		cmocka_unit_test(ssh_is_never_forwarded_on_whatever_address),
		cmocka_unit_test(a_rule_matches_its_address),
		cmocka_unit_test(v6_loopback_matches_a_v4_loopback_rule_but_not_the_reverse),
		cmocka_unit_test(a_wildcard_rule_is_strict_by_default_only_for_v4),
		cmocka_unit_test(an_ignore_of_one_address_leaves_a_wildcard_listener_alone),
		cmocka_unit_test(the_first_rule_wins_and_ranges_keep_their_distance),
		cmocka_unit_test(protocols_are_told_apart),
		cmocka_unit_test(sockets_and_reversed_rules),
		cmocka_unit_test(v6_loopback_is_added_only_when_no_host_address_was_given),
		cmocka_unit_test(a_type_of_none_forwards_nothing_unless_a_rule_says_how),
		cmocka_unit_test(a_forward_of_the_command_line_goes_first_and_direct),
		cmocka_unit_test(only_well_formed_listeners_are_accepted),
		cmocka_unit_test(the_nic_reaches_all_but_the_loopback),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
