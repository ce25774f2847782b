/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The rules at work: what the guest listens on and the rules are put together by
 * rule_decide(), and what comes out is handed to the publisher as a whole. Static
 * rules are published from the start.
 *
 * Sources of the publisher: "config" (static rules) and "guest:default" (what the
 * guest's listeners come to); of a guest of a shared network "config:NAME" and
 * "guest:NAME". `expose` has its own, exposed.h. */
#include <stddef.h>

#include "forwarder/config.h"
#include "forwarder/options.h"
#include "forwarder/rule.h"

struct loop;
struct policy;
struct publisher;
struct reverses;
struct ways;

struct policy_setup { /* all outlives the policy */
	struct ways *ways;
	struct publisher *publisher; /* or is freed before it, with all that is published */
	const struct options *options;
	const char *guest_name; /* "": the only one */
};

/* 0 or -ENOMEM. Publishes nothing before policy_start(). */
int policy_new(struct loop *loop, const struct policy_setup *setup, struct policy **out);
void policy_free(struct policy *policy); /* accepts NULL */
/* 0 or -ENOMEM. */
int policy_start(struct policy *policy);

/* All that the guest listens on. */
void policy_set_listeners(struct policy *policy, const struct rule_listener *listeners, size_t n);
/* What has changed: the removals come first. 0, or -ENOSPC for more than
 * POLICY_MAX_LISTENERS, with nothing changed. */
#define POLICY_MAX_LISTENERS 100000U
int policy_change_listeners(struct policy *policy, const struct rule_listener *added,
			    size_t n_added, const struct rule_listener *removed, size_t n_removed);
/* Other rules from now on; config stays the caller's and must live until the
 * next one. 0 or -ENOMEM, with the old ones in force. */
int policy_use(struct policy *policy, const struct config *config);

/* The ports that the guest's system gives to clients (ip_local_port_range), where it
 * is known: UDP sockets there are those of clients, and not forwarded unless a rule
 * names the port. By default Linux's own. */
void policy_set_client_ports(struct policy *policy, uint16_t first, uint16_t last);
/* Whether a rule names UDP ports among those, so that they are worth looking at. */
bool policy_wants_client_ports(const struct policy *policy);

/* What the guest listens on, n of them. */
const struct rule_listener *policy_listeners(const struct policy *policy, size_t *n);
struct reverses *policy_reverses(struct policy *policy);
