/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the engine asks of its owner, and counts for it. Apart from engine.h so
 * that the files of this folder can share it without a cycle. */
#include <stdbool.h>
#include <stdint.h>

#include "netstack/addr.h"
#include "netstack/frame.h"

struct stream;

struct engine_owner {
	/* A packet for dst. refs[0] starts with ETH_HEADER_SIZE bytes to be
	 * filled in; offload asks for the checksum and perhaps segmentation.
	 * 0, -EAGAIN (call engine_writable() later), other -errno: dropped. */
	int (*output)(void *arg, const struct ipaddr *dst, struct frame *frame);
	/* What the link towards this guest address takes. */
	bool (*can_segment)(void *arg, const struct ipaddr *dst);
	/* A guest's connection to dst is established; takes the stream. */
	void (*accepted)(void *arg, const struct endpoint *guest, const struct endpoint *dst,
			 struct stream *stream);
};

struct engine_counters {
	uint64_t out_of_memory;	  /* segments not taken from a guest */
	uint64_t orphans_dropped; /* closed, given up with data not delivered */
	uint64_t connections;	  /* in being now, either direction */
};
