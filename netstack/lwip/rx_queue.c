/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/lwip/rx_queue.h"

#include <stdint.h>
#include <stdlib.h>

#include "netstack/lwip/lent_pbuf.h"

#include <lwip/pbuf.h>

/* More pieces than a batch of frames brings; above that they are gathered. */
#define MAX_PIECES 1024U
#define LARGE_PIECE 16384U
#define MAX_PIECE 0xffffU /* the lengths of a pbuf */

static struct pbuf **item(const struct rx_queue *q, unsigned int i)
{
	return &q->items[(q->head + i) & (q->capacity - 1)];
}

bool rx_queue_append(struct rx_queue *q, struct pbuf *p)
{
	if (q->count == q->capacity) {
		unsigned int capacity = q->capacity ? q->capacity * 2 : 8;
		struct pbuf **items = calloc(capacity, sizeof(struct pbuf *));

		if (!items)
			return false;
		for (unsigned int i = 0; i < q->count; i++)
			items[i] = *item(q, i);
		free(q->items);
		q->items = items;
		q->head = 0;
		q->capacity = capacity;
	}
	*item(q, q->count++) = p;
	return true;
}

size_t rx_queue_peek(const struct rx_queue *q, struct iovec *iov, int n, int *n_filled)
{
	size_t len = 0;
	int filled = 0;

	for (unsigned int i = 0; i < q->count && filled < n; i++) {
		for (const struct pbuf *p = *item(q, i); p && filled < n; p = p->next) {
			if (p->len == 0)
				continue;
			iov[filled++] = (struct iovec){ p->payload, p->len };
			len += p->len;
		}
	}
	*n_filled = filled;
	return len;
}

static void consume_head(struct rx_queue *q, size_t len)
{
	struct pbuf *head = pbuf_free_header(*item(q, 0), (u16_t)len);

	while (head && head->len == 0) { /* headers only */
		struct pbuf *next = head->next;

		head->next = NULL;
		pbuf_free(head);
		head = next;
	}
	if (head) {
		*item(q, 0) = head;
		return;
	}
	q->head = (q->head + 1) & (q->capacity - 1);
	q->count--;
}

/* pbuf_free_header() leaves tot_len of later members right: each holds the
 * length from itself to the end. */
void rx_queue_consume(struct rx_queue *q, size_t len)
{
	while (len) {
		size_t n = (*item(q, 0))->tot_len;

		if (n > len)
			n = len;
		consume_head(q, n);
		len -= n;
	}
}

/* How many small pieces from the given one on make up one large piece. */
static unsigned int count_run(const struct rx_queue *q, unsigned int from)
{
	unsigned int n = 0, len = 0;

	while (from + n < q->count) {
		const struct pbuf *p = *item(q, from + n);

		if (p->tot_len >= LARGE_PIECE || len + p->tot_len > MAX_PIECE)
			break;
		len += p->tot_len;
		n++;
	}
	return n ? n : 1;
}

/* The pieces as one in memory of its own, in the place of the first; NULL when
 * memory is out, and they stay. */
static struct pbuf *gather(const struct rx_queue *q, unsigned int from, unsigned int n)
{
	struct pbuf *whole;
	unsigned int len = 0, at = 0;

	for (unsigned int i = 0; i < n; i++)
		len += (*item(q, from + i))->tot_len;
	whole = pbuf_alloc(PBUF_RAW, (u16_t)len, PBUF_RAM);
	if (!whole)
		return NULL;
	for (unsigned int i = 0; i < n; i++) {
		struct pbuf *p = *item(q, from + i);

		at += pbuf_copy_partial(p, (uint8_t *)whole->payload + at, p->tot_len, 0);
		pbuf_free(p);
	}
	return whole;
}

void rx_queue_settle(struct rx_queue *q)
{
	bool has_too_many = q->count > MAX_PIECES;
	unsigned int from = 0, to = 0;

	while (from < q->count) {
		unsigned int n = has_too_many ? count_run(q, from) : 1;
		struct pbuf *whole = NULL;

		if (n > 1 || lent_pbuf_is_scarce(*item(q, from)))
			whole = gather(q, from, n);
		if (whole) {
			*item(q, to++) = whole;
			from += n;
		} else {
			*item(q, to++) = *item(q, from++);
		}
	}
	q->count = to;
}

void rx_queue_clear(struct rx_queue *q)
{
	for (unsigned int i = 0; i < q->count; i++)
		pbuf_free(*item(q, i));
	free(q->items);
	*q = (struct rx_queue){ 0 };
}
