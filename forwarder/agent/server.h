/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The agent in the guest as its host sees it: gRPC over HTTP/2 (RFC 9113), on
 * connections that others have accepted. It opens sockets in the guest for the
 * host, and tells what the guest listens on, by netfwd's own service and by
 * Lima's GuestService (forwarder/rpc/). It opens no connection to the host, and
 * needs no privileges but those of the sockets. All on the loop thread. */
#include <stdbool.h>
#include <stdint.h>

#include "forwarder/agent/counters.h"
#include "forwarder/port_listener.h"

struct agent_server;
struct loop;
struct stream;

struct agent_server_config {
	/* 0 in each: as said here. */
	unsigned int max_connections; /* 16; the oldest goes when one more comes */
	unsigned int max_flows;	      /* 16384, of all connections; each has a descriptor */
	bool guest_service_only;      /* speaks as Lima's agent does, and no more */
};

/* 0 or -ENOMEM. */
int agent_server_new(struct loop *loop, const struct agent_server_config *config,
		     struct agent_server **out);
void agent_server_free(struct agent_server *server); /* accepts NULL */

/* Takes a connection of the host: authenticated, at its first byte of HTTP/2. It
 * is closed when it ends, or breaks the protocol. */
void agent_server_accept(struct agent_server *server, struct stream *host);

/* The same of a raw flow (forwarder/raw_header.h); the port where they come is told
 * to hosts that say hello from then on. */
void agent_server_accept_raw(struct agent_server *server, struct stream *host);
void agent_server_set_raw_port(struct agent_server *server, uint32_t port);

/* All that the guest listens on, sorted or not; what has changed is told to those
 * who asked. Copied. Not calling it means: nothing is known yet. */
void agent_server_set_listeners(struct agent_server *server, const struct port_listener *all,
				unsigned int n);
/* Call it before the first agent_server_set_listeners(), and when it changes. */
void agent_server_set_ephemeral(struct agent_server *server, struct port_range range);

const struct agent_server_counters *agent_server_counters(const struct agent_server *server);
unsigned int agent_server_n_connections(const struct agent_server *server);
