/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Which flow a client's datagram belongs to, for all UDP forwards together:
 * a hash table, and for the bounds two orders of last use, one of all entries
 * and one per forward. Pure: no sockets, no clock; entries are the user's. */
#include <stdint.h>

#include "netstack/addr.h"
#include "netstack/base/list.h"

struct udp_key {
	const void *forward;   /* which host port */
	struct ipaddr client;
	struct ipaddr host;    /* the address that the client sent to */
	uint32_t scope_id;     /* of a link-local client */
	uint16_t client_port;
	uint16_t zero;	       /* no padding: keys are compared as bytes */
};

/* Embedded in what the user keeps per flow. */
struct udp_entry {
	struct udp_key key;
	struct udp_entry *next; /* in its bucket */
	struct list in_all;	/* udp_table.by_use */
	struct list in_share;	/* udp_share.by_use */
};

/* One forward's part of the table. */
struct udp_share {
	struct list by_use; /* udp_entry.in_share, longest unused first */
	unsigned int n, max;
};

#define UDP_TABLE_BUCKETS 4096

struct udp_table {
	struct list by_use; /* udp_entry.in_all, longest unused first */
	unsigned int n, max;
	struct udp_entry *buckets[UDP_TABLE_BUCKETS];
};

void udp_table_init(struct udp_table *table, unsigned int max);
void udp_share_init(struct udp_share *share, unsigned int max);

/* NULL if there is none. */
struct udp_entry *udp_table_find(const struct udp_table *table, const struct udp_key *key);
/* The entry is in use now. */
void udp_table_touch(struct udp_table *table, struct udp_share *share, struct udp_entry *entry);
/* The entry to be removed before another one of this share may be added, the
 * longest unused one; NULL if there is room. */
struct udp_entry *udp_table_victim(const struct udp_table *table, const struct udp_share *share);
/* entry->key is set, and not in the table yet; there is room. */
void udp_table_add(struct udp_table *table, struct udp_share *share, struct udp_entry *entry);
void udp_table_remove(struct udp_table *table, struct udp_share *share, struct udp_entry *entry);
