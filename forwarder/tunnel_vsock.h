/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The tunnel of kind "vsock": each connection and each client's datagrams have a
 * connection of the guest's vsock to themselves, to the agent in there, which speaks
 * raw_header.h. Who has said hello to the agent tells where. What listens in the guest
 * for reverse forwards is asked for by that connection to the agent. */
#include <stdint.h>

#include "forwarder/tunnel.h"

struct http2;
struct loop;
struct tunnel_vsock;
struct vsock;

struct tunnel_vsock_config {
	struct vsock *vsock;	     /* of the guest */
	unsigned int dial_wait_ms;   /* how long a dial waits for the agent */
	uint64_t *datagrams_dropped; /* counted there */
};

int tunnel_vsock_new(struct loop *loop, const struct tunnel_vsock_config *config,
		     struct tunnel_vsock **out);
/* After its streams and flows. Accepts NULL. */
void tunnel_vsock_free(struct tunnel_vsock *t);
struct tunnel *tunnel_vsock_base(struct tunnel_vsock *t);

struct tunnel_vsock_link {
	uint32_t port;	     /* where the agent takes raw flows */
	uint64_t features;   /* its RPC_FEATURE_* */
	struct http2 *http2; /* to it, until down */
};
void tunnel_vsock_up(struct tunnel_vsock *t, const struct tunnel_vsock_link *link);
/* It does not: CONNECTING, DOWN or FAILED. Flows that there are go on. */
void tunnel_vsock_down(struct tunnel_vsock *t, enum tunnel_state state, const char *error);
