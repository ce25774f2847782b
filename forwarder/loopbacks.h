/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Guests of a shared network by address, without a privilege: guest number N of the
 * network has 127.105.0.N on the host (all of 127.0.0.0/8 is the host's), where the
 * ports are served that it listens on. Those are known of namespaces, and of what is
 * reported for a guest over the control socket or by its agent; some may be named for
 * all guests. Of a guest with ways of its own (guest_set.h) these ports are all that
 * it listens on, its loopback's too; of any other those that its NIC reaches.
 *
 * A source of the publisher for each guest, "loopback:NAME". */
#include <stddef.h>
#include <stdint.h>

#include "forwarder/port_listener.h"
#include "forwarder/ways.h"
#include "netstack/addr.h"

struct control_report;
struct loop;
struct loopbacks;
struct publisher;
struct stack;

/* What one guest may listen on; more is left out. */
#define LOOPBACKS_MAX_LISTENERS 4096U
#define LOOPBACKS_MAX_PORTS 32U

struct loopbacks_config {
	struct stack *stack;
	struct publisher *publisher;
	ways_find_fn *find_ways;
	void *arg;		   /* all outlives it */
	struct ipaddr base;	   /* 127.105.0.0: the last 16 bits are the guest's */
	unsigned int prefix4_bits; /* of the guests' network, 16 at least */
	/* TCP ports of every guest, listening or not; n_ports of them */
	uint16_t ports[LOOPBACKS_MAX_PORTS];
	unsigned int n_ports;
};

int loopbacks_new(struct loop *loop, const struct loopbacks_config *config, struct loopbacks **out);
void loopbacks_free(struct loopbacks *loopbacks); /* accepts NULL */

/* Follows what a namespace listens on, whose guest has this MAC. -ENOENT: nobody has;
 * -errno, logged. */
int loopbacks_watch(struct loopbacks *loopbacks, const struct mac *mac, const char *netns);
/* All that a guest listens on. */
void loopbacks_set(struct loopbacks *loopbacks, const char *name, const struct port_listener *all,
		   unsigned int n);
/* What has changed in a guest, as reported: the removals come first. -ENOENT with
 * one line: there is no such guest; -ENOSPC, with nothing changed; -ENOMEM. */
int loopbacks_report(struct loopbacks *loopbacks, const char *name,
		     const struct control_report *report, char *error);
/* Guests have come, or have other addresses or names. */
void loopbacks_refresh(struct loopbacks *loopbacks);
