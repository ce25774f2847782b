/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/buffer.h"

#include <assert.h>
#include <stdlib.h>

void buffer_pool_init(struct buffer_pool *pool, size_t size, unsigned int max_free)
{
	*pool = (struct buffer_pool){ .size = size, .max_free = max_free };
}

void buffer_pool_deinit(struct buffer_pool *pool)
{
	assert(pool->n_used == 0);
	while (pool->free) {
		struct buffer *b = pool->free;

		pool->free = b->next_free;
		free(b);
	}
	pool->n_free = 0;
}

struct buffer *buffer_take(struct buffer_pool *pool)
{
	struct buffer *b = pool->free;

	if (b) {
		pool->free = b->next_free;
		pool->n_free--;
	} else {
		b = malloc(sizeof(*b) + pool->size);
		if (!b)
			return NULL;
		b->pool = pool;
	}
	b->next_free = NULL;
	b->n_refs = 1;
	pool->n_used++;
	return b;
}

void buffer_unref(struct buffer *b)
{
	struct buffer_pool *pool;

	if (!b || --b->n_refs > 0)
		return;
	pool = b->pool;
	if (pool->on_unused)
		pool->on_unused(b);
	pool->n_used--;
	if (pool->n_free >= pool->max_free) {
		free(b);
		return;
	}
	b->next_free = pool->free;
	pool->free = b;
	pool->n_free++;
}
