/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A guest's virtual NIC in memory. Frames sent to the guest are checked as a
 * guest would, and kept in order until the test takes them; frames of the guest
 * are handed up with their headers in memory of just their size, so that a byte
 * read too far is noticed. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "netstack/base/list.h"
#include "netstack/buffer.h"
#include "netstack/link.h"
#include "netstack/packet.h"

struct fake_link {
	struct link link;
	bool is_started, is_up, is_freed;
	bool is_full;	   /* send() says -EAGAIN; set by the test */
	bool lends;	   /* received frames have an owner; set by the test, */
	bool borrows;	   /* for the batch only; set before the first frame */
	bool is_lending;   /* as the link says of itself; set by the test */
	bool wants_notice; /* send() has said -EAGAIN */
	unsigned int n_sent, n_flushes;
	struct list sent; /* sent_frame.node */
	struct buffer_pool pool;
};

/* What was sent; completed (its checksum computed), in one piece. */
struct sent_frame {
	struct list node; /* fake_link.sent */
	struct frame_offload offload;
	struct packet packet;	/* of bytes */
	const uint8_t *payload; /* behind the transport header, if there is one */
	size_t payload_len;
	size_t len;
	uint8_t bytes[];
};

extern const struct link_caps fake_link_plain;	  /* MTU 1500, does nothing */
extern const struct link_caps fake_link_offloads; /* MTU 65520, does all */

/* The link is the test's; whoever frees it only sets is_freed. */
void fake_link_init(struct fake_link *l, const struct link_caps *caps);
/* All buffers lent to the owner must have come back. */
void fake_link_deinit(struct fake_link *l);
/* What the guest has not taken when it goes is lost. */
void fake_link_set_up(struct fake_link *l, bool is_up);
/* Not full any more; the owner is told if it has to be. */
void fake_link_make_room(struct fake_link *l);
/* One frame of the guest, and the end of a batch. */
void fake_link_receive(struct fake_link *l, const void *bytes, size_t len);
/* The same without the end of the batch, and with a virtio header. */
void fake_link_receive_one(struct fake_link *l, const void *bytes, size_t len,
			   const struct frame_offload *offload);
/* The oldest frame that was sent, or NULL; to be freed by free(). */
struct sent_frame *fake_link_take(struct fake_link *l);
/* The same of one kind; those before it are dropped. */
struct sent_frame *fake_link_take_kind(struct fake_link *l, enum packet_kind kind);
void fake_link_drop_sent(struct fake_link *l);
