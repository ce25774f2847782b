/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Memory of a session: libssh2 allocates a piece for every packet, which the loop
 * frees when its bytes are written. Pieces of that size are used again, the last one
 * first, as it is still in the processor's cache; the allocator of the C library
 * would have the two threads wait for each other. */
#include <pthread.h>
#include <stddef.h>

struct ssh_memory {
	pthread_mutex_t lock; /* of what follows */
	struct ssh_piece *spare;
	unsigned int n_spare;
};

void ssh_memory_init(struct ssh_memory *m);
/* Every piece was freed before. */
void ssh_memory_deinit(struct ssh_memory *m);

/* From any thread. NULL: none is left. m may be NULL, then the piece is nobody's. */
void *ssh_memory_get(struct ssh_memory *m, size_t size);
void *ssh_memory_resize(struct ssh_memory *m, void *p, size_t size);
void ssh_memory_free(void *p); /* accepts NULL */
