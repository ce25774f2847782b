/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A guest's driver: memory that can be shared, and split virtqueues in it (virtio
 * 1.1, section 2.6). It does what the test says, right or wrong. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "netstack/vhost_user/guest_memory.h"
#include "netstack/vhost_user/virtqueue.h"

/* Addresses that have nothing in common with each other. */
#define RAM_GUEST_ADDR 0x100000ULL
#define RAM_USER_ADDR 0x7f0000000000ULL

struct guest_ram {
	int fd;
	size_t size;
	uint8_t *bytes;
};

void guest_ram_init(struct guest_ram *ram, size_t size);
void guest_ram_deinit(struct guest_ram *ram);
/* All of it, as one region. */
struct guest_region guest_ram_region(const struct guest_ram *ram);
/* The same for a back end in this process. */
struct guest_memory *guest_ram_map(const struct guest_ram *ram);

#define DESC_NEXT 1U
#define DESC_WRITE 2U
#define DESC_INDIRECT 4U

struct driver_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

struct driver_ring {
	struct guest_ram *ram;
	unsigned int size;
	size_t desc_at, avail_at, used_at; /* offsets in ram */
	uint16_t next_avail;		   /* of the chain to be offered next */
	uint16_t next_used;		   /* of the entry to be looked at next */
};

/* Puts an empty ring at an offset, and says where the memory behind it begins. */
size_t driver_ring_init(struct driver_ring *ring, struct guest_ram *ram, unsigned int size,
			size_t offset);
struct virtqueue_layout driver_ring_layout(const struct driver_ring *ring);

void driver_ring_set(struct driver_ring *ring, unsigned int i, struct driver_desc desc);
/* A descriptor of an indirect table that lies at an offset. */
void driver_table_set(struct guest_ram *ram, size_t table, unsigned int i, struct driver_desc desc);
/* Makes the chain available that begins with descriptor `head`. */
void driver_ring_offer(struct driver_ring *ring, uint16_t head);
/* The next chain that the device has given back, if there is one. */
bool driver_ring_take(struct driver_ring *ring, uint32_t *head, uint32_t *len);

/* The words of the rings that are no entries. */
uint16_t *driver_avail_flags(const struct driver_ring *ring);
uint16_t *driver_avail_index(const struct driver_ring *ring);
uint16_t *driver_used_event(const struct driver_ring *ring);
uint16_t *driver_used_flags(const struct driver_ring *ring);
uint16_t *driver_avail_event(const struct driver_ring *ring);
