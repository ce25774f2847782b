/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Port security: what a guest may say about who it is. A port has one MAC
 * address, the first that it uses, and the IP addresses that it was given by
 * DHCP, or that it was the first to use. It speaks for nobody else: in no source
 * address, in no ARP and no neighbour discovery; and it is neither a DHCP server
 * nor a router.
 *
 * Pure; the addresses that DHCP gave away are asked for by a callback. */
#include <stdbool.h>
#include <stdint.h>

#include "netstack/addr.h"
#include "netstack/base/list.h"
#include "netstack/packet.h"

/* Also the name of a counter, "guard.spoofed-mac" and so on. */
enum guard_verdict {
	GUARD_OK,
	GUARD_SPOOFED_MAC,     /* a second MAC, or another port's */
	GUARD_SPOOFED_ADDRESS, /* somebody else's, or none of this network */
	GUARD_ARP_POISON,      /* an ARP that speaks for somebody else */
	GUARD_ND_POISON,       /* a neighbour discovery message that does */
	GUARD_ROGUE_DHCP,      /* from the port of a DHCP server */
	GUARD_ROGUE_ROUTER,    /* a router advertisement or a redirect */
	GUARD_BAD_FRAGMENT,    /* a first fragment that hides what it is (RFC 7113) */
	GUARD_N_VERDICTS,
};

const char *guard_verdict_name(enum guard_verdict verdict);

#define GUARD_ADDRESSES 24U /* of a port; the one not seen for longest makes room */
#define GUARD_MAX_RESERVED 10U

struct guard_address {
	struct ipaddr addr;
	uint64_t seen_ms;
};

/* One for each port, embedded by who has the ports; all zero before guard_add(). */
struct guard_port {
	struct list node; /* guard.ports */
	bool has_mac;
	struct mac mac;
	unsigned int n_addresses;
	struct guard_address addresses[GUARD_ADDRESSES];
};

struct guard_config {
	struct ipaddr network4; /* of prefix4_bits bits */
	unsigned int prefix4_bits;
	struct ipaddr prefix6; /* a /64 */
	/* the host's, which no guest may use; n_reserved of them */
	struct ipaddr reserved[GUARD_MAX_RESERVED];
	unsigned int n_reserved;
	/* Whose address this is by DHCP; NULL: nobody's. */
	const struct mac *(*leased_to)(void *arg, const struct ipaddr *addr);
	void *arg;
};

struct guard {
	struct guard_config config;
	struct list ports; /* guard_port.node */
	uint64_t refused[GUARD_N_VERDICTS];
};

void guard_init(struct guard *guard, const struct guard_config *config);
/* A guest has come to a port, or has gone; removing twice is harmless. */
void guard_add(struct guard *guard, struct guard_port *port);
void guard_remove(struct guard_port *port);

/* Whether the packet may pass: a checked one, or one that packet_parse() refused
 * with PACKET_OTHER_PROTOCOL alone. Notes the addresses
 * that it shows to be the port's. Counts what it refuses. */
enum guard_verdict guard_check(struct guard *guard, struct guard_port *port,
			       const struct packet *packet, uint64_t now_ms);

/* The port of the guest with this MAC, or NULL. */
const struct guard_port *guard_find(const struct guard *guard, const struct mac *mac);
