/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* IP fragments of guests, put together before anything else sees them
 * (RFC 791, RFC 8200 section 4.5). Bounded in memory and time: the oldest
 * datagram makes room, overlaps drop the whole datagram (RFC 5722). Pure. */
#include <stdbool.h>
#include <stdint.h>

#include "netstack/frame.h"
#include "netstack/packet.h"

#define REASSEMBLY_SLOTS 16U
#define REASSEMBLY_MAX_AGE_MS 10000U

struct reassembly_slot;

struct reassembly {
	struct reassembly_slot *slots[REASSEMBLY_SLOTS];
	struct reassembly_slot *done; /* the one whose bytes `whole` refers to */
	uint64_t n_started;	      /* datagrams */
	uint64_t dropped;	      /* datagrams given up, or fragments refused */
};

void reassembly_deinit(struct reassembly *r);
/* Takes one frame whose packet is PACKET_FRAGMENT. True when it was the last
 * one missing: *whole is then a frame with the whole packet, to be parsed like
 * any other, valid until the next call. */
bool reassembly_add(struct reassembly *r, const struct frame *frame, const struct packet *packet,
		    uint64_t now_ms, struct frame *whole);
