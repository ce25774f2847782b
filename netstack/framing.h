/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Frames on a byte stream, as QEMU's `-netdev stream` and `-netdev socket`
 * write them (QEMU net/stream.c): a 32-bit big-endian length, then that many
 * bytes. Pure and without memory of its own: it looks at a window of received
 * bytes and yields frames in place. */
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "netstack/base/bytes.h"
#include "netstack/frame.h"

#define FRAMING_HEADER_SIZE 4U
/* The longest frame with its length. */
#define FRAMING_MAX_SIZE (FRAMING_HEADER_SIZE + FRAME_MAX_SIZE)

enum framing_status {
	FRAMING_FRAME,	   /* a frame was taken off the window */
	FRAMING_PARTIAL,   /* the window ends before its first frame does */
	FRAMING_RUNT,	   /* one shorter than an Ethernet header was taken off */
	FRAMING_OVERSIZED, /* a length above FRAME_MAX_SIZE */
};

/* Bytes received and not decoded yet. */
struct framing_window {
	uint8_t *data;
	size_t len;
};

/* The next frame. FRAMING_FRAME and FRAMING_RUNT set *frame and move the window
 * past it; the other results change neither. After an oversized length nothing
 * that follows can be trusted: the connection is to be dropped. */
enum framing_status framing_next(struct framing_window *window, struct iovec *frame);

/* How many bytes the window's first frame still lacks, as far as is known: up
 * to the end of the length field while that is incomplete. 0 if it is there, or
 * if its length is bad. */
size_t framing_missing(const struct framing_window *window);

static inline void framing_put_header(uint8_t at[static FRAMING_HEADER_SIZE], size_t len)
{
	put_be32(at, (uint32_t)len);
}
