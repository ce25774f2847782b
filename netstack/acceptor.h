/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Takes connections from a listening socket, TCP or UNIX, a bounded number in each
 * round of the loop. Out of descriptors or memory it pauses: clients wait in the
 * kernel's backlog, and the loop sleeps. All on the loop thread. */
#include "netstack/addr.h"

struct acceptor;
struct loop;

struct acceptor_owner {
	/* A connection, the owner's; its descriptor is non-blocking. client is [::]:0
	 * with a UNIX socket. The owner may pause or free the acceptor. */
	void (*accepted)(void *arg, int fd, const struct endpoint *client);
	/* For the first of several pauses, error is why: -errno; then 0. Or NULL. */
	void (*paused)(void *arg, int error);
};

/* fd stays the owner's, open as long as the acceptor. 0 or -ENOMEM. */
int acceptor_new(struct loop *loop, int fd, const struct acceptor_owner *owner, void *arg,
		 struct acceptor **out);
void acceptor_start(struct acceptor *a);
void acceptor_pause(struct acceptor *a);
void acceptor_free(struct acceptor *a); /* accepts NULL */
