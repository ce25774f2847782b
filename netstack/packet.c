/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/packet.h"

#include <assert.h>
#include <string.h>

#include "netstack/base/bytes.h"
#include "netstack/checksum.h"

#define ARP_SIZE 28U
#define IP4_SIZE 20U
#define IP6_SIZE 40U
#define TCP_SIZE 20U
#define TCP_OPTION_END 0
#define TCP_OPTION_NOP 1
#define UDP_SIZE 8U
#define ICMP_SIZE 8U
#define ICMP6_SIZE 4U
#define MAX_EXTENSIONS 8

static const char *const error_name[] = {
	[PACKET_OK] = "ok",
	[PACKET_SHORT_ETHERNET] = "short-ethernet",
	[PACKET_OTHER_ETHERTYPE] = "other-ethertype",
	[PACKET_BAD_ARP] = "bad-arp",
	[PACKET_BAD_IP_HEADER] = "bad-ip-header",
	[PACKET_BAD_IP_LENGTH] = "bad-ip-length",
	[PACKET_BAD_IP_SOURCE] = "bad-ip-source",
	[PACKET_OTHER_PROTOCOL] = "other-protocol",
	[PACKET_BAD_EXTENSION] = "bad-extension-header",
	[PACKET_BAD_FRAGMENT] = "bad-fragment",
	[PACKET_BAD_TCP] = "bad-tcp",
	[PACKET_BAD_UDP] = "bad-udp",
	[PACKET_BAD_ICMP] = "bad-icmp",
	[PACKET_BAD_OFFLOAD] = "bad-offload",
};
static_assert(sizeof(error_name) / sizeof(error_name[0]) == PACKET_N_ERRORS, "one name each");

const char *packet_error_name(enum packet_error error)
{
	return error_name[error];
}

static enum packet_error parse_arp(const struct frame *frame, struct packet *p)
{
	const uint8_t *arp = (uint8_t *)frame->refs[0].iov_base + ETH_HEADER_SIZE;

	/* Ethernet and IPv4 only: hardware type 1, sizes 6 and 4 */
	if (frame->refs[0].iov_len < ETH_HEADER_SIZE + ARP_SIZE || get_be16(arp) != 1 ||
	    get_be16(arp + 2) != ETHERTYPE_IP4 || arp[4] != 6 || arp[5] != 4)
		return PACKET_BAD_ARP;
	p->kind = PACKET_ARP;
	p->src.addr = ipaddr_from_v4(arp + 14);
	p->dst.addr = ipaddr_from_v4(arp + 24);
	return PACKET_OK;
}

/* Whether each option ends within the header: lwIP reads an option's length
 * before it looks whether there is one. */
static bool tcp_options_fit(const uint8_t *option, const uint8_t *end)
{
	while (option < end && *option != TCP_OPTION_END) {
		if (*option == TCP_OPTION_NOP) {
			option++;
			continue;
		}
		if (end - option < 2 || option[1] < 2 || option[1] > end - option)
			return false;
		option += option[1];
	}
	return true;
}

/* `headers`: bytes of the transport header that refs[0] holds; `len`: bytes of
 * the whole transport message. */
static enum packet_error parse_transport(struct packet *p, size_t headers, size_t len)
{
	const uint8_t *h = p->l4;

	switch (p->protocol) {
	case IP_PROTO_TCP:
		if (headers < TCP_SIZE)
			return PACKET_BAD_TCP;
		p->l4_header_size = (uint16_t)((h[12] >> 4) * 4);
		if (p->l4_header_size < TCP_SIZE || p->l4_header_size > headers ||
		    p->ip_len > 65535 || /* more than lwIP's lengths hold */
		    !tcp_options_fit(h + TCP_SIZE, h + p->l4_header_size))
			return PACKET_BAD_TCP;
		p->kind = PACKET_TCP;
		p->tcp_flags = h[13];
		break;
	case IP_PROTO_UDP:
		if (headers < UDP_SIZE || get_be16(h + 4) < UDP_SIZE || get_be16(h + 4) > len)
			return PACKET_BAD_UDP;
		p->l4_header_size = UDP_SIZE;
		p->kind = PACKET_UDP;
		break;
	case IP_PROTO_ICMP:
	case IP_PROTO_ICMP6:
		if (headers < (p->is_v4 ? ICMP_SIZE : ICMP6_SIZE) ||
		    (p->protocol == IP_PROTO_ICMP) != p->is_v4)
			return PACKET_BAD_ICMP;
		p->l4_header_size = p->is_v4 ? ICMP_SIZE : ICMP6_SIZE;
		p->kind = PACKET_ICMP;
		return PACKET_OK;
	default:
		p->kind = PACKET_OTHER;
		return PACKET_OTHER_PROTOCOL;
	}
	p->src.port = get_be16(h);
	p->dst.port = get_be16(h + 2);
	return PACKET_OK;
}

