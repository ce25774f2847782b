/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/wire.h"

#include <string.h>

#include "netstack/base/bytes.h"
#include "netstack/checksum.h"
#include "netstack/packet.h"

#define IP6_HOP_LIMIT 7

const struct mac wire_guest_mac = { { 0x52, 0x54, 0, 0x12, 0x34, 0x56 } };
const struct mac wire_gateway_mac = { { 0x52, 0x55, 192, 168, 5, 2 } };
const struct mac wire_gateway6_mac = { { 0x52, 0x56, 0, 0, 0, 2 } };
const struct mac wire_broadcast_mac = { { 255, 255, 255, 255, 255, 255 } };
const struct ipaddr wire_guest4 = IPADDR_V4(192, 168, 5, 15);
const struct ipaddr wire_gateway4 = IPADDR_V4(192, 168, 5, 2);
const struct ipaddr wire_dns4 = IPADDR_V4(192, 168, 5, 3);
const struct ipaddr wire_guest6 = { { 0xfd, 0, 0xc0, 0xa8, 0, 5, [15] = 0x15 } };
const struct ipaddr wire_gateway6 = { { 0xfd, 0, 0xc0, 0xa8, 0, 5, [15] = 2 } };
const struct ipaddr wire_dns6 = { { 0xfd, 0, 0xc0, 0xa8, 0, 5, [15] = 3 } };

struct wire wire_to(const struct ipaddr *dst, uint16_t guest_port, uint16_t port)
{
	bool v4 = ipaddr_is_v4(dst);

	return (struct wire){
		.src_mac = wire_guest_mac,
		.dst_mac = v4 ? wire_gateway_mac : wire_gateway6_mac,
		.src = { v4 ? wire_guest4 : wire_guest6, guest_port },
		.dst = { *dst, port },
	};
}

struct wire wire_back(const struct wire *w)
{
	return (struct wire){
		.src_mac = w->dst_mac,
		.dst_mac = w->src_mac,
		.src = w->dst,
		.dst = w->src,
	};
}

/* Ethernet and IP headers; returns where the payload goes. */
static uint8_t *put_headers(uint8_t *at, const struct wire *w, struct ip_fields *ip)
{
	bool v4 = ipaddr_is_v4(&w->src.addr);

	ip->src = &w->src.addr;
	ip->dst = &w->dst.addr;
	packet_put_ethernet(at, &w->dst_mac, &w->src_mac, v4 ? ETHERTYPE_IP4 : ETHERTYPE_IP6);
	return at + ETH_HEADER_SIZE + packet_put_ip(at + ETH_HEADER_SIZE, ip);
}

static void put_checksum(const struct wire *w, uint8_t protocol, uint8_t *message, size_t len,
			 size_t offset)
{
	uint64_t sum = 0;
	uint16_t field;

	memset(message + offset, 0, 2);
	if (protocol != IP_PROTO_ICMP) /* has no pseudo header */
		sum = checksum_pseudo(&w->src.addr, &w->dst.addr, protocol, len);
	field = checksum_finish(checksum_add(sum, message, len));
	if (field == 0)
		field = 0xffff;
	memcpy(message + offset, &field, 2);
}

size_t wire_ip(uint8_t *at, const struct wire *w, uint8_t protocol, const void *payload, size_t len)
{
	struct ip_fields ip = { .protocol = protocol, .payload_len = (uint16_t)len };
	uint8_t *to = put_headers(at, w, &ip);

	memcpy(to, payload, len);
	return (size_t)(to - at) + len;
}

size_t wire_udp(uint8_t *at, const struct wire *w, const void *data, size_t len)
{
	struct ip_fields ip = { .protocol = IP_PROTO_UDP, .payload_len = (uint16_t)(8 + len) };
	uint8_t *udp = put_headers(at, w, &ip);

	put_be16(udp, w->src.port);
	put_be16(udp + 2, w->dst.port);
	put_be16(udp + 4, (uint16_t)(8 + len));
	if (len)
		memcpy(udp + 8, data, len);
	put_checksum(w, IP_PROTO_UDP, udp, 8 + len, 6);
	return (size_t)(udp - at) + 8 + len;
}

size_t wire_icmp(uint8_t *at, const struct wire *w, const void *message, size_t len)
{
	uint8_t protocol = ipaddr_is_v4(&w->src.addr) ? IP_PROTO_ICMP : IP_PROTO_ICMP6;
	struct ip_fields ip = { .protocol = protocol, .payload_len = (uint16_t)len };
	uint8_t *icmp = put_headers(at, w, &ip);

	memcpy(icmp, message, len);
	put_checksum(w, protocol, icmp, len, 2);
	if (protocol == IP_PROTO_ICMP6)
		at[ETH_HEADER_SIZE + IP6_HOP_LIMIT] = 255;
	return (size_t)(icmp - at) + len;
}

