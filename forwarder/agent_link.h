/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The agent of one guest, as the configuration has it: a transport and the client
 * that uses it. */
#include "forwarder/agent_transport.h"
#include "forwarder/port_listener.h"

struct agent_client;
struct agent_link;
struct tunnel;

struct agent_link_setup {
	struct agent_transport_setup transport;
	port_watch_fn *listeners; /* what the guest listens on; may be NULL */
	void *arg;
};

/* 0 or -errno, logged. Connects by itself from then on. */
int agent_link_new(struct loop *loop, const struct agent_link_setup *setup,
		   struct agent_link **out);
/* After the users of its tunnel. Accepts NULL. */
void agent_link_free(struct agent_link *link);

/* The ports that the guest gives to UDP clients; known when listeners() is called;
 * 0, 0 with an agent that does not tell. */
struct port_range agent_link_ephemeral(const struct agent_link *link);
/* The link's own; freeing them does nothing. */
struct tunnel *agent_link_tunnel(struct agent_link *link);
struct tunnel *agent_link_raw_tunnel(struct agent_link *link); /* NULL: the guest has no vsock */
