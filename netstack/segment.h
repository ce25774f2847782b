/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The Ethernet segment that guests share with the host: a learning bridge. Any
 * number of links and one host port, behind which are the gateway and all that
 * it speaks for. With one link it is a wire.
 *
 * A frame that its link cannot take as it is (an unfinished checksum) is
 * completed here, and nowhere else. */
#include <stdbool.h>
#include <stdint.h>

#include "netstack/addr.h"
#include "netstack/link.h"

struct capture;
struct loop;
struct segment;

struct segment_host {
	void (*receive)(void *arg, struct frame *frame);
	void (*batch_done)(void *arg);
	/* A segment_send() that said -EAGAIN is worth repeating. */
	void (*writable)(void *arg);
};

struct segment_counters {
	uint64_t not_segmented; /* too big for the link of its destination */
	uint64_t no_link;	/* nobody is connected */
};

int segment_new(struct loop *loop, const struct segment_host *host, void *arg,
		struct segment **out);
void segment_free(struct segment *segment); /* frees its links; accepts NULL */
/* Takes the link. */
int segment_add(struct segment *segment, struct link *link);
/* Takes the capture, which may be NULL; every frame goes into it. */
void segment_set_capture(struct segment *segment, struct capture *capture);

/* A frame of the host port, by the destination in its header. 0; -EAGAIN;
 * -ENETDOWN; -EMSGSIZE. */
int segment_send(struct segment *segment, struct frame *frame);
/* All sent frames must be on their way: for the end of a batch. */
void segment_flush(struct segment *segment);
/* What the link towards mac takes; the least of all links while it is unknown. */
struct link_caps segment_caps(const struct segment *segment, const struct mac *mac);
/* A guest is connected, on any link. */
bool segment_is_up(const struct segment *segment);
const struct segment_counters *segment_counters(const struct segment *segment);
/* Calls fn for every link, in the order added. */
void segment_for_each(const struct segment *segment, void (*fn)(void *arg, const struct link *),
		      void *arg);
