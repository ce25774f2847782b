/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* One TCP port of the host, or one UNIX socket, and the connections accepted on it. Each is joined
 * by a relay to a stream that dial() makes, so that the way to the guest is
 * chosen anew for every connection.
 *
 * new: bound, so the port is ours, but nobody can connect
 * start: listening and accepting
 * pause: the port stays ours, and whoever connects is refused; start goes on
 * stop: the port is free again, connections live on
 * retire: as stop, and the last connection to end says so
 * free: connections are reset
 *
 * Out of descriptors, accepting pauses: clients wait in the kernel's backlog
 * and the loop sleeps. All on the loop thread. */
#include <stdint.h>

#include "netstack/addr.h"

struct loop;
struct stream;
struct tcp_forward;

struct tcp_dialer {
	/* A stream to the guest, connected or connecting. On -errno the client
	 * is reset. */
	int (*dial)(void *arg, struct stream **out);
	void *arg;
};

struct tcp_forward_counters {
	uint64_t accepted;
	uint64_t dial_failed;			/* the client was reset at once */
	uint64_t refused;			/* nobody listens on the guest's port */
	uint64_t broken;			/* one side failed in another way */
	uint64_t closed;			/* both sides ended in order */
	uint64_t accept_pauses;			/* out of descriptors or memory */
	uint64_t to_guest_bytes, to_host_bytes; /* of the open ones too */
};

/* 0 or -errno of binding. Port 0 takes a free one. */
int tcp_forward_new(struct loop *loop, const struct endpoint *host, const struct tcp_dialer *dialer,
		    struct tcp_forward **out);
/* The same on a path; errors of unix_socket_bind(). Cannot be paused. */
int tcp_forward_new_unix(struct loop *loop, const char *path, const struct tcp_dialer *dialer,
			 struct tcp_forward **out);
/* 0 or -errno of listening. */
int tcp_forward_start(struct tcp_forward *f);
void tcp_forward_pause(struct tcp_forward *f);
void tcp_forward_stop(struct tcp_forward *f);
/* Connections are left, so there will be a last one: drained() frees f. */
void tcp_forward_retire(struct tcp_forward *f, void (*drained)(void *arg), void *arg);
void tcp_forward_free(struct tcp_forward *f); /* accepts NULL */

/* The endpoint that is bound, with the port that was chosen for 0. */
const struct endpoint *tcp_forward_host(const struct tcp_forward *f);
unsigned int tcp_forward_n_connections(const struct tcp_forward *f);
struct tcp_forward_counters tcp_forward_count(const struct tcp_forward *f);
