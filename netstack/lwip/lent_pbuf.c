/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/lwip/lent_pbuf.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "netstack/base/list.h"
#include "netstack/buffer.h"

#include <lwip/pbuf.h>

struct lent_pbuf {
	struct pbuf_custom custom;
	struct buffer *owner;
};

static void give_back(struct pbuf *p)
{
	struct lent_pbuf *lent = container_of(p, struct lent_pbuf, custom.pbuf);

	buffer_unref(lent->owner);
	free(lent);
}

static struct pbuf *lend_ref(struct buffer *owner, void *data, size_t len)
{
	struct lent_pbuf *lent;

	if (!owner) {
		struct pbuf *copy = pbuf_alloc(PBUF_RAW, (u16_t)len, PBUF_RAM);

		if (copy)
			memcpy(copy->payload, data, len);
		return copy;
	}
	lent = malloc(sizeof(*lent));
	if (!lent)
		return NULL;
	lent->owner = buffer_ref(owner);
	lent->custom.custom_free_function = give_back;
	return pbuf_alloced_custom(PBUF_RAW, (u16_t)len, PBUF_REF, &lent->custom, data, (u16_t)len);
}

bool lent_pbuf_is_scarce(const struct pbuf *p)
{
	const struct buffer_pool *pool;

	if (!(p->flags & PBUF_FLAG_IS_CUSTOM))
		return false;
	pool = container_of(p, const struct lent_pbuf, custom.pbuf)->owner->pool;
	return pool->is_borrowed || pool->n_used > pool->max_free;
}

struct pbuf *lent_pbuf_new(const struct frame *frame, const struct packet *packet,
			   struct buffer *owner)
{
	struct pbuf *head = NULL;

	assert(frame->len - ETH_HEADER_SIZE == packet->ip_len);
	for (int i = 0; i < frame->n_refs; i++) {
		size_t skip = i == 0 ? ETH_HEADER_SIZE : 0;
		struct pbuf *p = lend_ref(owner, (uint8_t *)frame->refs[i].iov_base + skip,
					  frame->refs[i].iov_len - skip);

		if (!p) {
			if (head)
				pbuf_free(head);
			return NULL;
		}
		if (head)
			pbuf_cat(head, p);
		else
			head = p;
	}
	return head;
}
