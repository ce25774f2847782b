/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A way into one guest besides its NIC: somebody in there (its sshd, the agent,
 * or for a namespace the kernel) opens sockets for us, so that what listens on
 * the guest's own loopback is reached too, and its UNIX sockets.
 *
 * Whoever dials knows nothing of the kind of a tunnel. A tunnel lives as long as
 * the program has the guest: it connects, and connects again, by itself. All on
 * the loop thread. */
#include <stdbool.h>
#include <stdint.h>

#include "netstack/addr.h"
#include "netstack/udp_flow.h"

struct stream;
struct tunnel;
struct tunnel_listener;

/* Where something listens in the guest, be it a server that is dialled or a
 * reverse forward that we open. Addresses are the guest's, 0.0.0.0 and 127.0.0.1
 * among them. */
struct tunnel_place {
	struct endpoint endpoint; /* or */
	const char *path;	  /* of a UNIX socket; NULL: endpoint */
};

struct tunnel_accept {
	/* Somebody in the guest has connected: a stream for the owner. */
	void (*accepted)(void *arg, struct stream *guest);
	/* listen_udp(): a client in the guest has sent something, which waits for
	 * take_udp(), for a while. */
	void (*accepted_udp)(void *arg, uint64_t client);
	/* Whether it listens: 0, or -errno why not (yet). After it was lost, the
	 * tunnel opens it again by itself, and tells. */
	void (*state)(void *arg, int error);
};

enum tunnel_state {
	TUNNEL_DOWN,	   /* not usable; it tries again later */
	TUNNEL_CONNECTING, /* its first try, or again just after a loss */
	TUNNEL_UP,
	TUNNEL_FAILED, /* not usable, and trying again is of no use: see error */
};

struct tunnel_ops {
	/* As stack_dial_tcp(), to a port or path: the stream is the caller's at
	 * once. While CONNECTING, and in the first moments of DOWN after a loss,
	 * dials wait for a short, bounded time. -ENOTCONN: there is no hope, so
	 * another way may be tried. A refusal of the guest is -ECONNREFUSED of the
	 * stream. */
	int (*dial)(struct tunnel *t, const struct tunnel_place *guest, struct stream **out);
	/* As stack_udp_open(). NULL: this kind has no UDP. */
	int (*open_udp)(struct tunnel *t, const struct endpoint *guest,
			const struct udp_flow_owner *owner, void *arg, struct udp_flow **out);
	/* A reverse forward: listens in the guest until unlisten(). state() tells
	 * how it went, not before listen() has returned. NULL: has no such thing. */
	int (*listen)(struct tunnel *t, const struct tunnel_place *guest,
		      const struct tunnel_accept *accept, void *arg, struct tunnel_listener **out);
	void (*unlisten)(struct tunnel_listener *l);
	/* A reverse forward of UDP: a non-blocking socket bound in the guest, the
	 * caller's. 0 or -errno. NULL: this kind cannot. */
	int (*bind_udp)(struct tunnel *t, const struct endpoint *guest, int *fd);
	/* The same for those that cannot: as listen(), with a flow for each client that
	 * its owner frees, or hears of by gone(). NULL: this kind cannot. */
	int (*listen_udp)(struct tunnel *t, const struct endpoint *guest,
			  const struct tunnel_accept *accept, void *arg,
			  struct tunnel_listener **out);
	int (*take_udp)(struct tunnel *t, uint64_t client, const struct udp_flow_owner *owner,
			void *arg, struct udp_flow **out);
	/* Its streams, flows and listeners were ended before by their owners. */
	void (*free)(struct tunnel *t);
};

/* What those at the other end of a tunnel cannot do that its kind can. */
#define TUNNEL_LACKS_LISTEN 1U
#define TUNNEL_LACKS_LISTEN_UDP 2U

/* Embedded by the kinds of tunnels, which keep all of it up to date and then call
 * changed(): tunnel_set_state(). */
struct tunnel {
	const struct tunnel_ops *ops;
	const char *name; /* "ssh", "grpc", "netns": for logs and the status */
	enum tunnel_state state;
	unsigned int lacks;	    /* TUNNEL_LACKS_*; 0 while nobody knows */
	char error[160];	    /* why it is not up, one line; "": it is, or nobody knows */
	void (*changed)(void *arg); /* or NULL */
	void *changed_arg;
};

/* error: why, "" when it is up. */
void tunnel_set_state(struct tunnel *t, enum tunnel_state state, const char *error);
