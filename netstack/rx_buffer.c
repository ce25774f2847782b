/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/rx_buffer.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* How many buffers wait for the next burst instead of going back to malloc. */
#define MAX_FREE 16

void rx_buffer_init(struct rx_buffer *rx, size_t size)
{
	buffer_pool_init(&rx->pool, size, MAX_FREE);
	rx->current = NULL;
	rx->used = 0;
}

void rx_buffer_deinit(struct rx_buffer *rx)
{
	buffer_unref(rx->current);
	rx->current = NULL;
	buffer_pool_deinit(&rx->pool);
}

int rx_buffer_prepare(struct rx_buffer *rx, size_t keep, size_t min_room)
{
	struct buffer *old = rx->current;
	struct buffer *fresh;

	assert(keep + min_room <= rx->pool.size && keep <= rx->used);
	if (old && old->n_refs == 1 && keep == 0)
		rx->used = 0;
	if (old && rx_buffer_room(rx) >= min_room)
		return 0;
	if (old && old->n_refs == 1) {
		memmove(old->data, rx_buffer_end(rx) - keep, keep);
		rx->used = keep;
		return 0;
	}
	fresh = buffer_take(&rx->pool);
	if (!fresh)
		return -ENOMEM;
	if (old)
		memcpy(fresh->data, rx_buffer_end(rx) - keep, keep);
	buffer_unref(old);
	rx->current = fresh;
	rx->used = keep;
	return 0;
}
