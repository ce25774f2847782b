/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/ssh/ssh_channel.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/ssh/ssh_memory.h"

/* A guest that sends single bytes must not cost a hundred for each of them: what is
 * smaller than this is gathered when more waits before it. */
#define SMALL 4096U
#define GATHER_SIZE 16384U
/* The worker hears of what was consumed in steps of this. */
#define RETURN_STEP (SSH_WINDOW / 8U)

struct chunk {
	struct list node; /* ssh_channel.chunks */
	uint8_t *memory;  /* owned */
	const uint8_t *bytes;
	size_t len;
	size_t room; /* behind bytes + len; for gathering */
};

struct ssh_channel *ssh_channel_new(void)
{
	struct ssh_channel *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	ssh_letter_init(&c->to_worker, SSH_LETTER_CHANNEL);
	ssh_letter_init(&c->to_loop, SSH_LETTER_CHANNEL);
	pthread_mutex_init(&c->lock, NULL);
	list_init(&c->chunks);
	c->n_ends = 2;
	return c;
}

static void free_chunk(struct chunk *chunk)
{
	ssh_memory_free(chunk->memory);
	free(chunk);
}

static void free_chunks(struct list *chunks)
{
	struct list *node;

	while ((node = list_take(chunks)))
		free_chunk(container_of(node, struct chunk, node));
}

