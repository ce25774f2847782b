/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Whole Ethernet frames as a guest writes them, checksums right. Each function
 * writes to `at`, which has room for FRAME_MAX_SIZE bytes, and returns the
 * frame's length. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "netstack/addr.h"
#include "netstack/frame.h"

/* From whom to whom; both addresses of one family. */
struct wire {
	struct mac src_mac, dst_mac;
	struct endpoint src, dst;
};

/* The guest of stack_config_default(), and the gateway as it sees it. */
extern const struct mac wire_guest_mac, wire_gateway_mac, wire_gateway6_mac, wire_broadcast_mac;
extern const struct ipaddr wire_guest4, wire_guest6, wire_gateway4, wire_gateway6, wire_dns4,
	wire_dns6;
/* The guest to dst, by way of the gateway. */
struct wire wire_to(const struct ipaddr *dst, uint16_t guest_port, uint16_t port);
/* The way back. */
struct wire wire_back(const struct wire *w);

size_t wire_ip(uint8_t *at, const struct wire *w, uint8_t protocol, const void *payload,
	       size_t len);
size_t wire_udp(uint8_t *at, const struct wire *w, const void *data, size_t len);
/* ICMP or ICMPv6, by the family; the message's checksum is filled in. */
size_t wire_icmp(uint8_t *at, const struct wire *w, const void *message, size_t len);

struct wire_tcp {
	uint32_t seq, ack;
	uint8_t flags;
	uint16_t window;
	const void *options;
	size_t options_len; /* a multiple of 4 */
	const void *data;
	size_t len;
};
size_t wire_tcp(uint8_t *at, const struct wire *w, const struct wire_tcp *tcp);

/* One fragment of an IP payload. */
struct wire_piece {
	uint32_t id;
	uint8_t protocol;
	size_t offset, len; /* of this piece; offset a multiple of 8 */
	bool has_more;
};
size_t wire_fragment(uint8_t *at, const struct wire *w, const struct wire_piece *piece,
		     const uint8_t *payload);

/* operation 1: who has dst.addr; 2: src.addr is at src_mac. */
size_t wire_arp(uint8_t *at, const struct wire *w, uint16_t operation);
/* src.addr is at src_mac (RFC 4861, section 4.4). */
size_t wire_neighbor_advertisement(uint8_t *at, const struct wire *w);

/* Whether the transport checksum of a frame that packet_parse() takes is right;
 * UDP over IPv4 may go without. */
bool wire_has_right_checksum(uint8_t *frame, size_t len);
