/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/rule.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PORT_MAX 65535

static const struct ipaddr v4_loopback = IPADDR_V4(127, 0, 0, 1);
static const struct ipaddr v6_loopback = { { [15] = 1 } };

static const struct rule fallback = {
	.origin = RULE_ORIGIN_BUILTIN,
	.proto = RULE_PROTO_ANY,
	.guest_ip = IPADDR_V4(127, 0, 0, 1),
	.guest_first = 1,
	.guest_last = PORT_MAX,
	.host_ip = IPADDR_V4(127, 0, 0, 1),
	.host_first = 1,
	.host_last = PORT_MAX,
};

const char *rule_via_name(enum rule_via via)
{
	switch (via) {
	case RULE_VIA_DEFAULT:
		return "default";
	case RULE_VIA_SSH:
		return "ssh";
	case RULE_VIA_GRPC:
		return "grpc";
	case RULE_VIA_DIRECT:
		return "direct";
	case RULE_VIA_NETNS:
		return "netns";
	case RULE_VIA_VSOCK:
		return "vsock";
	case RULE_VIA_AUTO:
		return "auto";
	case RULE_VIA_NONE:
		return "none";
	}
	return NULL;
}

const char *rule_proto_name(enum rule_proto proto)
{
	switch (proto) {
	case RULE_PROTO_TCP:
		return "tcp";
	case RULE_PROTO_UDP:
		return "udp";
	case RULE_PROTO_DEFAULT:
	case RULE_PROTO_ANY:
		return "any";
	}
	return NULL;
}

struct rule rule_from_forward(const struct forward_spec *spec, unsigned int index)
{
	return (struct rule){
		.origin = RULE_ORIGIN_OPTION,
		.index = index,
		.proto = spec->proto == FORWARD_TCP ? RULE_PROTO_TCP : RULE_PROTO_UDP,
		.via = RULE_VIA_DIRECT,
		.guest_ip = spec->guest.addr,
		/* The NIC does not reach what listens on the guest's loopback:
		 * that is left to the rules. */
		.guest_ip_must_be_zero = true,
		.guest_first = spec->guest.port,
		.guest_last = (uint16_t)(spec->guest.port + spec->n_ports - 1),
		.host_ip = spec->host.addr,
		.is_host_ip_given = true,
		.host_first = spec->host.port,
		.host_last = (uint16_t)(spec->host.port + spec->n_ports - 1),
		.is_static = true,
	};
}

static bool proto_matches(enum rule_proto rule, enum forward_proto proto)
{
	switch (rule) {
	case RULE_PROTO_TCP:
		return proto == FORWARD_TCP;
	case RULE_PROTO_UDP:
		return proto == FORWARD_UDP;
	case RULE_PROTO_DEFAULT:
	case RULE_PROTO_ANY:
		return true;
	}
	return false;
}

static bool address_matches(const struct rule *rule, const struct ipaddr *guest)
{
	if (ipaddr_is_any(guest) || ipaddr_equal(guest, &rule->guest_ip))
		return true;
	/* One way only: a rule for ::1 does not match 127.0.0.1. */
	if (ipaddr_equal(guest, &v6_loopback) && ipaddr_equal(&rule->guest_ip, &v4_loopback))
		return true;
	return ipaddr_is_any(&rule->guest_ip) && !rule->guest_ip_must_be_zero;
}

static bool rule_matches(const struct rule *rule, const struct rule_listener *l)
{
	if (rule->guest_socket || rule->is_reverse || !proto_matches(rule->proto, l->proto))
		return false;
	if (l->guest.port < rule->guest_first || l->guest.port > rule->guest_last)
		return false;
	if (!address_matches(rule, &l->guest.addr))
		return false;
	/* What listens everywhere is reachable by other addresses as well: an
	 * ignore of one of them is not meant for it. */
	return !(rule->is_ignore && ipaddr_is_any(&l->guest.addr) &&
		 !ipaddr_is_any(&rule->guest_ip));
}

const struct rule *rule_find_switch_off(const struct rule_set *set, enum forward_proto proto)
{
	for (unsigned int i = 0; i < set->n_rules; i++) {
		const struct rule *rule = &set->rules[i];

		if (rule->origin == RULE_ORIGIN_OPTION)
			continue;
		if (!rule->is_ignore || rule->guest_first != 1 || rule->guest_last != PORT_MAX)
			return NULL;
		if (proto_matches(rule->proto, proto))
			return rule;
	}
	return NULL;
}

