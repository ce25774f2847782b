/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/icmp_reply.h"

#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "forwarder/pktinfo.h"
#include "netstack/base/bytes.h"

#define ICMP_HEADER_SIZE 8
#define IP4_HEADER_SIZE 20
#define IP6_HEADER_SIZE 40
#define UDP_HEADER_SIZE 8
#define TTL 64

/* <linux/icmp.h> has them, but collides with <netinet/ip_icmp.h>. */
#define RAW_ICMP_FILTER 1
struct raw_icmp_filter {
	uint32_t blocked_types; /* one bit each */
};

struct icmp_reply {
	int fd4, fd6; /* -1: this family is off on this host */
};

/* RFC 1071. */
static uint16_t internet_checksum(const uint8_t *p, size_t len)
{
	uint32_t sum = 0;

	for (size_t i = 0; i + 1 < len; i += 2)
		sum += get_be16(p + i);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* Of the refused datagram only the headers are given back; its length is not
 * known any more, and nobody looks. */
static void put_udp(uint8_t *p, const struct endpoint *client, const struct endpoint *host)
{
	put_be16(p, client->port);
	put_be16(p + 2, host->port);
	put_be16(p + 4, UDP_HEADER_SIZE);
}

static size_t build4(const struct endpoint *client, const struct endpoint *host, uint8_t *out)
{
	uint8_t *ip = out + ICMP_HEADER_SIZE;
	size_t len = ICMP_HEADER_SIZE + IP4_HEADER_SIZE + UDP_HEADER_SIZE;

	out[0] = ICMP_DEST_UNREACH;
	out[1] = ICMP_PORT_UNREACH;
	ip[0] = 0x45; /* version 4, five words */
	put_be16(ip + 2, IP4_HEADER_SIZE + UDP_HEADER_SIZE);
	ip[8] = TTL;
	ip[9] = IPPROTO_UDP;
	memcpy(ip + 12, ipaddr_v4_bytes(&client->addr), 4);
	memcpy(ip + 16, ipaddr_v4_bytes(&host->addr), 4);
	put_be16(ip + 10, internet_checksum(ip, IP4_HEADER_SIZE));
	put_udp(ip + IP4_HEADER_SIZE, client, host);
	put_be16(out + 2, internet_checksum(out, len));
	return len;
}

static size_t build6(const struct endpoint *client, const struct endpoint *host, uint8_t *out)
{
	uint8_t *ip = out + ICMP_HEADER_SIZE;

	out[0] = ICMP6_DST_UNREACH;
	out[1] = ICMP6_DST_UNREACH_NOPORT;
	ip[0] = 0x60; /* version 6 */
	put_be16(ip + 4, UDP_HEADER_SIZE);
	ip[6] = IPPROTO_UDP;
	ip[7] = TTL;
	memcpy(ip + 8, client->addr.b, 16);
	memcpy(ip + 24, host->addr.b, 16);
	put_udp(ip + IP6_HEADER_SIZE, client, host);
	return ICMP_HEADER_SIZE + IP6_HEADER_SIZE + UDP_HEADER_SIZE;
}

size_t icmp_unreachable_build(const struct endpoint *client, const struct endpoint *host,
			      uint8_t out[static ICMP_UNREACHABLE_SIZE])
{
	memset(out, 0, ICMP_UNREACHABLE_SIZE);
	if (ipaddr_is_v4(&client->addr))
		return build4(client, host, out);
	return build6(client, host, out);
}

/* A raw socket gets a copy of every ICMP message; we want none. */
static void take_nothing(const struct icmp_reply *reply)
{
	const struct raw_icmp_filter none4 = { .blocked_types = UINT32_MAX };
	struct icmp6_filter none6;

	ICMP6_FILTER_SETBLOCKALL(&none6);
	if (reply->fd4 >= 0)
		(void)setsockopt(reply->fd4, SOL_RAW, RAW_ICMP_FILTER, &none4, sizeof(none4));
	if (reply->fd6 >= 0)
		(void)setsockopt(reply->fd6, IPPROTO_ICMPV6, ICMP6_FILTER, &none6, sizeof(none6));
}

int icmp_reply_new(struct icmp_reply **out)
{
	const int type = SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC;
	struct icmp_reply *reply = malloc(sizeof(*reply));
	int error;

	if (!reply)
		return -ENOMEM;
	reply->fd4 = socket(AF_INET, type, IPPROTO_ICMP);
	error = errno;
	reply->fd6 = socket(AF_INET6, type, IPPROTO_ICMPV6);
	if (reply->fd4 < 0 && reply->fd6 < 0) {
		free(reply);
		return -error;
	}
	take_nothing(reply);
	*out = reply;
	return 0;
}

void icmp_reply_free(struct icmp_reply *reply)
{
	if (!reply)
		return;
	if (reply->fd4 >= 0)
		close(reply->fd4);
	if (reply->fd6 >= 0)
		close(reply->fd6);
	free(reply);
}

int icmp_reply_refuse(struct icmp_reply *reply, const struct sockaddr_storage *client,
		      const struct endpoint *host)
{
	uint8_t message[ICMP_UNREACHABLE_SIZE];
	struct iovec iov = { .iov_base = message };
	struct pktinfo_buffer control;
	struct sockaddr_storage to = *client;
	struct msghdr msg = { .msg_name = &to, .msg_iov = &iov, .msg_iovlen = 1 };
	bool is_v4 = client->ss_family == AF_INET;
	struct endpoint e;
	int r = endpoint_from_sockaddr(client, &e);

	if (r < 0)
		return r;
	iov.iov_len = icmp_unreachable_build(&e, host, message);
	if (is_v4) {
		msg.msg_namelen = sizeof(struct sockaddr_in);
	} else {
		msg.msg_namelen = sizeof(struct sockaddr_in6);
		((struct sockaddr_in6 *)&to)->sin6_port = 0; /* raw(7): must be */
	}
	pktinfo_set_source(&msg, &host->addr, &control);
	return sendmsg(is_v4 ? reply->fd4 : reply->fd6, &msg, 0) < 0 ? -errno : 0;
}
