/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Which flow a client's datagram belongs to, for all UDP forwards together:
 * a hash table, and for the bounds two orders of last use, one of all entries
 * and one per forward. Pure: no sockets, no clock; entries are the user's. */
#include <stdint.h>

#include "netstack/addr.h"
#include "netstack/base/list.h"

struct client_key {
	const void *forward; /* which host port */
	struct ipaddr client;
	struct ipaddr host; /* the address that the client sent to */
	uint32_t scope_id;  /* of a link-local client */
	uint16_t client_port;
	uint16_t zero; /* no padding: keys are compared as bytes */
};

/* Embedded in what the user keeps per flow. */
struct client_entry {
	struct client_key key;
	struct client_entry *next; /* in its bucket */
	struct list in_all;	   /* client_table.by_use */
	struct list in_share;	   /* client_share.by_use */
};

/* One forward's part of the table. */
struct client_share {
	struct list by_use; /* client_entry.in_share, longest unused first */
	unsigned int n, max;
};

#define CLIENT_TABLE_BUCKETS 4096

struct client_table {
	struct list by_use; /* client_entry.in_all, longest unused first */
	unsigned int n, max;
	struct client_entry *buckets[CLIENT_TABLE_BUCKETS];
};

void client_table_init(struct client_table *table, unsigned int max);
void client_share_init(struct client_share *share, unsigned int max);

/* NULL if there is none. */
struct client_entry *client_table_find(const struct client_table *table,
				       const struct client_key *key);
/* The entry is in use now. */
void client_table_touch(struct client_table *table, struct client_share *share,
			struct client_entry *entry);
/* The entry to be removed before another one of this share may be added, the
 * longest unused one; NULL if there is room. */
struct client_entry *client_table_victim(const struct client_table *table,
					 const struct client_share *share);
/* entry->key is set, and not in the table yet; there is room. */
void client_table_add(struct client_table *table, struct client_share *share,
		      struct client_entry *entry);
void client_table_remove(struct client_table *table, struct client_share *share,
			 struct client_entry *entry);