static void trim(struct frame *frame, size_t len)
{
	while (frame->len > len) {
		struct iovec *last = &frame->refs[frame->n_refs - 1];
		size_t excess = frame->len - len;

		if (last->iov_len > excess) {
			last->iov_len -= excess;
			frame->len -= excess;
			return;
		}
		frame->len -= last->iov_len;
		frame->n_refs--;
	}
}

static enum packet_error finish_ip(struct frame *frame, struct packet *p)
{
	size_t header_end = ETH_HEADER_SIZE + p->ip_header_size;

	trim(frame, ETH_HEADER_SIZE + p->ip_len);
	p->l4 = p->ip + p->ip_header_size;
	p->l4_contiguous = frame->refs[0].iov_len - header_end;
	if (p->kind == PACKET_FRAGMENT)
		return PACKET_OK;
	return parse_transport(p, p->l4_contiguous, p->ip_len - p->ip_header_size);
}

static enum packet_error parse_ip4(struct frame *frame, struct packet *p)
{
	size_t headers = frame->refs[0].iov_len - ETH_HEADER_SIZE;
	const uint8_t *h = p->ip;
	uint16_t fragment;

	if (headers < IP4_SIZE || h[0] >> 4 != 4)
		return PACKET_BAD_IP_HEADER;
	p->is_v4 = true;
	p->ip_header_size = (uint16_t)((h[0] & 15) * 4);
	p->ip_len = get_be16(h + 2);
	if (p->ip_header_size < IP4_SIZE || p->ip_header_size > headers)
		return PACKET_BAD_IP_HEADER;
	if (p->ip_len < p->ip_header_size || p->ip_len > frame->len - ETH_HEADER_SIZE)
		return PACKET_BAD_IP_LENGTH;
	if (checksum_finish(checksum_add(0, h, p->ip_header_size)) != 0)
		return PACKET_BAD_IP_HEADER;
	p->protocol = h[9];
	p->src.addr = ipaddr_from_v4(h + 12);
	p->dst.addr = ipaddr_from_v4(h + 16);
	if (ipaddr_is_loopback(&p->src.addr) || ipaddr_is_multicast(&p->src.addr))
		return PACKET_BAD_IP_SOURCE;
	fragment = get_be16(h + 6);
	if (fragment & 0x3fff) { /* more fragments, or an offset */
		if (p->ip_header_size != IP4_SIZE)
			return PACKET_BAD_FRAGMENT;
		p->kind = PACKET_FRAGMENT;
	}
	return finish_ip(frame, p);
}

/* Walks hop-by-hop (0), routing (43) and destination options (60) headers. */
static enum packet_error skip_extensions(struct packet *p, size_t headers)
{
	uint8_t next = p->ip[6];
	size_t at = IP6_SIZE;

	for (int i = 0; i < MAX_EXTENSIONS; i++) {
		if (next == IP_PROTO_FRAGMENT) {
			if (at + 8 > headers || at + 8 > p->ip_len)
				return PACKET_BAD_FRAGMENT;
			p->kind = PACKET_FRAGMENT;
		}
		if (next != 0 && next != 43 && next != 60) {
			p->protocol = next;
			p->ip_header_size = (uint16_t)at;
			return PACKET_OK;
		}
		if (at + 8 > headers)
			return PACKET_BAD_EXTENSION;
		next = p->ip[at];
		at += (size_t)(p->ip[at + 1] + 1) * 8;
		if (at > headers || at > p->ip_len)
			return PACKET_BAD_EXTENSION;
	}
	return PACKET_BAD_EXTENSION;
}

static enum packet_error parse_ip6(struct frame *frame, struct packet *p)
{
	size_t headers = frame->refs[0].iov_len - ETH_HEADER_SIZE;
	const uint8_t *h = p->ip;
	enum packet_error error;

	if (headers < IP6_SIZE || h[0] >> 4 != 6)
		return PACKET_BAD_IP_HEADER;
	p->is_v4 = false;
	p->ip_len = get_be16(h + 4) + IP6_SIZE;
	if (p->ip_len > frame->len - ETH_HEADER_SIZE)
		return PACKET_BAD_IP_LENGTH;
	p->src.addr = ipaddr_from_v6(h + 8);
	p->dst.addr = ipaddr_from_v6(h + 24);
	if (ipaddr_is_v4(&p->src.addr) || ipaddr_is_v4(&p->dst.addr) ||
	    ipaddr_is_loopback(&p->src.addr) || ipaddr_is_multicast(&p->src.addr))
		return PACKET_BAD_IP_SOURCE;
	error = skip_extensions(p, headers);
	if (error)
		return error;
	return finish_ip(frame, p);
}

