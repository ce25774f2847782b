/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A bounded queue of frames on their way to a guest: a byte ring that holds
 * each frame in the form of framing.h, a length and then the bytes. A stream
 * link writes the ring as it is; a datagram link takes one frame at a time.
 * Short frames are padded to ETH_MIN_SIZE: some of QEMU's NIC models drop what
 * no real wire would carry. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "netstack/frame.h"

struct frame_queue {
	uint8_t *data;
	size_t size;
	size_t head; /* where the oldest byte is */
	size_t len;  /* bytes in the queue */
};

int frame_queue_init(struct frame_queue *q, size_t size); /* -ENOMEM */
void frame_queue_deinit(struct frame_queue *q);
void frame_queue_reset(struct frame_queue *q);

/* Bytes that a frame takes in the queue, its length field included. */
size_t frame_queue_cost(const struct frame *f);

static inline bool frame_queue_fits(const struct frame_queue *q, const struct frame *f)
{
	return frame_queue_cost(f) <= q->size - q->len;
}

/* Copies the frame. It must fit. */
void frame_queue_append(struct frame_queue *q, const struct frame *f);

/* The queued bytes [offset, offset + len) in place, as one or two pieces;
 * returns how many. */
int frame_queue_peek(const struct frame_queue *q, size_t offset, size_t len, struct iovec iov[2]);
/* The bytes of the frame whose length field is at `offset`, in one or two
 * pieces; 0 at the end of the queue. *next is where the next one starts. */
int frame_queue_peek_frame(const struct frame_queue *q, size_t offset, struct iovec iov[2],
			   size_t *next);
void frame_queue_drop(struct frame_queue *q, size_t len);
