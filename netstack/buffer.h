/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Reference-counted storage from a free list, so that the data path does not
 * call malloc per frame. One pool has one size of buffer. */
#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buffer;

struct buffer_pool {
	size_t size;	     /* bytes of data in each buffer */
	unsigned int n_used; /* taken and not yet given back */
	unsigned int n_free;
	/* More than this many free ones go back to malloc; when more are in
	 * use, holders of buffers should copy what they need and let go. */
	unsigned int max_free;
	/* Each buffer stands for memory of somebody who waits for it, as a guest's
	 * driver for its rings: holders copy what they keep for longer than the
	 * batch of frames it came in. */
	bool is_borrowed;
	/* If set, called when the last reference to a buffer has gone. */
	void (*on_unused)(struct buffer *buffer);
	struct buffer *free;
};

struct buffer {
	struct buffer_pool *pool;
	struct buffer *next_free;
	unsigned int n_refs;
	alignas(max_align_t) uint8_t data[];
};

void buffer_pool_init(struct buffer_pool *pool, size_t size, unsigned int max_free);
/* All buffers must have been given back. */
void buffer_pool_deinit(struct buffer_pool *pool);
/* A buffer with one reference, or NULL when memory is out. */
struct buffer *buffer_take(struct buffer_pool *pool);
static inline struct buffer *buffer_ref(struct buffer *b)
{
	b->n_refs++;
	return b;
}
void buffer_unref(struct buffer *b); /* accepts NULL */
