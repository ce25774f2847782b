/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A guest's frame lent to lwIP: pbufs that refer to the link's buffer and hold
 * it until lwIP and the stream have done with the bytes. */
#include <stdbool.h>

#include "netstack/frame.h"
#include "netstack/packet.h"

struct pbuf;

/* The frame from its IP header on. A frame without an owner is copied, as its
 * bytes are gone after the call. NULL when memory is out. */
struct pbuf *lent_pbuf_new(const struct frame *frame, const struct packet *packet);
/* Whether p lies in a buffer of which few are left. */
bool lent_pbuf_is_scarce(const struct pbuf *p);
