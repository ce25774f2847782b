/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The edge: every frame of a guest is checked here once, into a struct packet
 * that cannot be wrong; all code behind it may trust the offsets. Ethernet II,
 * ARP (RFC 826), IPv4 (RFC 791), IPv6 (RFC 8200), TCP (RFC 9293), UDP
 * (RFC 768), ICMP (RFC 792), ICMPv6 (RFC 4443). */
#include <stdbool.h>
#include <stdint.h>

#include "netstack/addr.h"
#include "netstack/frame.h"

enum packet_kind {
	PACKET_ARP,
	PACKET_TCP,
	PACKET_UDP,
	PACKET_ICMP,	 /* ICMP or ICMPv6 */
	PACKET_FRAGMENT, /* a piece of an IP packet; ports are not known */
	PACKET_OTHER,	 /* another protocol over IP: comes with PACKET_OTHER_PROTOCOL */
};

/* Why a frame was refused; also the name of the counter. */
enum packet_error {
	PACKET_OK,
	PACKET_SHORT_ETHERNET,
	PACKET_OTHER_ETHERTYPE,
	PACKET_BAD_ARP,
	PACKET_BAD_IP_HEADER,
	PACKET_BAD_IP_LENGTH,
	PACKET_BAD_IP_SOURCE,
	PACKET_OTHER_PROTOCOL,
	PACKET_BAD_EXTENSION,
	PACKET_BAD_FRAGMENT,
	PACKET_BAD_TCP,
	PACKET_BAD_UDP,
	PACKET_BAD_ICMP,
	PACKET_BAD_OFFLOAD, /* a virtio-net header that does not fit the packet */
	PACKET_N_ERRORS,
};

#define IP_PROTO_ICMP 1
#define IP_PROTO_IGMP 2
#define IP_PROTO_TCP 6
#define IP_PROTO_UDP 17
#define IP_PROTO_FRAGMENT 44
#define IP_PROTO_ICMP6 58

#define ETHERTYPE_ARP_ 0x0806
#define ETHERTYPE_IP4 0x0800
#define ETHERTYPE_IP6 0x86dd

#define TCP_FLAG_FIN 0x01
#define TCP_FLAG_SYN 0x02
#define TCP_FLAG_RST 0x04
#define TCP_FLAG_ACK 0x10

struct packet {
	enum packet_kind kind;
	struct mac mac_src, mac_dst;
	bool is_v4;
	uint8_t *ip;		  /* IP header, inside refs[0] */
	uint8_t *l4;		  /* transport header, inside refs[0] */
	uint8_t protocol;	  /* IP_PROTO_*, of the transport header */
	uint16_t ip_header_size;  /* with options or extension headers */
	uint32_t ip_len;	  /* whole IP packet; the frame is trimmed to it */
	size_t l4_contiguous;	  /* bytes from l4 on that are in refs[0] */
	struct endpoint src, dst; /* ports for TCP and UDP */
	uint8_t tcp_flags;
	uint16_t l4_header_size;
};

/* Checks the frame and its offload, and fills in *p. Trims Ethernet padding off
 * the frame. The headers must be in refs[0] (see frame.h). After it,
 * frame_finish_checksum() changes no byte that was looked at here but the
 * packet's own checksum. */
enum packet_error packet_parse(struct frame *frame, struct packet *p);

/* "bad-ip-length" and the like. */
const char *packet_error_name(enum packet_error error);

/* Headers for frames that we make. */
void packet_put_ethernet(uint8_t *at, const struct mac *dst, const struct mac *src,
			 uint16_t ethertype);

struct ip_fields {
	const struct ipaddr *src, *dst; /* both of one family */
	uint8_t protocol;
	uint16_t payload_len;
	uint16_t id;	   /* IPv4 identification */
	uint16_t fragment; /* IPv4 flags and offset field, host order */
};
/* Writes an IPv4 (20 bytes, with checksum) or IPv6 (40 bytes) header; returns
 * its size. */
unsigned int packet_put_ip(uint8_t *at, const struct ip_fields *f);
