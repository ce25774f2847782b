/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The device's side of one split virtqueue (virtio 1.1, section 2.6). It knows
 * memory only: no descriptor, no loop.
 *
 * The driver may write anything into its rings, at any time. Every chain is
 * checked here as it is taken; what a chain's entries point at is memory of the
 * guest for sure, and nothing else is known of it. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "netstack/vhost_user/guest_memory.h"

/* The largest queue, QEMU's largest; also the most pieces of one chain. */
#define VIRTQUEUE_MAX_SIZE 1024U

struct virtqueue_layout {
	unsigned int size; /* a power of 2 */
	/* Front end's addresses of the parts. */
	uint64_t desc, avail, used;
	bool has_event_idx, has_indirect;
};

struct virtqueue {
	struct guest_memory *memory; /* NULL: stopped */
	unsigned int size;
	bool has_event_idx, has_indirect;
	const uint8_t *desc;
	uint16_t *avail, *used;
	uint16_t next_avail;  /* of the chain to be taken next */
	uint16_t known_avail; /* the driver's index when last looked at */
	uint16_t next_used;   /* of the entry to be written next */
	uint16_t published;   /* what the driver was shown of next_used */
	uint16_t signalled;   /* published, when last decided to signal or not */
	bool has_signalled;
	const char *fault; /* what the driver did wrong, or NULL */
};

/* One chain, its pieces in the caller's array: n_out that the device reads,
 * then n_in that it writes. */
struct virtqueue_chain {
	uint16_t head;
	unsigned int n_out, n_in;
	size_t out_len, in_len;
};

/* Whether a queue can have that many entries. */
bool virtqueue_size_is_valid(unsigned int size);

/* Takes a reference on memory. -EINVAL: a bad size, or a part that is outside
 * of memory or not aligned. The parts are looked at from now on. It begins with
 * the chain after the last one given back: the devices here take chains in order
 * and hold none for long, so one that was under way when its back end died comes
 * again. */
int virtqueue_start(struct virtqueue *q, struct guest_memory *memory,
		    const struct virtqueue_layout *layout);
/* Harmless when stopped. Touches no ring: the memory may be somebody else's by
 * now. Who stops in good order publishes before. */
void virtqueue_stop(struct virtqueue *q);

/* Takes the next chain; fills up to max entries of iov. 1; 0 when there is none;
 * -ENOBUFS when it has more than max pieces (and stays); -EPROTO when the driver
 * broke the rules: fault says how, and the queue gives nothing any more. */
int virtqueue_pop(struct virtqueue *q, struct iovec *iov, unsigned int max,
		  struct virtqueue_chain *chain);
/* The device found a chain that cannot be: -EPROTO, as of virtqueue_pop(). */
int virtqueue_fail(struct virtqueue *q, const char *fault);
/* Puts the last n chains back: they come again. */
void virtqueue_unpop(struct virtqueue *q, unsigned int n);
/* Gives a chain back to the driver, len bytes having been written into it. It
 * sees it after the next virtqueue_publish(). */
void virtqueue_push(struct virtqueue *q, uint16_t head, size_t len);
/* Shows the driver what was pushed. True if it wants to be told by a signal. */
bool virtqueue_publish(struct virtqueue *q);

/* Whether the driver shall kick when it adds chains. After enabling, true when
 * there are some already: no kick may follow for those. */
/* Whether there is a chain, or a fault, for the next pop. */
bool virtqueue_has_more(struct virtqueue *q);
bool virtqueue_enable_kicks(struct virtqueue *q);
void virtqueue_disable_kicks(struct virtqueue *q);
