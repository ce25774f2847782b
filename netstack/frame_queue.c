/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/frame_queue.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "netstack/framing.h"

int frame_queue_init(struct frame_queue *q, size_t size)
{
	*q = (struct frame_queue){ .data = malloc(size), .size = size };
	return q->data ? 0 : -ENOMEM;
}

void frame_queue_deinit(struct frame_queue *q)
{
	free(q->data);
	q->data = NULL;
}

void frame_queue_reset(struct frame_queue *q)
{
	q->head = q->len = 0;
}

static size_t padding_of(const struct frame *f)
{
	return f->len < ETH_MIN_SIZE ? ETH_MIN_SIZE - f->len : 0;
}

size_t frame_queue_cost(const struct frame *f)
{
	return FRAMING_HEADER_SIZE + f->len + padding_of(f);
}

static void append(struct frame_queue *q, const void *data, size_t len)
{
	const uint8_t *from = data;
	size_t at = q->head + q->len;
	size_t first;

	if (at >= q->size)
		at -= q->size;
	first = len < q->size - at ? len : q->size - at;
	memcpy(q->data + at, from, first);
	memcpy(q->data, from + first, len - first);
	q->len += len;
}

void frame_queue_append(struct frame_queue *q, const struct frame *f)
{
	static const uint8_t zeros[ETH_MIN_SIZE];
	uint8_t header[FRAMING_HEADER_SIZE];

	assert(frame_queue_fits(q, f));
	if (q->len == 0)
		q->head = 0; /* in one piece, and in the cache */
	framing_put_header(header, f->len + padding_of(f));
	append(q, header, sizeof(header));
	for (int i = 0; i < f->n_refs; i++)
		append(q, f->refs[i].iov_base, f->refs[i].iov_len);
	append(q, zeros, padding_of(f));
}

int frame_queue_peek(const struct frame_queue *q, size_t offset, size_t len, struct iovec iov[2])
{
	size_t at = q->head + offset;
	size_t first;

	assert(offset + len <= q->len);
	if (at >= q->size)
		at -= q->size;
	first = len < q->size - at ? len : q->size - at;
	iov[0] = (struct iovec){ q->data + at, first };
	iov[1] = (struct iovec){ q->data, len - first };
	return len == first ? 1 : 2;
}

int frame_queue_peek_frame(const struct frame_queue *q, size_t offset, struct iovec iov[2],
			   size_t *next)
{
	uint8_t header[FRAMING_HEADER_SIZE];
	size_t len;

	if (offset == q->len)
		return 0;
	(void)frame_queue_peek(q, offset, sizeof(header), iov);
	memcpy(header, iov[0].iov_base, iov[0].iov_len);
	memcpy(header + iov[0].iov_len, iov[1].iov_base, iov[1].iov_len);
	len = get_be32(header);
	*next = offset + sizeof(header) + len;
	return frame_queue_peek(q, offset + sizeof(header), len, iov);
}

void frame_queue_drop(struct frame_queue *q, size_t len)
{
	assert(len <= q->len);
	q->head += len;
	if (q->head >= q->size)
		q->head -= q->size;
	q->len -= len;
}
