/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A guest link: where one virtual NIC's frames come from and go to. Each kind
 * (QEMU stream, datagrams, TAP, later vhost-user) is one file that fills in
 * struct link_ops and embeds a struct link.
 *
 * Receiving: the link reads a batch and calls owner->receive() per frame, then
 * owner->batch_done() once, so that work per batch (writing to sockets,
 * acknowledging) is not done per frame.
 *
 * Sending never blocks and never queues without bound: -EAGAIN means nothing of
 * the frame was taken; owner->writable() is called when it is worth trying
 * again. A lossless link drops nothing that it has taken. */
#include <stdbool.h>
#include <stdint.h>

#include "netstack/frame.h"

struct link;

struct link_caps {
	uint16_t mtu;  /* largest IP packet, without Ethernet header */
	bool csum;     /* takes frames with csum_partial */
	bool tso;      /* takes FRAME_GSO_TCP4 and FRAME_GSO_TCP6 */
	bool lossless; /* waits instead of dropping when the guest is slow */
};

/* Named counters; the name is what status and logs print. */
struct link_counters {
	uint64_t rx_frames, rx_bytes;
	uint64_t tx_frames, tx_bytes;
	uint64_t rx_runt;      /* shorter than an Ethernet header */
	uint64_t rx_oversized; /* longer than FRAME_MAX_SIZE */
	uint64_t rx_bad_vnet;  /* a virtio-net header that lies */
	uint64_t rx_no_memory;
	uint64_t rx_refused; /* a datagram of somebody who is not the guest */
	uint64_t tx_blocked; /* -EAGAIN given */
	uint64_t tx_dropped; /* nobody connected, or a broken transport */
};

struct link_owner {
	void (*receive)(void *arg, struct frame *frame);
	void (*batch_done)(void *arg);
	void (*writable)(void *arg);
	/* A guest has connected, or has gone; frames flow only in between. */
	void (*state)(void *arg, bool is_up);
};

struct link_ops {
	/* The owner is set: frames and states may be reported from now on, the
	 * state of a link that is up already before this call returns. */
	void (*start)(struct link *link);
	/* 0 taken; -EAGAIN not taken, writable() follows; -ENETDOWN no guest. */
	int (*send)(struct link *link, struct frame *frame);
	/* Frames sent since the last flush must be on their way. NULL if send()
	 * does not batch. */
	void (*flush)(struct link *link);
	/* Somebody still has references on its frames: it must not be freed yet.
	 * NULL for a link that is not transient. */
	bool (*is_lending)(const struct link *link);
	void (*free)(struct link *link);
};

struct link {
	const struct link_ops *ops;
	struct link_caps caps;
	struct link_counters counters;
	const struct link_owner *owner;
	void *owner_arg;
	char name[64]; /* for logs: "stream:/run/…", "netns:c1" */
	/* Of no more use once its guest has gone: its owner frees it then. */
	bool is_transient;
};

/* Once, before anything else. */
static inline void link_set_owner(struct link *link, const struct link_owner *owner, void *arg)
{
	link->owner = owner;
	link->owner_arg = arg;
	link->ops->start(link);
}

static inline int link_send(struct link *link, struct frame *frame)
{
	return link->ops->send(link, frame);
}

static inline void link_flush(struct link *link)
{
	if (link->ops->flush)
		link->ops->flush(link);
}

/* Closes the link's descriptors and frees it; accepts NULL. Not from inside a
 * callback of the link, and after all references on its frames were given
 * back: the buffers are the link's. */
static inline void link_free(struct link *link)
{
	if (link)
		link->ops->free(link);
}