void ssh_channel_release(struct ssh_channel *c)
{
	int left;

	pthread_mutex_lock(&c->lock);
	left = --c->n_ends;
	pthread_mutex_unlock(&c->lock);
	if (left > 0)
		return;
	free_chunks(&c->chunks);
	free(c->ring);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

/* Why nothing can be written, or 0. Who hears of an error resets the other side,
 * so that has to wait until what the guest sent before is read. Under the lock. */
static int obstacle(const struct ssh_channel *c)
{
	if (!c->error)
		return c->is_open ? 0 : -EAGAIN;
	return list_empty(&c->chunks) ? c->error : -EAGAIN;
}

static ssize_t free_room(struct ssh_channel *c, struct iovec iov[static 2], int *n)
{
	size_t start = c->n_put % SSH_RING_SIZE;
	size_t room = SSH_RING_SIZE - (size_t)(c->n_put - c->n_sent);
	size_t first = SSH_RING_SIZE - start;

	if (room == 0) {
		c->is_loop_waiting = true;
		return -EAGAIN;
	}
	if (first > room)
		first = room;
	iov[0] = (struct iovec){ c->ring + start, first };
	iov[1] = (struct iovec){ c->ring, room - first };
	*n = room > first ? 2 : 1;
	return (ssize_t)room;
}

ssize_t ssh_channel_reserve(struct ssh_channel *c, struct iovec iov[static 2], int *n)
{
	ssize_t r;

	*n = 0;
	pthread_mutex_lock(&c->lock);
	r = obstacle(c);
	if (r == 0 && !c->ring) {
		c->ring = malloc(SSH_RING_SIZE);
		r = c->ring ? 0 : -ENOMEM;
	}
	if (r == 0)
		r = free_room(c, iov, n);
	pthread_mutex_unlock(&c->lock);
	return r;
}

void ssh_channel_commit(struct ssh_channel *c, size_t len)
{
	pthread_mutex_lock(&c->lock);
	c->n_put += len;
	assert(c->n_put - c->n_sent <= SSH_RING_SIZE);
	pthread_mutex_unlock(&c->lock);
}

/* With nothing to read: what that means. Under the lock. */
static ssize_t nothing_to_read(const struct ssh_channel *c)
{
	if (c->has_ended)
		return 0;
	return c->error ? c->error : -EAGAIN;
}

ssize_t ssh_channel_peek(struct ssh_channel *c, struct iovec *iov, int n, int *n_filled)
{
	ssize_t sum = 0;

	*n_filled = 0;
	pthread_mutex_lock(&c->lock);
	list_for_each(node, &c->chunks) {
		const struct chunk *chunk = container_of(node, struct chunk, node);

		if (*n_filled == n)
			break;
		iov[(*n_filled)++] = (struct iovec){ (void *)(uintptr_t)chunk->bytes, chunk->len };
		sum += (ssize_t)chunk->len;
	}
	if (*n_filled == 0)
		sum = nothing_to_read(c);
	pthread_mutex_unlock(&c->lock);
	return sum;
}

/* Takes what was consumed as a whole out of the list, and the start of one. */
static void take_consumed(struct ssh_channel *c, size_t len, struct list *gone)
{
	while (len > 0) {
		struct chunk *chunk = container_of(c->chunks.next, struct chunk, node);

		assert(!list_empty(&c->chunks));
		if (chunk->len > len) {
			chunk->bytes += len;
			chunk->len -= len;
			return;
		}
		len -= chunk->len;
		list_unlink(&chunk->node);
		list_append(gone, &chunk->node);
	}
}

unsigned int ssh_channel_consume(struct ssh_channel *c, size_t len)
{
	struct list gone;
	unsigned int tell = 0;

	list_init(&gone);
	pthread_mutex_lock(&c->lock);
	take_consumed(c, len, &gone);
	c->n_returned += len;
	if (c->n_returned >= RETURN_STEP)
		tell |= SSH_TELL_WORKER;
	if (c->error && list_empty(&c->chunks))
		tell |= SSH_TELL_LOOP;
	pthread_mutex_unlock(&c->lock);
	free_chunks(&gone);
	return tell;
}

void ssh_channel_shut(struct ssh_channel *c)
{
	pthread_mutex_lock(&c->lock);
	c->is_shut = true;
	pthread_mutex_unlock(&c->lock);
}

void ssh_channel_leave(struct ssh_channel *c, enum ssh_leave how)
{
	pthread_mutex_lock(&c->lock);
	c->leave = how;
	pthread_mutex_unlock(&c->lock);
}

int ssh_channel_status(struct ssh_channel *c)
{
	int r;

	pthread_mutex_lock(&c->lock);
	r = obstacle(c);
	pthread_mutex_unlock(&c->lock);
	return r;
}

bool ssh_channel_is_undecided(struct ssh_channel *c)
{
	bool is_undecided;

	pthread_mutex_lock(&c->lock);
	is_undecided = !c->is_open && !c->error;
	pthread_mutex_unlock(&c->lock);
	return is_undecided;
}

bool ssh_channel_take_prohibited(struct ssh_channel *c)
{
	bool is_prohibited;

	pthread_mutex_lock(&c->lock);
	is_prohibited = c->is_prohibited;
	c->is_prohibited = false;
	pthread_mutex_unlock(&c->lock);
	return is_prohibited;
}

void ssh_channel_prohibited(struct ssh_channel *c)
{
	pthread_mutex_lock(&c->lock);
	c->is_prohibited = true;
	pthread_mutex_unlock(&c->lock);
}

void ssh_channel_opened(struct ssh_channel *c)
{
	pthread_mutex_lock(&c->lock);
	c->is_open = true;
	pthread_mutex_unlock(&c->lock);
}

void ssh_channel_broke(struct ssh_channel *c, int error)
{
	pthread_mutex_lock(&c->lock);
	if (!c->error)
		c->error = error;
	pthread_mutex_unlock(&c->lock);
}

void ssh_channel_ended(struct ssh_channel *c)
{
	pthread_mutex_lock(&c->lock);
	c->has_ended = true;
	pthread_mutex_unlock(&c->lock);
}

struct ssh_todo ssh_channel_todo(struct ssh_channel *c)
{
	struct ssh_todo todo;
	size_t start, left;

	pthread_mutex_lock(&c->lock);
	start = c->n_sent % SSH_RING_SIZE;
	left = (size_t)(c->n_put - c->n_sent);
	todo = (struct ssh_todo){
		.bytes = c->ring ? c->ring + start : NULL,
		.len = left < SSH_RING_SIZE - start ? left : SSH_RING_SIZE - start,
		.is_shut = c->is_shut || c->leave != SSH_LEAVE_NOT,
		.leave = c->leave,
		.n_returned = c->n_returned,
	};
	c->n_returned = 0;
	pthread_mutex_unlock(&c->lock);
	return todo;
}

bool ssh_channel_sent(struct ssh_channel *c, size_t len)
{
	bool is_waited_for;

	pthread_mutex_lock(&c->lock);
	c->n_sent += len;
	is_waited_for = c->is_loop_waiting && c->n_put - c->n_sent <= SSH_RING_SIZE / 2;
	if (is_waited_for)
		c->is_loop_waiting = false;
	pthread_mutex_unlock(&c->lock);
	return is_waited_for;
}

/* Into the last chunk, where the loop does not look yet. Under the lock. */
static bool gather(struct ssh_channel *c, const struct ssh_received *received)
{
	struct chunk *last = container_of(c->chunks.prev, struct chunk, node);

	if (list_empty(&c->chunks) || received->len > last->room)
		return false;
	/* The memory is ours; only what others see of it is const. */
	memcpy(last->memory + (last->bytes - last->memory) + last->len, received->bytes,
	       received->len);
	last->len += received->len;
	last->room -= received->len;
	return true;
}

/* A chunk of its own: the memory as it is, or roomy memory for a small one. */
static struct chunk *new_chunk(const struct ssh_received *received, bool is_roomy)
{
	struct chunk *chunk = calloc(1, sizeof(*chunk));

	if (!chunk)
		return NULL;
	list_init(&chunk->node);
	chunk->memory = received->memory;
	chunk->bytes = received->bytes;
	chunk->len = received->len;
	if (!is_roomy)
		return chunk;
	chunk->memory = ssh_memory_get(NULL, GATHER_SIZE);
	if (!chunk->memory) {
		free(chunk);
		return NULL;
	}
	memcpy(chunk->memory, received->bytes, received->len);
	chunk->bytes = chunk->memory;
	chunk->room = GATHER_SIZE - received->len;
	ssh_memory_free(received->memory);
	return chunk;
}

int ssh_channel_receive(struct ssh_channel *c, const struct ssh_received *received)
{
	bool is_small = received->len < SMALL, is_alone;
	struct chunk *chunk = NULL;
	bool is_gathered = false;

	pthread_mutex_lock(&c->lock);
	is_alone = list_empty(&c->chunks);
	if (is_small)
		is_gathered = gather(c, received);
	pthread_mutex_unlock(&c->lock);
	if (is_gathered) {
		ssh_memory_free(received->memory);
		return 0;
	}
	chunk = new_chunk(received, is_small && !is_alone);
	if (!chunk) {
		ssh_memory_free(received->memory);
		return -ENOMEM;
	}
	pthread_mutex_lock(&c->lock);
	list_append(&c->chunks, &chunk->node);
	pthread_mutex_unlock(&c->lock);
	return 0;
}
