/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/ssh/ssh_memory.h"

#include <stdalign.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* A packet is at most 35000 bytes (RFC 4253, section 6.1); small ones are few bytes
 * and the C library is good at them. */
#define PACKET_MIN 4096U
#define PACKET_MAX 35840U
#define SPARE_MAX 64U

struct ssh_piece {
	struct ssh_memory *owner; /* NULL: the C library's */
	struct ssh_piece *next;	  /* ssh_memory.spare */
	size_t size;		  /* of bytes */
	alignas(max_align_t) unsigned char bytes[];
};

void ssh_memory_init(struct ssh_memory *m)
{
	*m = (struct ssh_memory){ .n_spare = 0 };
	pthread_mutex_init(&m->lock, NULL);
}

void ssh_memory_deinit(struct ssh_memory *m)
{
	struct ssh_piece *piece;

	while ((piece = m->spare)) {
		m->spare = piece->next;
		free(piece);
	}
	pthread_mutex_destroy(&m->lock);
}

static struct ssh_piece *take_spare(struct ssh_memory *m)
{
	struct ssh_piece *piece;

	pthread_mutex_lock(&m->lock);
	piece = m->spare;
	if (piece) {
		m->spare = piece->next;
		m->n_spare--;
	}
	pthread_mutex_unlock(&m->lock);
	return piece;
}

void *ssh_memory_get(struct ssh_memory *m, size_t size)
{
	bool is_packet = m && size >= PACKET_MIN && size <= PACKET_MAX;
	struct ssh_piece *piece = is_packet ? take_spare(m) : NULL;

	if (is_packet)
		size = PACKET_MAX;
	if (!piece)
		piece = malloc(sizeof(*piece) + size);
	if (!piece)
		return NULL;
	piece->owner = is_packet ? m : NULL;
	piece->size = size;
	return piece->bytes;
}

static struct ssh_piece *piece_of(void *p)
{
	return (struct ssh_piece *)((unsigned char *)p - offsetof(struct ssh_piece, bytes));
}

void *ssh_memory_resize(struct ssh_memory *m, void *p, size_t size)
{
	void *larger = ssh_memory_get(m, size);

	if (!larger || !p)
		return larger;
	memcpy(larger, p, size < piece_of(p)->size ? size : piece_of(p)->size);
	ssh_memory_free(p);
	return larger;
}

static bool keep(struct ssh_memory *m, struct ssh_piece *piece)
{
	bool is_kept;

	pthread_mutex_lock(&m->lock);
	is_kept = m->n_spare < SPARE_MAX;
	if (is_kept) {
		piece->next = m->spare;
		m->spare = piece;
		m->n_spare++;
	}
	pthread_mutex_unlock(&m->lock);
	return is_kept;
}

void ssh_memory_free(void *p)
{
	struct ssh_piece *piece;

	if (!p)
		return;
	piece = piece_of(p);
	if (!piece->owner || !keep(piece->owner, piece))
		free(piece);
}
