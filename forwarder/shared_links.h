/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The links of a network that many guests share: a listening socket for guests
 * that come and go, datagram sockets, namespaces, the host's interface, an
 * uplink. */
struct loop;
struct options;
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
/* The links themselves are the stack's. Accepts NULL. */
void shared_links_free(struct shared_links *links);
