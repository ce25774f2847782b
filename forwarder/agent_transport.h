/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* How to come to the agent in the guest: the other end of each of its transports
 * (agent/acceptor.h, agent/serial_device.h), as the `agent` section of the
 * configuration says. All on the loop thread. */
#include "netstack/addr.h"

struct agent_transport;
struct config_agent;
struct loop;
struct stack;
struct stream;
struct vsock;

#define AGENT_DEFAULT_PORT 2222 /* of AF_VSOCK and TCP */

struct agent_transport_setup { /* what it points to outlives the transport */
	const struct config_agent *config;
	struct vsock *vsock; /* the guest's, for that transport */
	/* For TCP: by which way, and where the guest is. */
	struct stack *stack;
	const struct ipaddr *guest; /* as it is at each connection; any: not known yet */
	/* For ssh: has a command run in the guest, as ssh_tunnel_run(). */
	int (*run)(void *arg, const char *command, struct stream **out);
	void *run_arg;
	/* For ssh: no agent can be brought, for the time being; after each try. */
	void (*unusable)(void *arg);
	void *unusable_arg;
	/* For serial without a path: our end of the line, taken; else -1. */
	int serial_fd;
};

/* 0 or -errno, logged: a token that cannot be read, for instance. Nothing is
 * connected yet. */
int agent_transport_new(struct loop *loop, const struct agent_transport_setup *setup,
			struct agent_transport **out);
/* After its streams. Accepts NULL. */
void agent_transport_free(struct agent_transport *transport);

/* A new connection, as struct agent_client_config wants it: the stream is
 * connecting, or -errno. On a serial line it breaks the one before. */
int agent_transport_connect(struct agent_transport *transport, struct stream **out);
/* "vsock port 2222", for logs; of the transport's memory. */
const char *agent_transport_name(const struct agent_transport *transport);
