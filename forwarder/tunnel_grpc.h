/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The tunnel of kind "grpc": each connection, each client's datagrams and each
 * reverse forward is a call to the guest's agent. Who connects to the agent tells
 * when there is a connection, and when not. */
#include <stdbool.h>
#include <stdint.h>

#include "forwarder/rpc/flow_stream.h"
#include "forwarder/tunnel.h"

struct http2;
struct loop;
struct tunnel_grpc;

struct tunnel_grpc_config {
	unsigned int dial_wait_ms;   /* how long a dial waits for a connection */
	uint64_t *datagrams_dropped; /* counted there */
};

int tunnel_grpc_new(struct loop *loop, const struct tunnel_grpc_config *config,
		    struct tunnel_grpc **out);
/* After its streams, flows and listeners. Accepts NULL. */
void tunnel_grpc_free(struct tunnel_grpc *t);
struct tunnel *tunnel_grpc_base(struct tunnel_grpc *t);

/* From now on flows are calls of this connection. */
struct tunnel_grpc_link {
	struct http2 *http2;
	enum flow_dialect dialect;
	uint64_t features; /* RPC_FEATURE_*; of FLOW_NETFWD */
};
void tunnel_grpc_up(struct tunnel_grpc *t, const struct tunnel_grpc_link *link);
/* There is none for new flows; those that there are go on for as long as their calls.
 * CONNECTING, DOWN or FAILED. */
void tunnel_grpc_down(struct tunnel_grpc *t, enum tunnel_state state, const char *error);
