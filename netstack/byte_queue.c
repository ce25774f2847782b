/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/byte_queue.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_SIZE 16384U

struct block {
	struct list node; /* byte_queue.blocks */
	size_t start, end;
	uint8_t data[BLOCK_SIZE];
};

void byte_queue_init(struct byte_queue *q)
{
	list_init(&q->blocks);
	q->len = 0;
}

static struct block *from_node(struct list *node)
{
	return container_of(node, struct block, node);
}

static void drop_first(struct byte_queue *q)
{
	struct block *b = from_node(q->blocks.next);

	list_unlink(&b->node);
	free(b);
}

void byte_queue_clear(struct byte_queue *q)
{
	while (!list_empty(&q->blocks))
		drop_first(q);
	q->len = 0;
}

static size_t tail_room(const struct byte_queue *q)
{
	return list_empty(&q->blocks) ? 0 : BLOCK_SIZE - from_node(q->blocks.prev)->end;
}

static size_t total(const struct iovec *iov, int n)
{
	size_t len = 0;

	for (int i = 0; i < n; i++)
		len += iov[i].iov_len;
	return len;
}

/* Blocks with room for len more bytes, at the end of `blocks`. */
static int add_blocks(struct list *blocks, size_t len)
{
	for (size_t room = 0; room < len; room += BLOCK_SIZE) {
		struct block *b = malloc(sizeof(*b));

		if (!b)
			return -ENOMEM;
		b->start = b->end = 0;
		list_append(blocks, &b->node);
	}
	return 0;
}

static struct block *put(struct block *b, const uint8_t *from, size_t len)
{
	while (len) {
		size_t n = BLOCK_SIZE - b->end < len ? BLOCK_SIZE - b->end : len;

		if (n == 0) {
			b = from_node(b->node.next);
			continue;
		}
		memcpy(b->data + b->end, from, n);
		b->end += n;
		from += n;
		len -= n;
	}
	return b;
}

int byte_queue_append(struct byte_queue *q, const struct iovec *iov, int n, size_t skip)
{
	size_t len = total(iov, n) - skip, room = tail_room(q);
	struct byte_queue fresh;
	struct block *b;

	byte_queue_init(&fresh);
	if (len > room && add_blocks(&fresh.blocks, len - room) < 0) {
		byte_queue_clear(&fresh);
		return -ENOMEM;
	}
	b = from_node(list_empty(&q->blocks) ? fresh.blocks.next : q->blocks.prev);
	list_move_all(&q->blocks, &fresh.blocks);
	q->len += len;
	for (int i = 0; i < n && len; i++) {
		size_t gone = skip < iov[i].iov_len ? skip : iov[i].iov_len;

		b = put(b, (const uint8_t *)iov[i].iov_base + gone, iov[i].iov_len - gone);
		skip -= gone;
	}
	return 0;
}

int byte_queue_peek(const struct byte_queue *q, struct iovec *iov, int n)
{
	int filled = 0;

	list_for_each(node, &q->blocks) {
		struct block *b = from_node(node);

		if (filled == n)
			break;
		if (b->end > b->start)
			iov[filled++] = (struct iovec){ b->data + b->start, b->end - b->start };
	}
	return filled;
}

void byte_queue_consume(struct byte_queue *q, size_t len)
{
	assert(len <= q->len);
	q->len -= len;
	while (len) {
		struct block *b = from_node(q->blocks.next);
		size_t n = b->end - b->start < len ? b->end - b->start : len;

		b->start += n;
		len -= n;
		if (b->start == b->end)
			drop_first(q);
	}
}
