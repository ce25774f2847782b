/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* One guest: the ways into it, whoever tells what it listens on, and the rules that
 * make forwards of that. Where its frames come from is app_link.h's. */
#include "forwarder/config.h"
#include "forwarder/port_listener.h"

struct guest;
struct loop;
struct options;
struct policy;
struct publisher;
struct stack;
struct stack_config;
struct vsock;
struct ways;

struct guest_setup { /* what it points to outlives the guest */
	struct stack *stack;
	struct publisher *publisher; /* or is freed before the guest, with its forwards */
	/* guest4 is the guest's address, which may change; any: not known yet */
	const struct stack_config *network;
	const struct options *options;
	const char *name;    /* of a shared network; "": the only guest */
	struct vsock *vsock; /* NULL: the guest has none */
	/* Told what it listens on, after the rules; may be NULL. */
	port_watch_fn *listeners;
	void *arg;
	int agent_fd; /* our end of the agent's port that QEMU has; or -1; the guest's */
};

/* With all ways there are, which connect by themselves; publishes nothing yet. 0 or
 * -errno, logged. */
int guest_new(struct loop *loop, const struct guest_setup *setup, struct guest **out);
/* Publishes what the rules ask for, and follows what the guest listens on. 0 or
 * -errno, logged. */
int guest_start(struct guest *guest);
/* Other rules are in force. */
void guest_reloaded(struct guest *guest);
void guest_free(struct guest *guest); /* accepts NULL */

struct policy *guest_policy(const struct guest *guest);
struct ways *guest_ways(const struct guest *guest);

/* The agent that the options come to: with SSH alone it is brought along. NULL: none. */
const struct config_agent *guest_agent(const struct options *options);
