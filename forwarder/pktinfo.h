/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Which of the host's addresses a datagram came to, and should go from: a
 * socket bound to a wildcard has many, and a reply from another address than
 * the one asked is not accepted. RFC 3542 section 6; ip(7), IP_PKTINFO. */
#include <netinet/in.h>
#include <sys/socket.h>

#include "netstack/addr.h"

/* Control data of one message. */
struct pktinfo_buffer {
	union {
		struct cmsghdr align;
		char v4[CMSG_SPACE(sizeof(struct in_pktinfo))];
		char v6[CMSG_SPACE(sizeof(struct in6_pktinfo))];
	} u;
};

/* Received messages carry it from now on. 0 or -errno. */
int pktinfo_enable(int fd, int family);
/* Where the received message was sent to; for broadcast and multicast the
 * host's own address, or :: when only the kernel can choose. -ENOENT. */
int pktinfo_get(struct msghdr *msg, struct ipaddr *out);
/* Makes msg, to be sent, come from this address. msg uses buffer. */
void pktinfo_set_source(struct msghdr *msg, const struct ipaddr *from,
			struct pktinfo_buffer *buffer);