enum rule_via rule_via_of(const struct rule_set *set, const struct rule *rule,
			  enum forward_proto proto)
{
	/* SSH carries no UDP: such a rule says how its TCP ports go. */
	if (rule->via != RULE_VIA_DEFAULT && !(rule->via == RULE_VIA_SSH && proto == FORWARD_UDP))
		return rule->via;
	return proto == FORWARD_TCP ? set->types.tcp : set->types.udp;
}

static struct rule_decision refuse(const struct rule *by)
{
	return (struct rule_decision){ .origin = by ? by->origin : RULE_ORIGIN_NONE,
				       .index = by ? by->index : 0 };
}

static struct rule_decision apply(const struct rule_set *set, const struct rule *rule,
				  const struct rule_listener *l)
{
	struct rule_decision d = {
		.is_forward = true,
		.origin = rule->origin,
		.index = rule->index,
		.via = rule_via_of(set, rule, l->proto),
		.host_socket = rule->host_socket,
		.names_port = rule->guest_first != 1 || rule->guest_last != PORT_MAX,
	};

	if (rule->is_ignore)
		return refuse(rule);
	if (set->is_plain && !rule->is_static)
		return refuse(NULL);
	if (d.via == RULE_VIA_NONE)
		return refuse(rule_find_switch_off(set, l->proto));
	if (rule->host_socket)
		return d;
	d.host.addr = rule->host_ip;
	d.host.port = (uint16_t)(l->guest.port - rule->guest_first + rule->host_first);
	if (!rule->is_host_ip_given) {
		d.has_also = true;
		d.also = (struct endpoint){ v6_loopback, d.host.port };
	}
	return d;
}

/* Where we listen ourselves in the guest: forwarded, it would lead back to the host. */
static const struct rule *find_reverse(const struct rule_set *set, const struct rule_listener *l)
{
	for (unsigned int i = 0; i < set->n_rules; i++) {
		const struct rule *rule = &set->rules[i];

		if (rule->is_reverse && !rule->is_ignore && !rule->guest_socket &&
		    proto_matches(rule->proto, l->proto) &&
		    ipaddr_equal(&rule->guest_ip, &l->guest.addr) &&
		    l->guest.port >= rule->guest_first && l->guest.port <= rule->guest_last)
			return rule;
	}
	return NULL;
}

struct rule_decision rule_decide(const struct rule_set *set, const struct rule_listener *listener)
{
	const struct rule *reverse = find_reverse(set, listener);
	uint16_t port = listener->guest.port;

	if (port == 22 || (port == set->ssh_port && port != 0))
		return (struct rule_decision){ .origin = RULE_ORIGIN_BUILTIN };
	if (reverse)
		return (struct rule_decision){ .origin = reverse->origin,
					       .index = reverse->index,
					       .is_reverse = true };
	for (unsigned int i = 0; i < set->n_rules; i++) {
		if (rule_matches(&set->rules[i], listener))
			return apply(set, &set->rules[i], listener);
	}
	if (rule_matches(&fallback, listener))
		return apply(set, &fallback, listener);
	return (struct rule_decision){ .origin = RULE_ORIGIN_NONE };
}

bool rule_listener_is_direct(const struct rule_listener *listener)
{
	return !ipaddr_is_loopback(&listener->guest.addr);
}

/* Digits only, and no more of them than a port has. */
static int parse_port(const char *text, uint16_t *out)
{
	size_t len = strspn(text, "0123456789");
	long port;

	if (len == 0 || len > 5 || *text == '0' || text[len] != '\0')
		return -EINVAL;
	port = strtol(text, NULL, 10);
	if (port > PORT_MAX)
		return -EINVAL;
	*out = (uint16_t)port;
	return 0;
}

int rule_listener_parse(const char *proto, const char *address, struct rule_listener *out)
{
	const char *colon = strrchr(address, ':');
	bool has_brackets = *address == '[';
	struct rule_listener l;
	char text[ADDR_TEXT_SIZE];
	size_t len;

	if (strcmp(proto, "tcp") == 0)
		l.proto = FORWARD_TCP;
	else if (strcmp(proto, "udp") == 0)
		l.proto = FORWARD_UDP;
	else
		return -EINVAL;
	if (!colon || colon == address || parse_port(colon + 1, &l.guest.port) < 0)
		return -EINVAL;
	len = (size_t)(colon - address);
	if (len >= sizeof(text) || (has_brackets && address[len - 1] != ']'))
		return -EINVAL;
	(void)snprintf(text, sizeof(text), "%.*s", (int)(has_brackets ? len - 2 : len),
		       address + has_brackets);
	/* With brackets IPv6, a mapped IPv4 address included; without, IPv4. */
	if ((strchr(text, ':') != NULL) != has_brackets || ipaddr_parse(text, &l.guest.addr) < 0)
		return -EINVAL;
	*out = l;
	return 0;
}
