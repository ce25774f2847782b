/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/rule_types.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

/* The spellings of Go's strconv.ParseBool(), which Lima reads them with. */
static enum rule_switch parse_bool(const char *text)
{
	static const char *const on[] = { "1", "t", "T", "TRUE", "true", "True" };
	static const char *const off[] = { "0", "f", "F", "FALSE", "false", "False" };

	for (size_t i = 0; i < sizeof(on) / sizeof(on[0]); i++) {
		if (strcmp(text, on[i]) == 0)
			return RULE_SWITCH_ON;
		if (strcmp(text, off[i]) == 0)
			return RULE_SWITCH_OFF;
	}
	return RULE_SWITCH_DEFAULT;
}

static void check_one(const char *field, enum rule_via any, enum rule_via one,
		      struct problems *problems)
{
	if (any != RULE_VIA_DEFAULT && one != RULE_VIA_DEFAULT && any != one)
		problems_error(problems, field,
			       "conflicts with `portForwardTypes.any`: %s and %s; "
			       "give either tcp and udp, or any",
			       rule_via_name(one), rule_via_name(any));
}

static void check(const struct rule_types_source *s, struct problems *problems)
{
	static const char no_udp[] =
		"must not be ssh: port forward type \"ssh\" does not support "
		"protocol udp; allowed are grpc, direct, netns, vsock, auto and none";

	if (s->udp == RULE_VIA_SSH)
		problems_error(problems, "portForwardTypes.udp", "%s", no_udp);
	if (s->any == RULE_VIA_SSH)
		problems_error(problems, "portForwardTypes.any", "%s", no_udp);
	check_one("portForwardTypes.tcp", s->any, s->tcp, problems);
	check_one("portForwardTypes.udp", s->any, s->udp, problems);
}

static enum rule_via choose(enum rule_via one, enum rule_via any, enum rule_via otherwise)
{
	if (one != RULE_VIA_DEFAULT)
		return one;
	return any != RULE_VIA_DEFAULT ? any : otherwise;
}

static void apply_environment(const char *value, struct rule_types *types,
			      struct problems *problems)
{
	enum rule_switch is_ssh;

	if (!value || !*value)
		return;
	is_ssh = parse_bool(value);
	if (is_ssh == RULE_SWITCH_DEFAULT) {
		problems_error(problems, "",
			       "LIMA_SSH_PORT_FORWARDER must be true or false, "
			       "but is \"%.32s\"; it is deprecated: use "
			       "portForwardTypes",
			       value);
		return;
	}
	problems_warn(problems, "",
		      "LIMA_SSH_PORT_FORWARDER=%.32s is deprecated; use portForwardTypes: %s",
		      value, is_ssh == RULE_SWITCH_ON ? "{tcp: ssh, udp: none}" : "{any: grpc}");
	if (is_ssh == RULE_SWITCH_ON) {
		*types = (struct rule_types){ RULE_VIA_SSH, RULE_VIA_NONE };
		return;
	}
	if (types->tcp != RULE_VIA_NONE)
		types->tcp = RULE_VIA_GRPC;
	if (types->udp != RULE_VIA_NONE)
		types->udp = RULE_VIA_GRPC;
}

int rule_types_resolve(const struct rule_types_source *source, const struct rule_types_env *env,
		       struct rule_set *set, struct problems *problems)
{
	unsigned int errors_before = problems->n_errors;
	struct rule_types types = {
		.tcp = choose(source->tcp, source->any, RULE_TYPES_DEFAULT.tcp),
		.udp = choose(source->udp, source->any, RULE_TYPES_DEFAULT.udp),
	};

	check(source, problems);
	if (rule_find_switch_off(set, FORWARD_TCP))
		types.tcp = RULE_VIA_NONE;
	if (rule_find_switch_off(set, FORWARD_UDP))
		types.udp = RULE_VIA_NONE;
	apply_environment(env->ssh_port_forwarder, &types, problems);
	if (problems->n_errors != errors_before)
		return -EINVAL;
	set->types = types;
	return 0;
}

enum rule_switch rule_types_over_vsock(enum rule_switch configured,
				       const struct rule_types_env *env, struct problems *problems)
{
	enum rule_switch value;

	if (!env->ssh_over_vsock || !*env->ssh_over_vsock)
		return configured;
	value = parse_bool(env->ssh_over_vsock);
	if (value == RULE_SWITCH_DEFAULT) {
		problems_warn(problems, "",
			      "LIMA_SSH_OVER_VSOCK must be true or false, but is \"%.32s\": "
			      "ignored; it is deprecated: use ssh.overVsock",
			      env->ssh_over_vsock);
		return configured;
	}
	problems_warn(problems, "",
		      "LIMA_SSH_OVER_VSOCK=%.32s is deprecated; use ssh.overVsock: %s",
		      env->ssh_over_vsock, value == RULE_SWITCH_ON ? "true" : "false");
	return value;
}
