/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/rule_types.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define UNSET RULE_VIA_DEFAULT
#define SSH RULE_VIA_SSH
#define GRPC RULE_VIA_GRPC
#define NONE RULE_VIA_NONE
#define DIRECT RULE_VIA_DIRECT
#define AUTO RULE_VIA_AUTO

struct row {
	struct rule_types_source source;
	unsigned int n_warnings;
	const char *env; /* LIMA_SSH_PORT_FORWARDER */
	struct rule_types expected;
};

static const struct row good_rows[] = {
	/* tcp, udp, any as written; warnings; the environment; tcp and udp */
	{ { UNSET, UNSET, UNSET }, 0, NULL, { SSH, GRPC } },
	{ { GRPC, UNSET, UNSET }, 0, NULL, { GRPC, GRPC } },
	{ { UNSET, NONE, UNSET }, 0, NULL, { SSH, NONE } },
	{ { UNSET, UNSET, GRPC }, 0, NULL, { GRPC, GRPC } },
	{ { UNSET, UNSET, NONE }, 0, NULL, { NONE, NONE } },
	{ { UNSET, UNSET, DIRECT }, 0, NULL, { DIRECT, DIRECT } },
	{ { AUTO, DIRECT, UNSET }, 0, NULL, { AUTO, DIRECT } },
	{ { GRPC, UNSET, GRPC }, 0, NULL, { GRPC, GRPC } },
	{ { NONE, NONE, NONE }, 0, NULL, { NONE, NONE } },
	{ { UNSET, UNSET, UNSET }, 1, "true", { SSH, NONE } },
	{ { GRPC, GRPC, UNSET }, 1, "1", { SSH, NONE } },
	{ { UNSET, UNSET, UNSET }, 1, "false", { GRPC, GRPC } },
	{ { NONE, UNSET, UNSET }, 1, "F", { NONE, GRPC } },
	{ { UNSET, NONE, UNSET }, 1, "0", { GRPC, NONE } },
	{ { UNSET, UNSET, UNSET }, 0, "", { SSH, GRPC } },
};

static void types_resolve(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(good_rows) / sizeof(good_rows[0]); i++) {
		const struct row *row = &good_rows[i];
		const struct rule_types_env env = { .ssh_port_forwarder = row->env };
		struct problems problems = { 0 };
		struct rule_set set = { 0 };

		assert_int_equal(rule_types_resolve(&row->source, &env, &set, &problems), 0);
		if (set.types.tcp != row->expected.tcp || set.types.udp != row->expected.udp)
			fail_msg("row %zu: %s and %s", i, rule_via_name(set.types.tcp),
				 rule_via_name(set.types.udp));
		assert_int_equal(problems.n_warnings, row->n_warnings);
	}
}

static void contradictions_are_errors(void **state)
{
	static const struct {
		struct rule_types_source source;
		unsigned int n;
		const char *env;
		const char *field, *text;
	} rows[] = {
		{ { UNSET, SSH, UNSET }, 1, NULL, "portForwardTypes.udp", "protocol udp" },
		{ { UNSET, UNSET, SSH }, 1, NULL, "portForwardTypes.any", "protocol udp" },
		{ { SSH, UNSET, GRPC }, 1, NULL, "portForwardTypes.tcp", "conflicts" },
		{ { UNSET, NONE, GRPC }, 1, NULL, "portForwardTypes.udp", "conflicts" },
		{ { SSH, SSH, GRPC }, 3, NULL, "portForwardTypes.udp", "protocol udp" },
		{ { UNSET, UNSET, UNSET }, 1, "maybe", "", "LIMA_SSH_PORT_FORWARDER" },
		{ { UNSET, UNSET, UNSET }, 1, "TrUe", "", "LIMA_SSH_PORT_FORWARDER" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct rule_types_env env = { .ssh_port_forwarder = rows[i].env };
		struct problems problems = { 0 };
		struct rule_set set = { 0 };

		assert_int_equal(rule_types_resolve(&rows[i].source, &env, &set, &problems),
				 -EINVAL);
		assert_int_equal(problems.n_errors, rows[i].n);
		assert_string_equal(problems.list[0].field, rows[i].field);
		assert_non_null(strstr(problems.list[0].text, rows[i].text));
	}
}

static struct rule ignore_all(enum rule_proto proto, unsigned int index)
{
	return (struct rule){
		.origin = RULE_ORIGIN_USER,
		.index = index,
		.proto = proto,
		.guest_ip = IPADDR_V4(127, 0, 0, 1),
		.guest_first = 1,
		.guest_last = 65535,
		.is_ignore = true,
	};
}

static void ignores_of_everything_at_the_head_switch_a_protocol_off(void **state)
{
	const struct rule_types_source source = { UNSET, UNSET, UNSET };
	const struct rule_types_env env = { 0 };
	struct rule rules[] = { ignore_all(RULE_PROTO_UDP, 0), ignore_all(RULE_PROTO_TCP, 1) };
	struct rule_set set = { .rules = rules, .n_rules = 2 };
	struct rule_listener l;
	struct problems problems = { 0 };
	struct rule_decision d;

	(void)state;
	assert_int_equal(rule_types_resolve(&source, &env, &set, &problems), 0);
	assert_int_equal(set.types.tcp, NONE);
	assert_int_equal(set.types.udp, NONE);
	/* Even a listener that such a rule does not match is not forwarded. */
	assert_int_equal(rule_listener_parse("tcp", "0.0.0.0:80", &l), 0);
	d = rule_decide(&set, &l);
	assert_false(d.is_forward);
	assert_int_equal(d.origin, RULE_ORIGIN_USER);
	assert_int_equal(d.index, 1);

	rules[0].guest_last = 65534; /* not everything: the head ends */
	assert_int_equal(rule_types_resolve(&source, &env, &set, &problems), 0);
	assert_int_equal(set.types.tcp, SSH);
	assert_int_equal(set.types.udp, GRPC);
}

static void the_environment_overrides_ssh_over_vsock_with_a_warning(void **state)
{
	static const struct {
		const char *env;
		enum rule_switch configured, expected;
		unsigned int n_warnings;
	} rows[] = {
		{ NULL, RULE_SWITCH_DEFAULT, RULE_SWITCH_DEFAULT, 0 },
		{ NULL, RULE_SWITCH_ON, RULE_SWITCH_ON, 0 },
		{ "", RULE_SWITCH_ON, RULE_SWITCH_ON, 0 },
		{ "false", RULE_SWITCH_ON, RULE_SWITCH_OFF, 1 },
		{ "1", RULE_SWITCH_OFF, RULE_SWITCH_ON, 1 },
		{ "perhaps", RULE_SWITCH_OFF, RULE_SWITCH_OFF, 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct rule_types_env env = { .ssh_over_vsock = rows[i].env };
		struct problems problems = { 0 };

		assert_int_equal(rule_types_over_vsock(rows[i].configured, &env, &problems),
				 rows[i].expected);
		assert_int_equal(problems.n_warnings, rows[i].n_warnings);
		assert_int_equal(problems.n_errors, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(types_resolve),
		cmocka_unit_test(contradictions_are_errors),
		cmocka_unit_test(ignores_of_everything_at_the_head_switch_a_protocol_off),
		cmocka_unit_test(the_environment_overrides_ssh_over_vsock_with_a_warning),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
