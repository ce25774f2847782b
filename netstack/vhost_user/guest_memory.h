/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A guest's memory as the front end shares it (vhost-user, "Memory region
 * description"): a few ranges of guest-physical addresses, each a mapping of a
 * descriptor. A table never changes: the front end sends a new one, and the old
 * one stays mapped for as long as somebody refers to bytes in it.
 *
 * Guest addresses come from the guest or the front end and may be anything:
 * nobody turns one into a pointer but the functions here. What the pointers lead
 * to the guest may change at any moment: read once, then decide. */
#include <stddef.h>
#include <stdint.h>

#define GUEST_MEMORY_MAX_REGIONS 8U

struct guest_memory;

/* As in the message SET_MEM_TABLE. */
struct guest_region {
	uint64_t guest_addr;
	uint64_t size;
	uint64_t user_addr; /* in the front end's own address space */
	uint64_t offset;    /* in the file of the descriptor */
};

/* Maps the regions; the descriptors stay the caller's. One reference. -EINVAL:
 * too many, empty, wrapping around or overlapping regions, or a file that is
 * shorter than its region; -ENOMEM; -errno of mmap(2). */
int guest_memory_new(const struct guest_region *regions, const int *fds, unsigned int n,
		     struct guest_memory **out);
struct guest_memory *guest_memory_ref(struct guest_memory *memory);
void guest_memory_unref(struct guest_memory *memory); /* accepts NULL */

/* The bytes at a guest-physical address. *len is how many are wanted, and on
 * return how many there are in one piece: less at the end of a region. NULL
 * when there is none, or len is 0. */
void *guest_memory_at(const struct guest_memory *memory, uint64_t guest_addr, size_t *len);
/* All of [user_addr, user_addr + len), an address of the front end's; NULL if
 * any of it is outside. */
void *guest_memory_at_user(const struct guest_memory *memory, uint64_t user_addr, size_t len);
