/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The forwarding database of a bridge (IEEE 802.1D, section 7.9): behind which
 * port a station is, learnt from the sources of frames. Pure, of a fixed size:
 * the oldest of the entries that a new one could replace makes room. */
#include <stdint.h>

#include "netstack/addr.h"

#define FDB_SLOTS 1024U /* a power of 2 */
/* A station that was silent for so long is looked for again (802.1D's default). */
#define FDB_AGE_MS 300000U

struct fdb_entry {
	struct mac mac;
	void *port; /* NULL: free */
	uint64_t seen_ms;
};

struct fdb { /* all zero: empty */
	struct fdb_entry slots[FDB_SLOTS];
	uint64_t evicted; /* stations younger than FDB_AGE_MS that made room */
};

void fdb_learn(struct fdb *fdb, const struct mac *mac, void *port, uint64_t now_ms);
/* NULL when unknown. */
void *fdb_find(const struct fdb *fdb, const struct mac *mac, uint64_t now_ms);
/* Nobody is behind this port any more. */
void fdb_forget_port(struct fdb *fdb, const void *port);
