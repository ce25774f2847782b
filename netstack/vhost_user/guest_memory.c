/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/vhost_user/guest_memory.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

struct mapping {
	struct guest_region region;
	uint8_t *bytes; /* of the region's first byte */
	void *map;
	size_t map_size;
};

struct guest_memory {
	unsigned int n_refs;
	unsigned int n_mappings;
	struct mapping mappings[GUEST_MEMORY_MAX_REGIONS];
};

static bool wraps(uint64_t start, uint64_t size)
{
	return start + size < start;
}

static bool overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
	return a < b + b_size && b < a + a_size;
}

static bool is_region_sane(const struct guest_region *r)
{
	return r->size > 0 && !wraps(r->guest_addr, r->size) && !wraps(r->user_addr, r->size) &&
	       !wraps(r->offset, r->size) && r->offset + r->size <= SIZE_MAX / 2;
}

static bool are_sane(const struct guest_region *regions, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		const struct guest_region *a = &regions[i];

		if (!is_region_sane(a))
			return false;
		for (unsigned int j = 0; j < i; j++) {
			const struct guest_region *b = &regions[j];

			if (overlap(a->guest_addr, a->size, b->guest_addr, b->size) ||
			    overlap(a->user_addr, a->size, b->user_addr, b->size))
				return false;
		}
	}
	return true;
}

/* From the start of the file, as other back ends do: an offset into huge pages
 * need not be a multiple of their size. */
static int map_region(const struct guest_region *region, int fd, struct mapping *m)
{
	size_t size = (size_t)(region->offset + region->size);
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	/* bytes behind the end of a file are SIGBUS, not memory */
	if (!S_ISREG(st.st_mode) || st.st_size < 0 || (uint64_t)st.st_size < size)
		return -EINVAL;
	m->map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (m->map == MAP_FAILED)
		return -errno;
	(void)madvise(m->map, size, MADV_DONTDUMP);
	m->map_size = size;
	m->bytes = (uint8_t *)m->map + region->offset;
	m->region = *region;
	return 0;
}

int guest_memory_new(const struct guest_region *regions, const int *fds, unsigned int n,
		     struct guest_memory **out)
{
	struct guest_memory *memory;

	if (n == 0 || n > GUEST_MEMORY_MAX_REGIONS || !are_sane(regions, n))
		return -EINVAL;
	memory = calloc(1, sizeof(*memory));
	if (!memory)
		return -ENOMEM;
	memory->n_refs = 1;
	for (unsigned int i = 0; i < n; i++) {
		int r = map_region(&regions[i], fds[i], &memory->mappings[i]);

		if (r < 0) {
			guest_memory_unref(memory);
			return r;
		}
		memory->n_mappings++;
	}
	*out = memory;
	return 0;
}

struct guest_memory *guest_memory_ref(struct guest_memory *memory)
{
	memory->n_refs++;
	return memory;
}

void guest_memory_unref(struct guest_memory *memory)
{
	if (!memory)
		return;
	assert(memory->n_refs > 0);
	if (--memory->n_refs > 0)
		return;
	for (unsigned int i = 0; i < memory->n_mappings; i++)
		(void)munmap(memory->mappings[i].map, memory->mappings[i].map_size);
	free(memory);
}

void *guest_memory_at(const struct guest_memory *memory, uint64_t guest_addr, size_t *len)
{
	for (unsigned int i = 0; i < memory->n_mappings; i++) {
		const struct mapping *m = &memory->mappings[i];
		uint64_t offset = guest_addr - m->region.guest_addr; /* huge when below */

		if (offset >= m->region.size)
			continue;
		if (*len > m->region.size - offset)
			*len = (size_t)(m->region.size - offset);
		return *len ? m->bytes + offset : NULL;
	}
	return NULL;
}

void *guest_memory_at_user(const struct guest_memory *memory, uint64_t user_addr, size_t len)
{
	for (unsigned int i = 0; i < memory->n_mappings; i++) {
		const struct mapping *m = &memory->mappings[i];
		uint64_t offset = user_addr - m->region.user_addr;

		if (offset < m->region.size && len <= m->region.size - offset)
			return m->bytes + offset;
	}
	return NULL;
}