size_t wire_tcp(uint8_t *at, const struct wire *w, const struct wire_tcp *t)
{
	size_t header = 20 + t->options_len;
	struct ip_fields ip = {
		.protocol = IP_PROTO_TCP,
		.payload_len = (uint16_t)(header + t->len),
	};
	uint8_t *tcp = put_headers(at, w, &ip);

	memset(tcp, 0, 20);
	put_be16(tcp, w->src.port);
	put_be16(tcp + 2, w->dst.port);
	put_be32(tcp + 4, t->seq);
	put_be32(tcp + 8, t->ack);
	tcp[12] = (uint8_t)(header / 4 << 4);
	tcp[13] = t->flags;
	put_be16(tcp + 14, t->window);
	if (t->options_len)
		memcpy(tcp + 20, t->options, t->options_len);
	if (t->len)
		memcpy(tcp + header, t->data, t->len);
	put_checksum(w, IP_PROTO_TCP, tcp, header + t->len, 16);
	return (size_t)(tcp - at) + header + t->len;
}

size_t wire_fragment(uint8_t *at, const struct wire *w, const struct wire_piece *p,
		     const uint8_t *payload)
{
	bool v4 = ipaddr_is_v4(&w->src.addr);
	struct ip_fields ip = {
		.protocol = v4 ? p->protocol : IP_PROTO_FRAGMENT,
		.payload_len = (uint16_t)(p->len + (v4 ? 0 : 8)),
		.id = (uint16_t)p->id,
		.fragment = (uint16_t)(p->offset / 8 | (p->has_more ? 0x2000U : 0)),
	};
	uint8_t *to = put_headers(at, w, &ip);

	if (!v4) {
		to[0] = p->protocol;
		to[1] = 0;
		put_be16(to + 2, (uint16_t)(p->offset | p->has_more));
		put_be32(to + 4, p->id);
		to += 8;
	}
	memcpy(to, payload + p->offset, p->len);
	return (size_t)(to - at) + p->len;
}

size_t wire_arp(uint8_t *at, const struct wire *w, uint16_t operation)
{
	uint8_t *arp = at + ETH_HEADER_SIZE;

	packet_put_ethernet(at, &w->dst_mac, &w->src_mac, ETHERTYPE_ARP_);
	put_be16(arp, 1);
	put_be16(arp + 2, ETHERTYPE_IP4);
	arp[4] = 6;
	arp[5] = 4;
	put_be16(arp + 6, operation);
	memcpy(arp + 8, w->src_mac.b, 6);
	memcpy(arp + 14, ipaddr_v4_bytes(&w->src.addr), 4);
	memset(arp + 18, 0, 6);
	if (operation == 2)
		memcpy(arp + 18, w->dst_mac.b, 6);
	memcpy(arp + 24, ipaddr_v4_bytes(&w->dst.addr), 4);
	return ETH_HEADER_SIZE + 28;
}

size_t wire_neighbor_advertisement(uint8_t *at, const struct wire *w)
{
	/* solicited, override; option 2: target link-layer address */
	uint8_t message[32] = { 136, 0, 0, 0, 0x60, [24] = 2, [25] = 1 };

	memcpy(message + 8, w->src.addr.b, 16);
	memcpy(message + 26, w->src_mac.b, 6);
	return wire_icmp(at, w, message, sizeof(message));
}

bool wire_has_right_checksum(uint8_t *bytes, size_t len)
{
	struct frame frame;
	struct packet p;
	uint64_t sum = 0;
	size_t l4_len;

	frame_init(&frame);
	frame_add(&frame, bytes, len);
	if (packet_parse(&frame, &p) != PACKET_OK)
		return false;
	if (p.kind == PACKET_ARP || p.kind == PACKET_FRAGMENT)
		return true;
	if (p.kind == PACKET_UDP && p.is_v4 && get_be16(p.l4 + 6) == 0)
		return true;
	l4_len = p.ip_len - p.ip_header_size;
	if (p.protocol != IP_PROTO_ICMP)
		sum = checksum_pseudo(&p.src.addr, &p.dst.addr, p.protocol, l4_len);
	return checksum_finish(checksum_add(sum, p.l4, l4_len)) == 0;
}
