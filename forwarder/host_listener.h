/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The sockets of one place on the host: a port, with ::1 beside it when that is
 * wanted and can be had, or a path. Knows nothing of guests: every connection
 * and every UDP flow is dialled by its user.
 *
 * closed -> open -> paused -> open ... -> closed. Paused, the port stays ours
 * and refuses. TCP connections survive both, and even the listener itself.
 * All on the loop thread. */
#include "forwarder/publication.h"
#include "forwarder/tcp_forward.h"
#include "forwarder/udp_forward.h"

struct host_listener;
struct host_listeners;

struct host_place {
	enum forward_proto proto;
	struct endpoint host;
	char path[PUBLICATION_PATH_SIZE]; /* "": host */
};
bool host_place_equal(const struct host_place *a, const struct host_place *b);

/* What all listeners share. free() resets the connections that outlived their
 * listener; it comes after the listeners and accepts NULL. */
int host_listeners_new(struct loop *loop, struct host_listeners **out);
void host_listeners_free(struct host_listeners *all);

struct host_dialers {
	struct tcp_dialer tcp;
	struct udp_dialer udp;
};

struct host_counters {
	unsigned int open;	 /* connections and UDP flows */
	uint64_t total;		 /* of both */
	uint64_t to_guest_bytes; /* since the listener was made */
	uint64_t to_host_bytes;
};

/* Closed. 0 or -ENOMEM. */
int host_listener_new(struct host_listeners *all, const struct host_place *place,
		      const struct host_dialers *dialers, struct host_listener **out);
/* From closed or paused. 0, or -errno, and it is closed. */
int host_listener_open(struct host_listener *l);
/* A path cannot be paused and is closed. */
void host_listener_pause(struct host_listener *l);
void host_listener_close(struct host_listener *l);
void host_listener_free(struct host_listener *l); /* accepts NULL */

/* ::1 beside an open listener; 0 when it is open already. */
int host_listener_open_also(struct host_listener *l);
void host_listener_close_also(struct host_listener *l);
bool host_listener_has_also(const struct host_listener *l);

void host_listener_count(const struct host_listener *l, struct host_counters *out);
