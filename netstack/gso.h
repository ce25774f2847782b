/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* TCP segmentation in software, for a link that cannot do it: what a NIC does
 * with a frame of up to 64 KiB (virtio 1.1, section 5.1.6.2). Pure. */
#include "netstack/frame.h"

/* A guest chooses gso_size: smaller ones are not worth the frames they make. */
#define GSO_MIN_SIZE 64U

/* One segment, its references valid during the call. Its checksum is left to
 * be completed (csum_partial). A result below 0 ends the cutting. */
typedef int gso_fn(void *arg, struct frame *segment);

/* Cuts a frame with FRAME_GSO_TCP4 or FRAME_GSO_TCP6 whose offload was checked
 * (packet_parse()), or made by us. 0; what fn said; -EMSGSIZE for a gso_size
 * below GSO_MIN_SIZE, headers longer than FRAME_MAX_HEADERS, or FRAME_MAX_REFS
 * pieces. */
int gso_cut(const struct frame *frame, gso_fn *fn, void *arg);
