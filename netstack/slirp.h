/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* libslirp as the guests' default gateway, for what it is good at: ARP and
 * neighbour discovery, DHCPv6, router advertisements, ICMP echo, UDP to the
 * world. TCP never reaches it, and neither does a frame that was not checked:
 * slirp_gateway_input() takes checked packets only, and refuses the kinds
 * whose code in libslirp has had vulnerabilities (vendor/README.md). */
#include <stdbool.h>
#include <stdint.h>

#include "netstack/addr.h"
#include "netstack/frame.h"
#include "netstack/packet.h"
#include "netstack/stack_config.h"

struct loop;
struct slirp_gateway;

struct slirp_counters {
	uint64_t refused;  /* not for the gateway, or not let through */
	uint64_t too_many; /* new UDP or ICMP flows above the limit */
	uint64_t flows;	   /* sockets in being now */
};

struct slirp_owner {
	/* Whole Ethernet frames, in one piece, that may exceed the MTU. */
	void (*output)(void *arg, struct frame *frame);
	/* A guest's MAC, or NULL: libslirp itself remembers no more than 16, and asks
	 * again and again for those of more guests. */
	const struct mac *(*resolve)(void *arg, const struct ipaddr *ip);
};

int slirp_gateway_new(struct loop *loop, const struct stack_config *config,
		      const struct slirp_owner *owner, void *arg, struct slirp_gateway **out);
void slirp_gateway_free(struct slirp_gateway *gateway); /* accepts NULL */
void slirp_gateway_input(struct slirp_gateway *gateway, struct frame *frame,
			 const struct packet *packet);
const struct slirp_counters *slirp_gateway_counters(const struct slirp_gateway *gateway);
