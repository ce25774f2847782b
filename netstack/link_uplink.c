/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/link_uplink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netstack/base/log.h"
#include "netstack/link_tap.h"

#define ETH_P_ALL_ 0x0003
#define OLD_VNET_HEADER_SIZE 10U /* struct virtio_net_hdr: without num_buffers */
/* As much as a burst of 64 KiB segments. */
#define SOCKET_BUFFER_SIZE (4 << 20)

static int query(int fd, unsigned long request, const char *ifname, struct ifreq *out)
{
	*out = (struct ifreq){ .ifr_flags = 0 };
	memcpy(out->ifr_name, ifname, strlen(ifname));
	return ioctl(fd, request, out) < 0 ? -errno : 0;
}

static int set_options(int fd, int ifindex)
{
	const struct packet_mreq promiscuous = { .mr_ifindex = ifindex,
						 .mr_type = PACKET_MR_PROMISC };
	const int on = 1, size = SOCKET_BUFFER_SIZE;

	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous, sizeof(promiscuous)) <
		    0)
		return -errno;
	return 0;
}

/* What is unfinished of an interface's MTU limits the link's. */
static int attach(int fd, const char *ifname, uint16_t *mtu)
{
	struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL_) };
	struct ifreq ifr;
	int r = query(fd, SIOCGIFHWADDR, ifname, &ifr);

	if (r < 0)
		return r;
	if (ifr.ifr_hwaddr.sa_family != ARPHRD_ETHER)
		return -EPROTOTYPE;
	r = query(fd, SIOCGIFMTU, ifname, &ifr);
	if (r < 0)
		return r;
	if (ifr.ifr_mtu < *mtu)
		*mtu = (uint16_t)ifr.ifr_mtu;
	r = query(fd, SIOCGIFINDEX, ifname, &ifr);
	if (r < 0)
		return r;
	address.sll_ifindex = ifr.ifr_ifindex;
	r = set_options(fd, address.sll_ifindex);
	if (r < 0)
		return r;
	return bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
}

static const char *explain(int error)
{
	switch (error) {
	case -EPERM:
		return "not permitted; it needs CAP_NET_RAW";
	case -ENODEV:
		return "there is no such interface";
	case -EPROTOTYPE:
		return "not an Ethernet interface; put a bridge or VXLAN on top of it";
	default:
		return strerror(-error);
	}
}

int link_uplink_new(struct loop *loop, const char *ifname, uint16_t mtu, struct link **out)
{
	/* hears nothing before it is bound */
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	char name[64];
	struct tap_fd from = {
		.fd = fd, .header_size = OLD_VNET_HEADER_SIZE, .mtu = mtu, .name = name
	};
	int r = fd < 0 ? -errno : attach(fd, ifname, &from.mtu);

	(void)snprintf(name, sizeof(name), "uplink:%s", ifname);
	if (r < 0 && fd >= 0)
		close(fd);
	if (r == 0)
		r = link_tap_from_fd(loop, &from, out);
	if (r < 0)
		log_error("uplink %s: %s", ifname, explain(r));
	return r;
}
