/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/virtio_driver.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void must(bool holds)
{
	if (!holds)
		abort();
}

void guest_ram_init(struct guest_ram *ram, size_t size)
{
	ram->fd = memfd_create("guest", MFD_CLOEXEC);
	ram->size = size;
	must(ram->fd >= 0 && ftruncate(ram->fd, (off_t)size) == 0);
	ram->bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ram->fd, 0);
	must(ram->bytes != MAP_FAILED);
}

void guest_ram_deinit(struct guest_ram *ram)
{
	(void)munmap(ram->bytes, ram->size);
	close(ram->fd);
}

struct guest_region guest_ram_region(const struct guest_ram *ram)
{
	return (struct guest_region){ RAM_GUEST_ADDR, ram->size, RAM_USER_ADDR, 0 };
}

struct guest_memory *guest_ram_map(const struct guest_ram *ram)
{
	struct guest_region region = guest_ram_region(ram);
	struct guest_memory *memory = NULL;

	must(guest_memory_new(&region, &ram->fd, 1, &memory) == 0);
	return memory;
}

static uint16_t *word(const struct driver_ring *ring, size_t offset)
{
	return (uint16_t *)(void *)(ring->ram->bytes + offset);
}

uint16_t *driver_avail_flags(const struct driver_ring *ring)
{
	return word(ring, ring->avail_at);
}

uint16_t *driver_avail_index(const struct driver_ring *ring)
{
	return word(ring, ring->avail_at + 2);
}

uint16_t *driver_used_event(const struct driver_ring *ring)
{
	return word(ring, ring->avail_at + 4 + 2 * (size_t)ring->size);
}

uint16_t *driver_used_flags(const struct driver_ring *ring)
{
	return word(ring, ring->used_at);
}

uint16_t *driver_avail_event(const struct driver_ring *ring)
{
	return word(ring, ring->used_at + 4 + 8 * (size_t)ring->size);
}

size_t driver_ring_init(struct driver_ring *ring, struct guest_ram *ram, unsigned int size,
			size_t offset)
{
	size_t avail = 16 * (size_t)size, used = (avail + 6 + 2 * (size_t)size + 15) & ~15UL;
	size_t end = used + 6 + 8 * (size_t)size;

	must(offset + end <= ram->size && offset % 16 == 0);
	memset(ram->bytes + offset, 0, end);
	*ring = (struct driver_ring){
		.ram = ram,
		.size = size,
		.desc_at = offset,
		.avail_at = offset + avail,
		.used_at = offset + used,
	};
	return (offset + end + 4095) & ~4095UL;
}

struct virtqueue_layout driver_ring_layout(const struct driver_ring *ring)
{
	return (struct virtqueue_layout){
		.size = ring->size,
		.desc = RAM_USER_ADDR + ring->desc_at,
		.avail = RAM_USER_ADDR + ring->avail_at,
		.used = RAM_USER_ADDR + ring->used_at,
	};
}

void driver_table_set(struct guest_ram *ram, size_t table, unsigned int i, struct driver_desc desc)
{
	desc.addr = htole64(desc.addr);
	desc.len = htole32(desc.len);
	desc.flags = htole16(desc.flags);
	desc.next = htole16(desc.next);
	memcpy(ram->bytes + table + (size_t)i * sizeof(desc), &desc, sizeof(desc));
}

void driver_ring_set(struct driver_ring *ring, unsigned int i, struct driver_desc desc)
{
	driver_table_set(ring->ram, ring->desc_at, i, desc);
}

void driver_ring_offer(struct driver_ring *ring, uint16_t head)
{
	size_t slot = ring->next_avail & (ring->size - 1);

	*word(ring, ring->avail_at + 4 + 2 * slot) = htole16(head);
	ring->next_avail++;
	__atomic_store_n(driver_avail_index(ring), htole16(ring->next_avail), __ATOMIC_RELEASE);
}

bool driver_ring_take(struct driver_ring *ring, uint32_t *head, uint32_t *len)
{
	uint16_t index = le16toh(__atomic_load_n(word(ring, ring->used_at + 2), __ATOMIC_ACQUIRE));
	size_t slot = ring->next_used & (ring->size - 1);
	uint32_t entry[2];

	if (index == ring->next_used)
		return false;
	memcpy(entry, ring->ram->bytes + ring->used_at + 4 + 8 * slot, sizeof(entry));
	*head = le32toh(entry[0]);
	*len = le32toh(entry[1]);
	ring->next_used++;
	return true;
}
