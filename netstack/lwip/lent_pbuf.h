/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A guest's frame lent to lwIP: pbufs that refer to the link's buffer and hold
 * it until lwIP and the stream have done with the bytes. */
#include <stdbool.h>

#include "netstack/frame.h"
#include "netstack/packet.h"

struct pbuf;

/* The frame from its IP header on, its bytes held by `owner`, the frame's. With
 * NULL they are copied. NULL when memory is out. */
struct pbuf *lent_pbuf_new(const struct frame *frame, const struct packet *packet,
			   struct buffer *owner);
/* Whether p lies in a buffer of which few are left, or that is borrowed. */
bool lent_pbuf_is_scarce(const struct pbuf *p);
