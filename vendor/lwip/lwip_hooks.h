/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Decisions that lwIP's core leaves to the program (LWIP_HOOK_FILENAME). */
#include <lwip/ip_addr.h>

/* Initial sequence number of a connection (RFC 6528: a keyed hash of the
 * 4-tuple plus a clock, so that nobody off the path can guess it). Ports in
 * host byte order. */
u32_t lwip_port_isn(const ip_addr_t *local_ip, u16_t local_port, const ip_addr_t *remote_ip,
		    u16_t remote_port);
