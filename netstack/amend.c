/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/amend.h"

#include <stdbool.h>
#include <string.h>

#include "netstack/base/bytes.h"
#include "netstack/checksum.h"
#include "netstack/packet.h"

#define RA_OPTIONS 16U
#define RA_FLAGS 5U
#define RA_MANAGED 0x80U
#define RA_OTHER 0x40U
#define RA_LIFETIME_S 1800U
#define ND_OPTION_MTU 5
#define ND_OPTION_RDNSS 25

static void store_checksum(const struct packet *p, size_t offset)
{
	size_t len = p->ip_len - p->ip_header_size;
	uint16_t sum = 0;

	memcpy(p->l4 + offset, &sum, 2);
	sum = checksum_finish(checksum_add(
		checksum_pseudo(&p->src.addr, &p->dst.addr, p->protocol, len), p->l4, len));
	memcpy(p->l4 + offset, &sum, 2);
}

static bool has_option(const struct packet *p, uint8_t type)
{
	size_t len = p->ip_len - p->ip_header_size;

	for (size_t at = RA_OPTIONS; at + 8 <= len && p->l4[at + 1];
	     at += p->l4[at + 1] * (size_t)8) {
		if (p->l4[at] == type)
			return true;
	}
	return false;
}

static void amend_ra(struct packet *p, const struct amend_config *config)
{
	uint8_t *end = p->ip + p->ip_len;

	if (config->is_managed)
		p->l4[RA_FLAGS] |= RA_MANAGED | RA_OTHER;
	if (!has_option(p, ND_OPTION_MTU)) {
		memset(end, 0, 8);
		end[0] = ND_OPTION_MTU;
		end[1] = 1;
		put_be32(end + 4, config->mtu);
		end += 8;
	}
	if (!has_option(p, ND_OPTION_RDNSS)) {
		memset(end, 0, 8);
		end[0] = ND_OPTION_RDNSS;
		end[1] = 3;
		put_be32(end + 4, RA_LIFETIME_S);
		memcpy(end + 8, config->dns6.b, 16);
		end += 24;
	}
	p->ip_len = (uint32_t)(end - p->ip);
	put_be16(p->ip + 4, (uint16_t)(p->ip_len - 40));
	store_checksum(p, 2);
}

/* Before parsing: no checked packet has such a source. */
static void hide_loopback(uint8_t *bytes, size_t len, const struct amend_config *config)
{
	static const uint8_t loopback6[16] = { [15] = 1 };
	uint8_t *ip = bytes + ETH_HEADER_SIZE;
	uint16_t sum = 0;

	if (len >= ETH_HEADER_SIZE + 20 && ip[0] == 0x45 && ip[9] == IP_PROTO_ICMP &&
	    ip[12] == 127) {
		memcpy(ip + 12, ipaddr_v4_bytes(&config->gateway4), 4);
		memcpy(ip + 10, &sum, 2);
		sum = checksum_finish(checksum_add(0, ip, 20));
		memcpy(ip + 10, &sum, 2);
	} else if (len >= ETH_HEADER_SIZE + 44 && ip[0] >> 4 == 6 && ip[6] == IP_PROTO_ICMP6 &&
		   len == ETH_HEADER_SIZE + 40U + get_be16(ip + 4) &&
		   memcmp(ip + 8, loopback6, sizeof(loopback6)) == 0) {
		struct packet p = { .ip = ip,
				    .l4 = ip + 40,
				    .protocol = IP_PROTO_ICMP6,
				    .ip_header_size = 40,
				    .ip_len = (uint32_t)(len - ETH_HEADER_SIZE),
				    .src.addr = config->gateway6,
				    .dst.addr = ipaddr_from_v6(ip + 24) };

		memcpy(ip + 8, config->gateway6.b, 16);
		store_checksum(&p, 2);
	}
}

size_t amend_frame(uint8_t *bytes, size_t len, const struct amend_config *config)
{
	struct frame frame;
	struct packet p;

	hide_loopback(bytes, len, config);
	frame_init(&frame);
	frame_add(&frame, bytes, len);
	if (packet_parse(&frame, &p) != PACKET_OK)
		return len;
	if (p.kind != PACKET_ICMP || p.is_v4 || p.l4[0] != 134 || p.ip_len < 40 + RA_OPTIONS)
		return len;
	amend_ra(&p, config);
	return ETH_HEADER_SIZE + p.ip_len;
}
