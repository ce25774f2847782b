/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* All guests of this netfwd: the only one; or those of a shared network, of which the
 * file's shared.guests have rules and ways of their own (guest.h), and the others are
 * reached by their address alone. One publisher for all of them, which connects each
 * publication by the ways of its guest. */
#include "forwarder/control_decode.h"
#include "forwarder/ways.h"

struct config;
struct guest;
struct guest_set;
struct loop;
struct loopbacks;
struct options;
struct publisher;
struct stack;
struct stack_config;
struct vsock;

struct guest_set_setup { /* what it points to outlives the set */
	struct stack *stack;
	const struct stack_config *network;
	const struct options *options;
	struct vsock *vsock; /* as struct guest_setup has these */
	int agent_fd;
};

/* 0 or -errno, logged. Publishes nothing yet. */
int guest_set_new(struct loop *loop, const struct guest_set_setup *setup, struct guest_set **out);
/* Publishes what the rules ask for, and follows what guests listen on; loopbacks
 * (NULL: there are none) are told of guests and of that. 0 or -errno, logged. */
int guest_set_start(struct guest_set *set, struct loopbacks *loopbacks);
/* Ends all connections. Accepts NULL. */
void guest_set_free(struct guest_set *set);

/* Other rules from now on; config lives until the next one. 0 or -ENOMEM. */
int guest_set_use(struct guest_set *set, const struct config *config);
/* What a guest listens on has changed; "": the only guest. -ENOENT: there is no such guest with rules of
 * its own; else as policy_change_listeners(). */
int guest_set_report(struct guest_set *set, const char *name, const struct control_report *report);

struct publisher *guest_set_publisher(struct guest_set *set);
/* A ways_find_fn of a set: "" is the only guest, and of a shared network whoever has the
 * address. */
struct ways *guest_set_find_ways(void *arg, const char *guest_name);
/* Every guest, the one without a name first. */
void guest_set_each(struct guest_set *set,
		    void (*fn)(void *arg, const char *name, struct guest *guest), void *arg);
