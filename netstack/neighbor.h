/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Which MAC address a guest's IP address has: learnt from every packet of the
 * guest, asked for when needed. A pure table with a fixed size; the oldest
 * entry makes room. */
#include <stdbool.h>
#include <stdint.h>

#include "netstack/addr.h"

#define NEIGHBOR_SLOTS 1024U /* a power of 2 */
#define NEIGHBOR_MAX_ASKED 32U
#define NEIGHBOR_ASK_MS 300U
#define NEIGHBOR_MAX_TRIES 10U

struct neighbor {
	struct ipaddr ip; /* any (::) when the slot is free */
	struct mac mac;
	uint64_t seen_ms;
};

struct neighbor_asked {
	struct ipaddr ip;
	unsigned int tries; /* 0: the slot is free */
};

struct neighbors {
	struct neighbor slots[NEIGHBOR_SLOTS];
	struct neighbor_asked asked[NEIGHBOR_MAX_ASKED];
};

/* True when ip was waited for: packets to it may be sent now. */
bool neighbors_learn(struct neighbors *n, const struct ipaddr *ip, const struct mac *mac,
		     uint64_t now_ms);
/* NULL when unknown. */
const struct mac *neighbors_find(const struct neighbors *n, const struct ipaddr *ip);
/* Notes that ip is waited for; true when it is new, and should be asked for
 * now and again every NEIGHBOR_ASK_MS. */
bool neighbors_ask(struct neighbors *n, const struct ipaddr *ip);
/* Time to ask again: the next waiting address at or after *at, or NULL; *at
 * moves on. One that was asked NEIGHBOR_MAX_TRIES times is given up: *gone. */
const struct ipaddr *neighbors_retry(struct neighbors *n, unsigned int *at, bool *gone);
