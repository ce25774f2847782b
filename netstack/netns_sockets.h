/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Sockets of another network namespace. A socket stays in the namespace that it was
 * made in, whoever uses it: a child process that has entered the namespace makes
 * them, this process connects and binds them. A few are kept in store, so that
 * hardly anybody has to wait for one.
 *
 * The store keeps the namespace alive. All on the loop thread. */
struct loop;
struct netns_sockets;

enum netns_socket_kind {
	NETNS_SOCKET_TCP4,
	NETNS_SOCKET_TCP6,
	NETNS_SOCKET_UDP4,
	NETNS_SOCKET_UDP6,
	NETNS_SOCKET_N_KINDS,
};

struct netns_sockets_owner {
	/* There are sockets again after -EAGAIN. */
	void (*arrived)(void *arg);
	/* The child has ended, with the store; it does not come back. */
	void (*lost)(void *arg);
};

/* netns as of netns_enter(). 0, with the store full, or -errno, and what failed is
 * logged. */
int netns_sockets_new(struct loop *loop, const char *netns, const struct netns_sockets_owner *owner,
		      void *arg, struct netns_sockets **out);
/* A new non-blocking socket, the caller's. -EAGAIN: none now, but more are on the way;
 * -ENOTCONN: the child has ended. */
int netns_sockets_take(struct netns_sockets *s, enum netns_socket_kind kind);
void netns_sockets_free(struct netns_sockets *s); /* accepts NULL */
