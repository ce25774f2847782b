/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/static_rules.h"

#include <stdio.h>

static void copy_path(char *to, const char *from)
{
	(void)snprintf(to, PUBLICATION_PATH_SIZE, "%s", from ? from : "");
}

static unsigned int n_ports(const struct rule *rule)
{
	return rule->guest_socket ? 1 : (unsigned int)(rule->guest_last - rule->guest_first) + 1;
}

static void list_forward(const struct rule_set *set, const struct rule *rule,
			 enum forward_proto proto, struct publication_list *list)
{
	struct publication item = {
		.proto = proto,
		.host.addr = rule->host_ip,
		.guest.addr = rule->guest_ip,
		.has_also = !rule->is_host_ip_given && !rule->host_socket,
		.is_static = true,
		.via = (int)rule_via_of(set, rule, proto),
		.rule_origin = (int)rule->origin,
		.rule_index = rule->index,
	};

	copy_path(item.host_socket, rule->host_socket);
	copy_path(item.guest_socket, rule->guest_socket);
	for (unsigned int i = 0; i < n_ports(rule); i++) {
		item.host.port = (uint16_t)(rule->host_first + i);
		item.guest.port = (uint16_t)(rule->guest_first + i);
		publication_list_add(list, &item);
	}
}

static void list_reverse(const struct rule_set *set, const struct rule *rule,
			 enum forward_proto proto, struct reverse_list *list)
{
	struct reverse_forward item = {
		.proto = proto,
		.guest.addr = rule->guest_ip,
		.host.addr = rule->host_ip,
		.via = rule_via_of(set, rule, proto),
		.rule_index = rule->index,
	};

	copy_path(item.host_socket, rule->host_socket);
	copy_path(item.guest_socket, rule->guest_socket);
	for (unsigned int i = 0; i < n_ports(rule); i++) {
		if (!rule->guest_socket) {
			item.host.port = (uint16_t)(rule->host_first + i);
			item.guest.port = (uint16_t)(rule->guest_first + i);
		}
		reverse_list_add(list, &item);
	}
}

/* A socket of the guest is not looked for: it is there, or it will be. */
static bool is_at_once(const struct rule_set *set, const struct rule *rule)
{
	if (rule->is_ignore || rule->origin == RULE_ORIGIN_OPTION)
		return false;
	return rule->is_static || (!set->is_plain && (rule->guest_socket || rule->is_reverse));
}

static bool has_proto(const struct rule_set *set, const struct rule *rule, enum forward_proto proto)
{
	bool is_socket = rule->guest_socket || rule->host_socket;

	if (rule_via_of(set, rule, proto) == RULE_VIA_NONE)
		return false;
	if (proto == FORWARD_TCP)
		return rule->proto != RULE_PROTO_UDP || rule->guest_socket;
	return rule->proto != RULE_PROTO_TCP && !is_socket;
}

void static_rules_list(const struct rule_set *set, struct publication_list *forwards,
		       struct reverse_list *reverse)
{
	static const enum forward_proto protos[] = { FORWARD_TCP, FORWARD_UDP };

	for (unsigned int i = 0; i < 2 * set->n_rules; i++) {
		const struct rule *rule = &set->rules[i / 2];
		enum forward_proto proto = protos[i % 2];

		if (!is_at_once(set, rule) || !has_proto(set, rule, proto))
			continue;
		if (rule->is_reverse)
			list_reverse(set, rule, proto, reverse);
		else
			list_forward(set, rule, proto, forwards);
	}
}
