/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What libslirp's packets leave out or get wrong:
 * - router advertisements lack the MTU (RFC 4861, section 4.6.4), and the
 *   resolver when the host itself has none that speaks IPv6 (RFC 8106); and they do
 *   not say that there is DHCPv6 (section 4.2, flags M and O);
 * - an ICMP error about a port of the host's loopback comes from the loopback
 *   address, which no guest accepts: it comes from the gateway.
 * Pure. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "netstack/addr.h"

struct amend_config {
	uint16_t mtu;
	bool is_managed; /* DHCPv6 gives out addresses */
	struct ipaddr dns6;
	struct ipaddr gateway4, gateway6;
};

/* Amends a frame in place if it is one of these. Returns its new length; it
 * grows by at most AMEND_ROOM bytes, which the caller has behind it. */
#define AMEND_ROOM 32U
size_t amend_frame(uint8_t *bytes, size_t len, const struct amend_config *config);
