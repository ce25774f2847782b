/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/udp_table.h"

#include <assert.h>
#include <string.h>

static_assert(sizeof(struct udp_key) == sizeof(void *) + 2 * 16 + 8, "a key has no padding");
static_assert((UDP_TABLE_BUCKETS & (UDP_TABLE_BUCKETS - 1)) == 0, "a power of two");

static unsigned int bucket_of(const struct udp_key *key)
{
	return hash_bytes(key, sizeof(*key)) & (UDP_TABLE_BUCKETS - 1);
}

void udp_table_init(struct udp_table *table, unsigned int max)
{
	memset(table->buckets, 0, sizeof(table->buckets));
	list_init(&table->by_use);
	table->n = 0;
	table->max = max;
}

void udp_share_init(struct udp_share *share, unsigned int max)
{
	list_init(&share->by_use);
	share->n = 0;
	share->max = max;
}

struct udp_entry *udp_table_find(const struct udp_table *table, const struct udp_key *key)
{
	struct udp_entry *entry = table->buckets[bucket_of(key)];

	while (entry && memcmp(&entry->key, key, sizeof(*key)) != 0)
		entry = entry->next;
	return entry;
}

void udp_table_touch(struct udp_table *table, struct udp_share *share, struct udp_entry *entry)
{
	list_unlink(&entry->in_all);
	list_append(&table->by_use, &entry->in_all);
	list_unlink(&entry->in_share);
	list_append(&share->by_use, &entry->in_share);
}

struct udp_entry *udp_table_victim(const struct udp_table *table, const struct udp_share *share)
{
	if (share->n >= share->max)
		return container_of(share->by_use.next, struct udp_entry, in_share);
	if (table->n >= table->max)
		return container_of(table->by_use.next, struct udp_entry, in_all);
	return NULL;
}

void udp_table_add(struct udp_table *table, struct udp_share *share, struct udp_entry *entry)
{
	struct udp_entry **bucket = &table->buckets[bucket_of(&entry->key)];

	assert(table->n < table->max && share->n < share->max);
	entry->next = *bucket;
	*bucket = entry;
	list_append(&table->by_use, &entry->in_all);
	list_append(&share->by_use, &entry->in_share);
	table->n++;
	share->n++;
}

void udp_table_remove(struct udp_table *table, struct udp_share *share, struct udp_entry *entry)
{
	struct udp_entry **at = &table->buckets[bucket_of(&entry->key)];

	while (*at != entry)
		at = &(*at)->next;
	*at = entry->next;
	list_unlink(&entry->in_all);
	list_unlink(&entry->in_share);
	table->n--;
	share->n--;
}
