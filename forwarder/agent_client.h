/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The host's end of the agent: connects, and connects again, for as long as it
 * lives; says hello; learns what the guest listens on; and carries flows, as the
 * struct tunnel of the guest. It speaks netfwd's own service with netfwd-agent
 * and Lima's GuestService with Lima's agent. All on the loop thread.
 *
 * What the guest listens on is kept while there is no connection: not knowing is
 * not the same as closed. */
#include <stdint.h>

#include "forwarder/port_listener.h"
#include "forwarder/tunnel.h"

struct agent_client;
struct loop;
struct stream;
struct tunnel_vsock_link;

struct agent_client_config {
	/* A transport. Gives a stream at once, which may still be connecting, or
	 * -errno. Called for each try; the stream is the client's then. */
	int (*connect)(void *arg, struct stream **out);
	/* Never before agent_client_new() has returned. May be NULL. */
	port_watch_fn *listeners;
	/* How raw flows are taken from now on; NULL: they are not, which makes of their way
	 * that state, for that reason. May be NULL. */
	void (*raw)(void *arg, const struct tunnel_vsock_link *link, enum tunnel_state state,
		    const char *error);
	void *arg;
	/* 0 in each: as said here. */
	unsigned int keepalive_ms; /* 15000: of silence, before it asks for a sign of life */
	unsigned int patience_ms;  /* 10000: for that sign, for the answer to hello */
	unsigned int dial_wait_ms; /* 3000: a dial waits that long for a connection */
};

struct agent_client_counters {
	uint64_t connects;	    /* that came to hello */
	uint64_t losses;	    /* of a connection that had come to hello */
	uint64_t listeners_refused; /* reported with bad addresses, or too many */
	uint64_t datagrams_dropped; /* no room, or no connection */
};

/* 0 or -ENOMEM. Begins to connect by itself. */
int agent_client_new(struct loop *loop, const struct agent_client_config *config,
		     struct agent_client **out);
/* After the streams, flows and listeners of its tunnel. Accepts NULL. */
void agent_client_free(struct agent_client *client);

/* The client's own: never to be freed by ops->free(). */
struct tunnel *agent_client_tunnel(struct agent_client *client);
/* Known when listeners() is called; 0, 0 with an agent that does not tell. */
struct port_range agent_client_ephemeral(const struct agent_client *client);
const struct agent_client_counters *agent_client_counters(const struct agent_client *client);
