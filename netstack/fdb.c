/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/fdb.h"

#include <stdbool.h>
#include <stddef.h>

#define WAYS 4U /* a station may be in any of these neighbouring slots */

static unsigned int bucket(const struct mac *mac)
{
	return hash_bytes(mac, sizeof(*mac)) & (FDB_SLOTS - 1) & ~(WAYS - 1);
}

static bool is_live(const struct fdb_entry *e, uint64_t now_ms)
{
	return e->port && now_ms - e->seen_ms < FDB_AGE_MS;
}

void fdb_learn(struct fdb *fdb, const struct mac *mac, void *port, uint64_t now_ms)
{
	struct fdb_entry *b = &fdb->slots[bucket(mac)], *slot = b;

	for (unsigned int i = 0; i < WAYS; i++) {
		if (b[i].port && mac_equal(&b[i].mac, mac)) {
			slot = &b[i];
			break;
		}
		if (!b[i].port || (slot->port && b[i].seen_ms < slot->seen_ms))
			slot = &b[i];
	}
	if (is_live(slot, now_ms) && !mac_equal(&slot->mac, mac))
		fdb->evicted++;
	*slot = (struct fdb_entry){ *mac, port, now_ms };
}

void *fdb_find(const struct fdb *fdb, const struct mac *mac, uint64_t now_ms)
{
	const struct fdb_entry *b = &fdb->slots[bucket(mac)];

	for (unsigned int i = 0; i < WAYS; i++) {
		if (is_live(&b[i], now_ms) && mac_equal(&b[i].mac, mac))
			return b[i].port;
	}
	return NULL;
}

void fdb_forget_port(struct fdb *fdb, const void *port)
{
	for (unsigned int i = 0; i < FDB_SLOTS; i++) {
		if (fdb->slots[i].port == port)
			fdb->slots[i].port = NULL;
	}
}
