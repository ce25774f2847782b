/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/pktinfo.h"

#include <errno.h>
#include <string.h>

int pktinfo_enable(int fd, int family)
{
	const int on = 1;
	int r;

	if (family == AF_INET)
		r = setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on));
	else
		r = setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on));
	return r < 0 ? -errno : 0;
}

int pktinfo_get(struct msghdr *msg, struct ipaddr *out)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo info;

			memcpy(&info, CMSG_DATA(c), sizeof(info));
			*out = ipaddr_from_v4((const void *)&info.ipi_spec_dst);
			return 0;
		}
		if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo info;

			memcpy(&info, CMSG_DATA(c), sizeof(info));
			*out = ipaddr_from_v6(info.ipi6_addr.s6_addr);
			if (ipaddr_is_multicast(out))
				*out = IPADDR_V6_ANY;
			return 0;
		}
	}
	return -ENOENT;
}

static void set_control(struct msghdr *msg, struct pktinfo_buffer *buffer, int level, int type)
{
	struct cmsghdr *c;

	memset(buffer, 0, sizeof(*buffer));
	msg->msg_control = buffer;
	msg->msg_controllen = sizeof(*buffer);
	c = CMSG_FIRSTHDR(msg);
	c->cmsg_level = level;
	c->cmsg_type = type;
}

void pktinfo_set_source(struct msghdr *msg, const struct ipaddr *from,
			struct pktinfo_buffer *buffer)
{
	struct in_pktinfo info4 = { .ipi_ifindex = 0 };
	struct in6_pktinfo info6 = { .ipi6_ifindex = 0 };
	struct cmsghdr *c = &buffer->u.align;

	if (ipaddr_is_v4(from)) {
		set_control(msg, buffer, IPPROTO_IP, IP_PKTINFO);
		memcpy(&info4.ipi_spec_dst, ipaddr_v4_bytes(from), 4);
		c->cmsg_len = CMSG_LEN(sizeof(info4));
		memcpy(CMSG_DATA(c), &info4, sizeof(info4));
		msg->msg_controllen = CMSG_SPACE(sizeof(info4));
	} else {
		set_control(msg, buffer, IPPROTO_IPV6, IPV6_PKTINFO);
		memcpy(&info6.ipi6_addr, from->b, 16);
		c->cmsg_len = CMSG_LEN(sizeof(info6));
		memcpy(CMSG_DATA(c), &info6, sizeof(info6));
		msg->msg_controllen = CMSG_SPACE(sizeof(info6));
	}
}
