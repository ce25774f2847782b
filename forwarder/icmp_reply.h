/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Tells a UDP client what the guest told us: that nobody listens on the port.
 * The kernel says that by itself only of ports that are not bound, and ours is,
 * so an ICMP port unreachable is sent over a raw socket: a connected client
 * then sees ECONNREFUSED. Needs CAP_NET_RAW in the network's user namespace. */
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "netstack/addr.h"

struct icmp_reply;

/* 0; -EPERM without the capability. */
int icmp_reply_new(struct icmp_reply **out);
void icmp_reply_free(struct icmp_reply *reply); /* accepts NULL */

/* host is the endpoint that the client (an AF_INET or AF_INET6 address, of
 * host's family) sent to. 0 or -errno. */
int icmp_reply_refuse(struct icmp_reply *reply, const struct sockaddr_storage *client,
		      const struct endpoint *host);

/* The ICMP message: type, code, checksum, and the start of the datagram that
 * is refused. RFC 792; RFC 4443 section 3.1, whose checksum is left to the
 * kernel. Returns its length. */
#define ICMP_UNREACHABLE_SIZE (8 + 40 + 8)
size_t icmp_unreachable_build(const struct endpoint *client, const struct endpoint *host,
			      uint8_t out[static ICMP_UNREACHABLE_SIZE]);
