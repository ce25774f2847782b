/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/client_table.h"

#include <assert.h>
#include <string.h>

static_assert(sizeof(struct client_key) == sizeof(void *) + 2 * sizeof(struct ipaddr) + 8,
	      "a key has no padding");
static_assert((CLIENT_TABLE_BUCKETS & (CLIENT_TABLE_BUCKETS - 1)) == 0, "a power of two");

static unsigned int bucket_of(const struct client_key *key)
{
	return hash_bytes(key, sizeof(*key)) & (CLIENT_TABLE_BUCKETS - 1);
}

void client_table_init(struct client_table *table, unsigned int max)
{
	memset(table->buckets, 0, sizeof(table->buckets));
	list_init(&table->by_use);
	table->n = 0;
	table->max = max;
}

void client_share_init(struct client_share *share, unsigned int max)
{
	list_init(&share->by_use);
	share->n = 0;
	share->max = max;
}

struct client_entry *client_table_find(const struct client_table *table,
				       const struct client_key *key)
{
	struct client_entry *entry = table->buckets[bucket_of(key)];

	while (entry && memcmp(&entry->key, key, sizeof(*key)) != 0)
		entry = entry->next;
	return entry;
}

void client_table_touch(struct client_table *table, struct client_share *share,
			struct client_entry *entry)
{
	list_unlink(&entry->in_all);
	list_append(&table->by_use, &entry->in_all);
	list_unlink(&entry->in_share);
	list_append(&share->by_use, &entry->in_share);
}

struct client_entry *client_table_victim(const struct client_table *table,
					 const struct client_share *share)
{
	if (share->n >= share->max)
		return container_of(share->by_use.next, struct client_entry, in_share);
	if (table->n >= table->max)
		return container_of(table->by_use.next, struct client_entry, in_all);
	return NULL;
}

void client_table_add(struct client_table *table, struct client_share *share,
		      struct client_entry *entry)
{
	struct client_entry **bucket = &table->buckets[bucket_of(&entry->key)];

	assert(table->n < table->max && share->n < share->max);
	entry->next = *bucket;
	*bucket = entry;
	list_append(&table->by_use, &entry->in_all);
	list_append(&share->by_use, &entry->in_share);
	table->n++;
	share->n++;
}

void client_table_remove(struct client_table *table, struct client_share *share,
			 struct client_entry *entry)
{
	struct client_entry **at = &table->buckets[bucket_of(&entry->key)];

	while (*at != entry)
		at = &(*at)->next;
	*at = entry->next;
	list_unlink(&entry->in_all);
	list_unlink(&entry->in_share);
	table->n--;
	share->n--;
}
