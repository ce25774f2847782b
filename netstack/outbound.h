/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A guest's TCP connections to the world. The host connects first; only then
 * the guest gets its SYN-ACK, so a guest sees what is really there: a refusal
 * is a refusal.
 *
 *   SYN ──> CONNECTING ──host connected──> ACCEPTING ──guest's ACK──> OPEN
 *               └──refused──> reset to the guest
 *
 * CONNECTING and ACCEPTING together are bounded: a flood of SYNs makes the
 * oldest of them give way, never an open connection. */
#include <stdint.h>

#include "netstack/addr.h"
#include "netstack/frame.h"
#include "netstack/packet.h"

struct engine;
struct loop;
struct outbound;
struct stream;

struct outbound_config {
	/* Where the host connects for a guest's destination. -EACCES: nowhere; 1: the
	 * connection is served here. */
	int (*translate)(void *arg, const struct endpoint *dst, struct endpoint *host);
	/* Takes such a connection once the guest has completed it. */
	void (*serve)(void *arg, const struct endpoint *dst, struct stream *guest);
	void *arg;
};

struct outbound_counters {
	uint64_t refused;	  /* by the host, or not allowed */
	uint64_t evicted;	  /* half-open, given up for newer ones */
	uint64_t expired;	  /* half-open, the guest never came back */
	uint64_t half_open, open; /* now */
};

int outbound_new(struct loop *loop, struct engine *engine, const struct outbound_config *config,
		 struct outbound **out);
void outbound_free(struct outbound *outbound); /* accepts NULL */
/* A guest's first SYN that the engine does not know. */
void outbound_syn(struct outbound *outbound, const struct frame *frame,
		  const struct packet *packet);
/* The engine has completed the guest's side. */
void outbound_accepted(struct outbound *outbound, const struct endpoint *guest,
		       const struct endpoint *dst, struct stream *stream);
const struct outbound_counters *outbound_counters(const struct outbound *outbound);
