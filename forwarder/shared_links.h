/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The links of a network that many guests share: a listening socket for guests
 * that come and go, datagram sockets, namespaces, the host's interface, an
 * uplink. */
#include "forwarder/ways.h"

struct loop;
struct loopbacks;
struct options;
struct publisher;
struct shared_links;
struct stack;
struct stack_config;

struct shared_links_setup {
	struct stack *stack;
	const struct options *options;
	const struct stack_config *network; /* stack's */
};

/* Opens all of options->links; goes on after a failure, so that all are reported.
 * -errno, logged. */
int shared_links_new(struct loop *loop, const struct shared_links_setup *setup,
		     struct shared_links **out);
/* Has guests served on their loopback addresses, if that was asked for; what it is
 * given outlives it. -errno, logged. */
int shared_links_serve(struct shared_links *links, struct publisher *publisher,
		       ways_find_fn *find_ways, void *arg);
/* NULL: it was not asked for, or links is NULL. */
struct loopbacks *shared_links_loopbacks(const struct shared_links *links);
/* What a guest is called that is the namespace of this name, path or process. */
const char *shared_links_netns_name(const char *netns);
/* The links themselves are the stack's. Accepts NULL. */
void shared_links_free(struct shared_links *links);
