/* SPDX-License-Identifier: Apache-2.0 */
/* Any text is either refused with at least one problem, or makes rules that keep
 * their promises, whatever the guest listens on. */
#include <stdlib.h>
#include <string.h>

#include "forwarder/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void check_rule(const struct rule *rule)
{
	check(rule->guest_first >= 1 && rule->guest_first <= rule->guest_last);
	check(!rule->guest_socket || rule->guest_socket[0] == '/');
	check(!rule->host_socket || rule->host_socket[0] == '/');
	check(rule->host_socket || rule->host_first >= 1);
	check(rule->host_socket ||
	      rule->guest_last - rule->guest_first == rule->host_last - rule->host_first);
}

static void check_decisions(const struct rule_set *set, const uint8_t *data, size_t size)
{
	struct rule_listener l = { .proto = FORWARD_TCP };

	for (unsigned int port = 1; port <= UINT16_MAX; port += 97) {
		struct rule_decision d;

		l.guest.port = (uint16_t)port;
		l.proto = port & 1 ? FORWARD_TCP : FORWARD_UDP;
		if (size >= sizeof(l.guest.addr.b) && port % 3 == 0)
			memcpy(l.guest.addr.b, data, sizeof(l.guest.addr.b));
		d = rule_decide(set, &l);
		check(!d.is_forward || d.host_socket || d.host.port >= 1);
		check(!d.is_forward || (d.via != RULE_VIA_NONE && d.via != RULE_VIA_DEFAULT));
		check(!d.is_forward || d.origin != RULE_ORIGIN_NONE);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct config_context context = { .socket_dir = "/run/netfwd/sock" };
	struct problems problems = { 0 };
	struct config *config = NULL;

	if (config_parse((const char *)data, size, &context, &config, &problems) < 0) {
		check(problems.n_errors > 0);
		return 0;
	}
	check(problems.n_errors == 0);
	for (unsigned int i = 0; i < config->set.n_rules; i++)
		check_rule(&config->set.rules[i]);
	check_decisions(&config->set, data, size);
	config_free(config);
	return 0;
}