/* Where the checksum is, from the start of the transport header. */
static unsigned int checksum_offset(const struct packet *p)
{
	switch (p->protocol) {
	case IP_PROTO_TCP:
		return 16;
	case IP_PROTO_UDP:
		return 6;
	default: /* ICMP and ICMPv6 */
		return 2;
	}
}

/* The offload comes from the guest as well. The checksum asked for is the
 * packet's own, or one in its payload, when the packet is a tunnel's. */
static enum packet_error check_offload(const struct frame *frame, const struct packet *p)
{
	const struct frame_offload *o = &frame->offload;
	size_t l4, field = (size_t)o->csum_start + o->csum_offset;
	bool is_own;

	if (!o->csum_partial)
		return o->gso == FRAME_GSO_NONE ? PACKET_OK : PACKET_BAD_OFFLOAD;
	if (p->kind == PACKET_ARP || p->kind == PACKET_FRAGMENT)
		return PACKET_BAD_OFFLOAD;
	l4 = (size_t)(p->l4 - (uint8_t *)frame->refs[0].iov_base);
	is_own = o->csum_start == l4 && o->csum_offset == checksum_offset(p);
	if (o->gso != FRAME_GSO_NONE &&
	    (p->kind != PACKET_TCP || !is_own || (o->gso == FRAME_GSO_TCP4) != p->is_v4))
		return PACKET_BAD_OFFLOAD;
	if (!is_own &&
	    (o->csum_start < l4 + p->l4_header_size || field + 2 > frame->refs[0].iov_len))
		return PACKET_BAD_OFFLOAD;
	return PACKET_OK;
}

static enum packet_error parse(struct frame *frame, struct packet *p)
{
	uint8_t *eth;

	memset(p, 0, sizeof(*p));
	if (frame->n_refs == 0 || frame->refs[0].iov_len < ETH_HEADER_SIZE)
		return PACKET_SHORT_ETHERNET;
	eth = frame->refs[0].iov_base;
	memcpy(p->mac_dst.b, eth, 6);
	memcpy(p->mac_src.b, eth + 6, 6);
	if (mac_is_group(&p->mac_src))
		return PACKET_SHORT_ETHERNET;
	p->ip = eth + ETH_HEADER_SIZE;
	switch (get_be16(eth + 12)) {
	case ETHERTYPE_ARP_:
		return parse_arp(frame, p);
	case ETHERTYPE_IP4:
		return parse_ip4(frame, p);
	case ETHERTYPE_IP6:
		return parse_ip6(frame, p);
	default:
		return PACKET_OTHER_ETHERTYPE;
	}
}

enum packet_error packet_parse(struct frame *frame, struct packet *p)
{
	enum packet_error error = parse(frame, p);

	return error == PACKET_OK ? check_offload(frame, p) : error;
}

void packet_put_ethernet(uint8_t *at, const struct mac *dst, const struct mac *src,
			 uint16_t ethertype)
{
	memcpy(at, dst->b, 6);
	memcpy(at + 6, src->b, 6);
	put_be16(at + 12, ethertype);
}

static unsigned int put_ip4(uint8_t *at, const struct ip_fields *f)
{
	uint16_t sum;

	memset(at, 0, IP4_SIZE);
	at[0] = 0x45;
	put_be16(at + 2, (uint16_t)(IP4_SIZE + f->payload_len));
	put_be16(at + 4, f->id);
	put_be16(at + 6, f->fragment);
	at[8] = 64;
	at[9] = f->protocol;
	memcpy(at + 12, ipaddr_v4_bytes(f->src), 4);
	memcpy(at + 16, ipaddr_v4_bytes(f->dst), 4);
	sum = checksum_finish(checksum_add(0, at, IP4_SIZE));
	memcpy(at + 10, &sum, 2);
	return IP4_SIZE;
}

unsigned int packet_put_ip(uint8_t *at, const struct ip_fields *f)
{
	if (ipaddr_is_v4(f->src))
		return put_ip4(at, f);
	memset(at, 0, IP6_SIZE);
	at[0] = 0x60;
	put_be16(at + 4, f->payload_len);
	at[6] = f->protocol;
	at[7] = 64;
	memcpy(at + 8, f->src->b, 16);
	memcpy(at + 24, f->dst->b, 16);
	return IP6_SIZE;
}
