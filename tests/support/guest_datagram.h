/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Datagrams and ICMP messages of a guest in memory, whole on both sides and in
 * fragments on the wire. */
#include <stddef.h>
#include <stdint.h>

#include "netstack/packet.h"
#include "tests/support/guest.h"

/* In fragments if it is larger than an Ethernet packet. */
void guest_send_ip(struct guest *g, const struct wire *w, uint8_t protocol, const uint8_t *message,
		   size_t len);
void guest_send_udp(struct guest *g, const struct wire *w, const uint8_t *payload, size_t len);
/* The next message that the guest has got, put together if it came in fragments:
 * its transport header and what follows, in static memory; NULL if there is
 * none. Aborts the test when its checksum is wrong. */
const uint8_t *guest_take_message(struct guest *g, enum packet_kind kind, struct packet *p,
				  size_t *len);
