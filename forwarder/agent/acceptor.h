/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Where the host connects to the agent. Each kind lets nobody in but the host:
 *   AF_VSOCK   by its CID, 2 (vsock(7))
 *   UNIX       by the mode of the socket file, 0600
 *   TCP        by its address, the default gateway's or the one named, and a token
 *              as its first line (forwarder/agent_token.h), within
 *              ACCEPTOR_PATIENCE_MS
 * All on the loop thread. */
#include <stdint.h>

#include "netstack/addr.h"

struct acceptor;
struct agent_token;
struct loop;
struct stream;

#define ACCEPTOR_PATIENCE_MS 5000
#define ACCEPTOR_MAX_WAITING 16 /* for their token; more are refused */

struct acceptor_counters {
	uint64_t accepted;
	uint64_t strangers;  /* not the host's address */
	uint64_t bad_tokens; /* or none in time */
};

/* The host has connected; the stream is the owner's. */
typedef void acceptor_fn(void *arg, struct stream *host);

struct acceptor_owner {
	acceptor_fn *accepted;
	void *arg;
};

struct acceptor_tcp {
	struct endpoint local;
	struct ipaddr from;		 /* any: the default gateway */
	const struct agent_token *token; /* is copied */
};

/* 0 or -errno. VMADDR_PORT_ANY: a port that is free. */
int acceptor_listen_vsock(struct loop *loop, unsigned int port, const struct acceptor_owner *owner,
			  struct acceptor **out);
int acceptor_listen_unix(struct loop *loop, const char *path, const struct acceptor_owner *owner,
			 struct acceptor **out);
int acceptor_listen_tcp(struct loop *loop, const struct acceptor_tcp *tcp,
			const struct acceptor_owner *owner, struct acceptor **out);
/* Of AF_VSOCK. */
unsigned int acceptor_vsock_port(const struct acceptor *acceptor);
void acceptor_free(struct acceptor *acceptor); /* accepts NULL */

const struct acceptor_counters *acceptor_counters(const struct acceptor *acceptor);
