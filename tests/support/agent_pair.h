/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A host and the agent in its guest, in one process: the client, the server, and
 * socket pairs as the transport. Forwards of the host lead to sockets of "the
 * guest", which are those of this network too. Errors abort the test. */
#include <stdbool.h>
#include <stdint.h>

#include "forwarder/agent/server.h"
#include "forwarder/agent_client.h"
#include "netstack/vsock/vsock.h"

struct loop;
struct tcp_forward;
struct tunnel;
struct tunnel_vsock;
struct udp_forward;
struct udp_hub;

struct agent_pair {
	struct loop *loop;
	struct agent_server *server; /* NULL: connecting is refused */
	struct agent_client *client;
	struct tunnel *tunnel;
	bool is_raw;	    /* set it before: the tunnel is that of raw flows */
	struct vsock vsock; /* of raw flows: a socket pair for each */
	struct tunnel_vsock *raw;
	uint64_t raw_dropped;
	struct agent_server_config server_config;
	struct udp_hub *hub;
	unsigned int n_connects; /* tries */
	bool is_narrow;		 /* the transport takes little at a time, so it is often full */
	/* what listeners() has told last */
	struct port_listener *listeners;
	unsigned int n_listeners, n_told;
	int server_fd; /* of the last connection */
};

/* Waits for hello. */
void agent_pair_start(struct agent_pair *p, struct loop *loop);
void agent_pair_stop(struct agent_pair *p);
/* The agent dies, and its connections with it. */
void agent_pair_kill_agent(struct agent_pair *p);
void agent_pair_start_agent(struct agent_pair *p);

/* A port of 127.0.0.1 that leads to that one of the guest, through the tunnel. */
struct agent_pair_forward {
	struct agent_pair *pair;
	struct endpoint guest;
	struct tcp_forward *tcp;
	struct udp_forward *udp;
	uint16_t port;
};
void agent_pair_forward_tcp(struct agent_pair *p, uint16_t guest_port,
			    struct agent_pair_forward *f);
void agent_pair_forward_udp(struct agent_pair *p, uint16_t guest_port,
			    struct agent_pair_forward *f);
void agent_pair_forward_stop(struct agent_pair_forward *f);
