/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Reverse forwards through the agent: a Listen call (rpc/agent.proto) for each, made
 * again when it was lost. What is accepted in the guest comes under a number; how its
 * bytes get here is the tunnel's. All on the loop thread. */
#include <stdint.h>

#include "forwarder/tunnel.h"

struct agent_listens;
struct http2;
struct loop;

/* Connects to what the guest has accepted under that number. As tunnel_ops.dial(). */
typedef int agent_listens_dial_fn(void *arg, uint64_t accepted, struct stream **out);

/* 0 or -ENOMEM. */
int agent_listens_new(struct loop *loop, agent_listens_dial_fn *dial, void *arg,
		      struct agent_listens **out);
/* After its listeners. Accepts NULL. */
void agent_listens_free(struct agent_listens *all);

/* There is a connection to the agent, which can do that: RPC_FEATURE_*. */
void agent_listens_up(struct agent_listens *all, struct http2 *http2, uint64_t features);
void agent_listens_down(struct agent_listens *all); /* there is none */
/* Of an agent with these features: TUNNEL_LACKS_*. */
unsigned int agent_listens_lacks(uint64_t features);

/* As the functions of struct tunnel_ops. */
int agent_listens_tcp(struct agent_listens *all, const struct tunnel_place *guest,
		      const struct tunnel_accept *accept, void *arg, struct tunnel_listener **out);
int agent_listens_udp(struct agent_listens *all, const struct endpoint *guest,
		      const struct tunnel_accept *accept, void *arg, struct tunnel_listener **out);
void agent_listens_end(struct tunnel_listener *l);
