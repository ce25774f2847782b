/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The owner of a link under test: counts what it is told and keeps the last
 * frame. Frames of a test carry their number and a pattern that depends on it,
 * so that a lost, doubled, reordered or damaged one is noticed. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "netstack/frame.h"
#include "netstack/link.h"

struct link_probe {
	struct link *link;
	unsigned int n_frames, n_batches, n_writable, n_ups, n_downs;
	unsigned int n_bad; /* not numbered_frame() number n_frames */
	bool is_up;
	bool is_in_send; /* callbacks are not allowed */
	uint8_t last[FRAME_MAX_SIZE];
	size_t last_len;
	/* Optional, called by receive(). */
	void (*on_frame)(struct link_probe *probe, struct frame *frame);
};

/* Attaches the probe as the link's owner. */
void link_probe_attach(struct link_probe *probe, struct link *link);
/* link_send(), failing the test if the link calls back meanwhile. */
int link_probe_send(struct link_probe *probe, const void *data, size_t len);

/* Fills in a frame of len bytes, at least ETH_HEADER_SIZE. */
void numbered_frame(uint8_t *at, size_t len, unsigned int number);
bool is_numbered_frame(const uint8_t *at, size_t len, unsigned int number);
