/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/rtnetlink.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct request {
	struct nlmsghdr header;
	uint8_t body[256];
};

/* Room for the fixed part of a message, zeroed, behind the header. */
static void *start(struct request *r, uint16_t type, uint16_t flags, size_t size)
{
	memset(r, 0, sizeof(*r));
	r->header.nlmsg_type = type;
	r->header.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
	r->header.nlmsg_len = (uint32_t)NLMSG_LENGTH(size);
	return r->body;
}

static void add(struct request *r, uint16_t type, const void *data, uint16_t len)
{
	size_t at = NLMSG_ALIGN(r->header.nlmsg_len);
	struct rtattr attr = { .rta_len = (uint16_t)RTA_LENGTH(len), .rta_type = type };

	memcpy((uint8_t *)r + at, &attr, sizeof(attr));
	memcpy((uint8_t *)r + at + RTA_LENGTH(0), data, len);
	r->header.nlmsg_len = (uint32_t)(at + RTA_ALIGN(attr.rta_len));
}

static void add_address(struct request *r, uint16_t type, const struct ipaddr *a)
{
	if (ipaddr_is_v4(a))
		add(r, type, ipaddr_v4_bytes(a), 4);
	else
		add(r, type, a->b, 16);
}

static uint8_t family_of(const struct ipaddr *a)
{
	return ipaddr_is_v4(a) ? AF_INET : AF_INET6;
}

/* Sends the request; the kernel's acknowledgement carries the result. */
static int ask(int sock, const struct request *r)
{
	struct {
		struct nlmsghdr header;
		struct nlmsgerr error;
		uint8_t rest[512];
	} reply;
	ssize_t n;

	if (send(sock, r, r->header.nlmsg_len, 0) < 0)
		return -errno;
	n = recv(sock, &reply, sizeof(reply), 0);
	if (n < 0)
		return -errno;
	if ((size_t)n < offsetof(typeof(reply), rest) - sizeof(reply.error.msg) ||
	    reply.header.nlmsg_type != NLMSG_ERROR)
		return -EPROTO;
	return reply.error.error;
}

int rtnetlink_open(void)
{
	int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	return sock < 0 ? -errno : sock;
}

int rtnetlink_set_up(int sock, unsigned int ifindex)
{
	struct request r;
	struct ifinfomsg *m = start(&r, RTM_NEWLINK, 0, sizeof(*m));

	m->ifi_index = (int)ifindex;
	m->ifi_flags = m->ifi_change = IFF_UP;
	return ask(sock, &r);
}

int rtnetlink_set_mtu(int sock, unsigned int ifindex, uint32_t mtu, uint32_t tx_queue_len)
{
	struct request r;
	struct ifinfomsg *m = start(&r, RTM_NEWLINK, 0, sizeof(*m));

	m->ifi_index = (int)ifindex;
	add(&r, IFLA_MTU, &mtu, sizeof(mtu));
	add(&r, IFLA_TXQLEN, &tx_queue_len, sizeof(tx_queue_len));
	return ask(sock, &r);
}

int rtnetlink_set_mac(int sock, unsigned int ifindex, const struct mac *mac)
{
	struct request r;
	struct ifinfomsg *m = start(&r, RTM_NEWLINK, 0, sizeof(*m));

	m->ifi_index = (int)ifindex;
	add(&r, IFLA_ADDRESS, mac->b, sizeof(mac->b));
	return ask(sock, &r);
}

int rtnetlink_add_address(int sock, unsigned int ifindex, const struct ipaddr *addr,
			  unsigned int prefix_bits)
{
	struct request r;
	struct ifaddrmsg *m = start(&r, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof(*m));

	m->ifa_family = family_of(addr);
	m->ifa_prefixlen = (uint8_t)prefix_bits;
	m->ifa_index = ifindex;
	if (!ipaddr_is_v4(addr))
		m->ifa_flags = IFA_F_NODAD;
	add_address(&r, IFA_LOCAL, addr);
	add_address(&r, IFA_ADDRESS, addr);
	return ask(sock, &r);
}

int rtnetlink_add_default_route(int sock, unsigned int ifindex, const struct ipaddr *gateway)
{
	struct request r;
	struct rtmsg *m = start(&r, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, sizeof(*m));
	uint32_t oif = ifindex;

	m->rtm_family = family_of(gateway);
	m->rtm_table = RT_TABLE_MAIN;
	m->rtm_protocol = RTPROT_STATIC;
	m->rtm_scope = RT_SCOPE_UNIVERSE;
	m->rtm_type = RTN_UNICAST;
	add_address(&r, RTA_GATEWAY, gateway);
	add(&r, RTA_OIF, &oif, sizeof(oif));
	return ask(sock, &r);
}
