/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/neighbor.h"

#include <stddef.h>

#define WAYS 4U /* an address may be in any of these neighbouring slots */

static struct neighbor *bucket(struct neighbors *n, const struct ipaddr *ip)
{
	return &n->slots[hash_bytes(ip, sizeof(*ip)) & (NEIGHBOR_SLOTS - 1) & ~(WAYS - 1)];
}

static bool take_asked(struct neighbors *n, const struct ipaddr *ip)
{
	for (unsigned int i = 0; i < NEIGHBOR_MAX_ASKED; i++) {
		if (n->asked[i].tries && ipaddr_equal(&n->asked[i].ip, ip)) {
			n->asked[i].tries = 0;
			return true;
		}
	}
	return false;
}

bool neighbors_learn(struct neighbors *n, const struct ipaddr *ip, const struct mac *mac,
		     uint64_t now_ms)
{
	struct neighbor *b = bucket(n, ip), *slot = b;

	for (unsigned int i = 0; i < WAYS; i++) {
		if (ipaddr_equal(&b[i].ip, ip)) {
			b[i].mac = *mac;
			b[i].seen_ms = now_ms;
			return take_asked(n, ip);
		}
		if (b[i].seen_ms < slot->seen_ms)
			slot = &b[i];
	}
	*slot = (struct neighbor){ .ip = *ip, .mac = *mac, .seen_ms = now_ms };
	return take_asked(n, ip);
}

const struct mac *neighbors_find(const struct neighbors *n, const struct ipaddr *ip)
{
	const struct neighbor *b =
		&n->slots[hash_bytes(ip, sizeof(*ip)) & (NEIGHBOR_SLOTS - 1) & ~(WAYS - 1)];

	for (unsigned int i = 0; i < WAYS; i++) {
		if (ipaddr_equal(&b[i].ip, ip))
			return &b[i].mac;
	}
	return NULL;
}

bool neighbors_ask(struct neighbors *n, const struct ipaddr *ip)
{
	struct neighbor_asked *free_slot = NULL;

	for (unsigned int i = 0; i < NEIGHBOR_MAX_ASKED; i++) {
		struct neighbor_asked *a = &n->asked[i];

		if (a->tries == 0)
			free_slot = a;
		else if (ipaddr_equal(&a->ip, ip))
			return false;
	}
	if (!free_slot)
		return false;
	*free_slot = (struct neighbor_asked){ .ip = *ip, .tries = 1 };
	return true;
}

const struct ipaddr *neighbors_retry(struct neighbors *n, unsigned int *at, bool *gone)
{
	for (; *at < NEIGHBOR_MAX_ASKED; ++*at) {
		struct neighbor_asked *a = &n->asked[*at];

		if (a->tries == 0)
			continue;
		*gone = a->tries++ >= NEIGHBOR_MAX_TRIES;
		if (*gone)
			a->tries = 0;
		++*at;
		return &a->ip;
	}
	return NULL;
}
