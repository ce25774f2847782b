/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Where a link reads to. Reads are packed one behind the other into large
 * buffers, so that a frame that somebody keeps a reference on pins a share of
 * a buffer and not a whole one. Bytes that were handed out are never written
 * again while they are referenced. A buffer that nobody has kept is used again
 * from its start, while it is still in the cache. */
#include <stddef.h>
#include <stdint.h>

#include "netstack/buffer.h"

struct rx_buffer {
	struct buffer_pool pool;
	struct buffer *current; /* frames in it have it as their owner */
	size_t used;		/* bytes of current that were read so far */
};

void rx_buffer_init(struct rx_buffer *rx, size_t size);
/* All references must have been given back. */
void rx_buffer_deinit(struct rx_buffer *rx);

/* Makes room for at least min_room more bytes behind the last `keep` ones (a
 * frame that is not complete yet), which move if they must. The next read goes
 * to rx_buffer_end(), up to rx_buffer_room() bytes. keep + min_room must not be
 * more than the size. -ENOMEM. */
int rx_buffer_prepare(struct rx_buffer *rx, size_t keep, size_t min_room);

static inline uint8_t *rx_buffer_end(const struct rx_buffer *rx)
{
	return rx->current->data + rx->used;
}

static inline size_t rx_buffer_room(const struct rx_buffer *rx)
{
	return rx->pool.size - rx->used;
}

static inline void rx_buffer_commit(struct rx_buffer *rx, size_t len)
{
	rx->used += len;
}
