/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The Ethernet segment that guests share with the host: a learning bridge. Any
 * number of links and one host port, behind which are the gateway and all that
 * it speaks for. With one link, and no guard, it is a wire.
 *
 * Nobody waits for a guest but the host port: what a full link does not take of
 * other links' frames is dropped and counted. What is for all (broadcast,
 * multicast, a station not known yet) is limited per link.
 *
 * A frame that its link cannot take as it is (an unfinished checksum, a TCP
 * segment to be cut) is completed here, and nowhere else. */
#include <stdbool.h>
#include <stdint.h>

#include "netstack/addr.h"
#include "netstack/link.h"

struct capture;
struct guard;
struct loop;
struct segment;

struct segment_host {
	void (*receive)(void *arg, struct frame *frame);
	void (*batch_done)(void *arg);
	/* A segment_send() that said -EAGAIN is worth repeating. */
	void (*writable)(void *arg);
	/* Whether this is a MAC of the host port: no link may have it. */
	bool (*owns)(void *arg, const struct mac *mac);
};

/* What is at the other end of a link. */
enum segment_role {
	SEGMENT_GUEST,	/* somebody who is not trusted: what a guard is for */
	SEGMENT_HOST,	/* the host's own kernel */
	SEGMENT_UPLINK, /* more segments, with stations of any number; it and the host
			 * port do not see each other: there may be one like us there */
};

/* More links than these are refused (-ENOSPC). */
#define SEGMENT_MAX_PORTS 256U
/* What one link may send to all, in frames: on average in a second, and at once. */
#define SEGMENT_FLOOD_PER_S 500U
#define SEGMENT_FLOOD_BURST 1000U

struct segment_counters {
	uint64_t not_segmented; /* too big for the link of its destination */
	uint64_t no_link;	/* nobody is connected */
	uint64_t congested;	/* a frame of another link's that a full link did not take */
	uint64_t flood_limited; /* above what a link may send to all */
	uint64_t isolated;	/* from guest to guest, which are kept apart */
	uint64_t malformed;	/* not bridged: bytes that packet.c refuses */
	uint64_t own_mac;	/* came with a MAC of the host port */
};

int segment_new(struct loop *loop, const struct segment_host *host, void *arg,
		struct segment **out);
void segment_free(struct segment *segment); /* frees its links; accepts NULL */
/* Takes the link, which is freed by the segment: once its guest has gone, if it
 * is transient, or at the end. -ENOMEM, -ENOSPC. */
int segment_add(struct segment *segment, struct link *link, enum segment_role role);
/* Takes the capture, which may be NULL; every frame goes into it. */
void segment_set_capture(struct segment *segment, struct capture *capture);
/* From now on guests' frames pass the guard, which must outlive the segment. */
void segment_set_guard(struct segment *segment, struct guard *guard);
/* Guests do not reach each other, only the host, its port and uplinks. */
void segment_isolate(struct segment *segment);

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
/* Stations that made room for others in the table, which means a flood of MACs. */
uint64_t segment_evicted(const struct segment *segment);
/* Calls fn for every link, in the order added. */
void segment_for_each(const struct segment *segment, void (*fn)(void *arg, const struct link *),
		      void *arg);
/* The link behind which a station is, or NULL. */
const struct link *segment_find(const struct segment *segment, const struct mac *mac);
/* Of all links together, also of those that have gone. */
struct link_counters segment_link_counters(const struct segment *segment);
