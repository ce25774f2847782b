/* SPDX-License-Identifier: Apache-2.0 */
/* The edge: valid packets as they are understood, and each lie under the name
 * that it is counted by. TCP options have a test of their own. */
#include "netstack/packet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "netstack/base/bytes.h"
#include "netstack/checksum.h"

#define N_OF(array) (sizeof(array) / sizeof((array)[0]))
#define IP ETH_HEADER_SIZE
#define L4_V4 (IP + 20U)
#define L4_V6 (IP + 40U)
#define PAYLOAD 100U

static const struct mac guest_mac = { { 2, 0, 0, 0, 0, 1 } };
static const struct mac host_mac = { { 0x52, 0x55, 192, 168, 5, 2 } };
static const struct ipaddr guest4 = IPADDR_V4(192, 168, 5, 15), host4 = IPADDR_V4(192, 168, 5, 2);
static const struct ipaddr guest6 = { { 0xfd, 0, 0xc0, 0xa8, 0, 5, [15] = 0x15 } };
static const struct ipaddr host6 = { { 0xfd, 0, 0xc0, 0xa8, 0, 5, [15] = 2 } };

enum base { ARP, TCP4, UDP4, ICMP4, TCP6, UDP6, ICMP6, HOP6, FRAGMENT6 };

/* Writes one of the valid packets; returns the frame's length. */
static size_t make_ip(uint8_t *at, bool v4, uint8_t protocol, size_t payload_len)
{
	const struct ip_fields ip = {
		.src = v4 ? &guest4 : &guest6,
		.dst = v4 ? &host4 : &host6,
		.protocol = protocol,
		.payload_len = (uint16_t)payload_len,
	};

	packet_put_ethernet(at, &host_mac, &guest_mac, v4 ? ETHERTYPE_IP4 : ETHERTYPE_IP6);
	return IP + packet_put_ip(at + IP, &ip) + payload_len;
}

static void make_tcp(uint8_t *tcp)
{
	put_be16(tcp, 40000);
	put_be16(tcp + 2, 80);
	tcp[12] = 0x50;
	tcp[13] = TCP_FLAG_ACK;
}

static void make_udp(uint8_t *udp, size_t len)
{
	put_be16(udp, 40000);
	put_be16(udp + 2, 53);
	put_be16(udp + 4, (uint16_t)len);
}

static size_t make_arp(uint8_t *at)
{
	packet_put_ethernet(at, &host_mac, &guest_mac, ETHERTYPE_ARP_);
	put_be16(at + IP, 1);
	put_be16(at + IP + 2, ETHERTYPE_IP4);
	at[IP + 4] = 6;
	at[IP + 5] = 4;
	put_be16(at + IP + 6, 1);
	memcpy(at + IP + 8, guest_mac.b, 6);
	memcpy(at + IP + 14, ipaddr_v4_bytes(&guest4), 4);
	memcpy(at + IP + 24, ipaddr_v4_bytes(&host4), 4);
	return IP + 28;
}

static size_t make(enum base base, uint8_t *at)
{
	memset(at, 0, 512);
	switch (base) {
	case ARP:
		return make_arp(at);
	case TCP4:
		make_tcp(at + L4_V4);
		return make_ip(at, true, IP_PROTO_TCP, 20 + PAYLOAD);
	case UDP4:
		make_udp(at + L4_V4, 8 + PAYLOAD);
		return make_ip(at, true, IP_PROTO_UDP, 8 + PAYLOAD);
	case ICMP4:
		at[L4_V4] = 8;
		return make_ip(at, true, IP_PROTO_ICMP, 8 + PAYLOAD);
	case TCP6:
		make_tcp(at + L4_V6);
		return make_ip(at, false, IP_PROTO_TCP, 20 + PAYLOAD);
	case UDP6:
		make_udp(at + L4_V6, 8 + PAYLOAD);
		return make_ip(at, false, IP_PROTO_UDP, 8 + PAYLOAD);
	case ICMP6:
		at[L4_V6] = 128;
		return make_ip(at, false, IP_PROTO_ICMP6, 8 + PAYLOAD);
	case HOP6: /* hop-by-hop options of 16 bytes, then UDP */
		at[L4_V6] = IP_PROTO_UDP;
		at[L4_V6 + 1] = 1;
		make_udp(at + L4_V6 + 16, 8 + PAYLOAD);
		return make_ip(at, false, 0, 16 + 8 + PAYLOAD);
	case FRAGMENT6: /* the first piece of a UDP datagram */
		at[L4_V6] = IP_PROTO_UDP;
		put_be16(at + L4_V6 + 2, 1);
		return make_ip(at, false, IP_PROTO_FRAGMENT, 8 + PAYLOAD);
	}
	abort();
}

static void fix_ip4_checksum(uint8_t *bytes)
{
	size_t size = (size_t)(bytes[IP] & 15U) * 4;
	uint16_t sum;

	if (get_be16(bytes + 12) != ETHERTYPE_IP4 || size < 20)
		return;
	put_be16(bytes + IP + 10, 0);
	sum = checksum_finish(checksum_add(0, bytes + IP, size));
	memcpy(bytes + IP + 10, &sum, 2);
}

/* Parses a copy on the heap that ends where the frame does, for the address
 * sanitizer to notice whoever reads on. */
static enum packet_error parse(const uint8_t *bytes, size_t len, const struct frame_offload *o,
			       struct packet *p)
{
	uint8_t *copy = malloc(len ? len : 1);
	enum packet_error error;
	struct frame frame;

	memcpy(copy, bytes, len);
	frame_init(&frame);
	if (o)
		frame.offload = *o;
	frame_add(&frame, copy, len);
	error = packet_parse(&frame, p);
	if (error == PACKET_OK)
		frame_finish_checksum(&frame); /* what it allows is done safely */
	free(copy);
	return error;
}

static void valid_packets_are_understood(void **state)
{
	static const struct {
		enum base base;
		enum packet_kind kind;
		uint8_t protocol;
		uint16_t ip_header_size, l4_header_size, src_port, dst_port;
		bool is_v4;
	} cases[] = {
		{ TCP4, PACKET_TCP, IP_PROTO_TCP, 20, 20, 40000, 80, true },
		{ UDP4, PACKET_UDP, IP_PROTO_UDP, 20, 8, 40000, 53, true },
		{ ICMP4, PACKET_ICMP, IP_PROTO_ICMP, 20, 8, 0, 0, true },
		{ TCP6, PACKET_TCP, IP_PROTO_TCP, 40, 20, 40000, 80, false },
		{ UDP6, PACKET_UDP, IP_PROTO_UDP, 40, 8, 40000, 53, false },
		{ ICMP6, PACKET_ICMP, IP_PROTO_ICMP6, 40, 4, 0, 0, false },
		{ HOP6, PACKET_UDP, IP_PROTO_UDP, 56, 8, 40000, 53, false },
		{ FRAGMENT6, PACKET_FRAGMENT, IP_PROTO_FRAGMENT, 40, 0, 0, 0, false },
	};
	uint8_t bytes[512];
	struct packet p;

	(void)state;
	for (size_t i = 0; i < N_OF(cases); i++) {
		size_t len = make(cases[i].base, bytes);

		assert_int_equal(parse(bytes, len, NULL, &p), PACKET_OK);
		assert_int_equal(p.kind, cases[i].kind);
		assert_int_equal(p.protocol, cases[i].protocol);
		assert_int_equal(p.ip_header_size, cases[i].ip_header_size);
		assert_int_equal(p.l4_header_size, cases[i].l4_header_size);
		assert_int_equal(p.src.port, cases[i].src_port);
		assert_int_equal(p.dst.port, cases[i].dst_port);
		assert_int_equal(p.is_v4, cases[i].is_v4);
		assert_int_equal(p.ip_len, len - ETH_HEADER_SIZE);
		assert_ptr_equal(p.l4, p.ip + p.ip_header_size);
		assert_true(ipaddr_equal(&p.src.addr, cases[i].is_v4 ? &guest4 : &guest6));
		assert_true(ipaddr_equal(&p.dst.addr, cases[i].is_v4 ? &host4 : &host6));
		assert_true(mac_equal(&p.mac_src, &guest_mac));
		assert_true(mac_equal(&p.mac_dst, &host_mac));
	}
}

static void arp_is_understood(void **state)
{
	uint8_t bytes[512];
	size_t len = make(ARP, bytes);
	struct packet p;

	(void)state;
	assert_int_equal(parse(bytes, len, NULL, &p), PACKET_OK);
	assert_int_equal(p.kind, PACKET_ARP);
	assert_true(ipaddr_equal(&p.src.addr, &guest4));
	assert_true(ipaddr_equal(&p.dst.addr, &host4));
}

static void padding_is_trimmed_off(void **state)
{
	uint8_t bytes[512];
	size_t len = make(UDP4, bytes);
	struct frame frame;
	struct packet p;

	(void)state;
	frame_init(&frame);
	frame_add(&frame, bytes, len);
	frame_add(&frame, bytes, 10);
	frame_add(&frame, bytes, 20);

	assert_int_equal(packet_parse(&frame, &p), PACKET_OK);
	assert_int_equal(frame.len, len);
	assert_int_equal(frame.n_refs, 1);
	assert_int_equal(frame.refs[0].iov_len, len);
}

/* A packet that is right but for `size` bytes at `at`. */
static const struct lie {
	enum base base;
	unsigned int at, size;
	uint16_t value;
	enum packet_error error;
} lies[] = {
	/* Ethernet */
	{ TCP4, 6, 1, 0x01, PACKET_SHORT_ETHERNET }, /* a group as the sender */
	{ TCP4, 12, 2, 0x88b5, PACKET_OTHER_ETHERTYPE },
	{ TCP4, 12, 2, 0x8100, PACKET_OTHER_ETHERTYPE },
	{ TCP4, 12, 2, ETHERTYPE_IP6, PACKET_BAD_IP_HEADER },
	{ TCP6, 12, 2, ETHERTYPE_IP4, PACKET_BAD_IP_HEADER },
	/* ARP */
	{ ARP, IP, 2, 6, PACKET_BAD_ARP },
	{ ARP, IP + 2, 2, ETHERTYPE_IP6, PACKET_BAD_ARP },
	{ ARP, IP + 4, 1, 255, PACKET_BAD_ARP },
	{ ARP, IP + 5, 1, 16, PACKET_BAD_ARP },
	/* IPv4 */
	{ TCP4, IP, 1, 0x55, PACKET_BAD_IP_HEADER },
	{ TCP4, IP, 1, 0x44, PACKET_BAD_IP_HEADER },
	{ TCP4, IP, 1, 0x40, PACKET_BAD_IP_HEADER },
	{ TCP4, IP + 2, 2, 0, PACKET_BAD_IP_LENGTH },
	{ TCP4, IP + 2, 2, 19, PACKET_BAD_IP_LENGTH },
	{ TCP4, IP + 2, 2, 20 + 20 + PAYLOAD + 1, PACKET_BAD_IP_LENGTH },
	{ TCP4, IP + 2, 2, 65535, PACKET_BAD_IP_LENGTH },
	{ TCP4, IP + 6, 2, 0x4000, PACKET_OK },		 /* do not fragment */
	{ TCP4, IP + 9, 1, 2, PACKET_OTHER_PROTOCOL },	 /* IGMP */
	{ TCP4, IP + 9, 1, 132, PACKET_OTHER_PROTOCOL }, /* SCTP */
	{ TCP4, IP + 9, 1, IP_PROTO_ICMP6, PACKET_BAD_ICMP },
	{ TCP4, IP + 12, 2, 0x7f00, PACKET_BAD_IP_SOURCE },
	{ TCP4, IP + 12, 2, 0xe000, PACKET_BAD_IP_SOURCE },
	/* IPv6 */
	{ TCP6, IP, 1, 0x40, PACKET_BAD_IP_HEADER },
	{ TCP6, IP + 4, 2, 20 + PAYLOAD + 1, PACKET_BAD_IP_LENGTH },
	{ TCP6, IP + 4, 2, 65535, PACKET_BAD_IP_LENGTH },
	{ TCP6, IP + 4, 2, 0, PACKET_BAD_TCP },
	{ TCP6, IP + 6, 1, 59, PACKET_OTHER_PROTOCOL }, /* no next header */
	{ TCP6, IP + 6, 1, IP_PROTO_ICMP, PACKET_BAD_ICMP },
	{ TCP6, IP + 8, 1, 0xff, PACKET_BAD_IP_SOURCE },
	{ HOP6, L4_V6 + 1, 1, 255, PACKET_BAD_EXTENSION },
	{ HOP6, L4_V6 + 1, 1, 15, PACKET_BAD_EXTENSION }, /* beyond the packet by 4 */
	{ FRAGMENT6, IP + 4, 2, 7, PACKET_BAD_FRAGMENT },
	/* TCP */
	{ TCP4, L4_V4 + 12, 1, 0x40, PACKET_BAD_TCP },
	{ TCP4, L4_V4 + 12, 1, 0x00, PACKET_BAD_TCP },
	{ TCP4, IP + 2, 2, 20 + 19, PACKET_BAD_TCP },
	{ TCP4, IP + 2, 2, 20, PACKET_BAD_TCP },
	{ TCP6, L4_V6 + 12, 1, 0x40, PACKET_BAD_TCP },
	{ TCP6, IP + 4, 2, 19, PACKET_BAD_TCP },
	/* UDP */
	{ UDP4, L4_V4 + 4, 2, 7, PACKET_BAD_UDP },
	{ UDP4, L4_V4 + 4, 2, 0, PACKET_BAD_UDP },
	{ UDP4, L4_V4 + 4, 2, 8 + PAYLOAD + 1, PACKET_BAD_UDP },
	{ UDP4, L4_V4 + 4, 2, 8, PACKET_OK },
	{ UDP4, IP + 2, 2, 20 + 7, PACKET_BAD_UDP },
	{ UDP6, L4_V6 + 4, 2, 8 + PAYLOAD + 1, PACKET_BAD_UDP },
	{ UDP6, IP + 4, 2, 7, PACKET_BAD_UDP },
	/* ICMP */
	{ ICMP4, IP + 2, 2, 20 + 7, PACKET_BAD_ICMP },
	{ ICMP6, IP + 4, 2, 3, PACKET_BAD_ICMP },
};

static void each_lie_has_its_name(void **state)
{
	uint8_t bytes[512];
	struct packet p;

	(void)state;
	for (size_t i = 0; i < N_OF(lies); i++) {
		const struct lie *lie = &lies[i];
		size_t len = make(lie->base, bytes);
		enum packet_error error;

		if (lie->size == 1)
			bytes[lie->at] = (uint8_t)lie->value;
		else
			put_be16(bytes + lie->at, lie->value);
		fix_ip4_checksum(bytes);
		error = parse(bytes, len, NULL, &p);
		if (error != lie->error)
			fail_msg("lie %zu (byte %u = %u): %s instead of %s", i, lie->at, lie->value,
				 packet_error_name(error), packet_error_name(lie->error));
	}
}

/* Every packet, cut at every length: never accepted, never read beyond. */
static void no_cut_packet_passes(void **state)
{
	uint8_t bytes[512];
	struct packet p;

	(void)state;
	for (int base = ARP; base <= FRAGMENT6; base++) {
		size_t len = make((enum base)base, bytes);

		for (size_t cut = 0; cut < len; cut++)
			assert_int_not_equal(parse(bytes, cut, NULL, &p), PACKET_OK);
		assert_int_equal(parse(bytes, len, NULL, &p), PACKET_OK);
	}
}

static void a_wrong_header_checksum_is_refused(void **state)
{
	uint8_t bytes[512];
	size_t len = make(TCP4, bytes);
	struct packet p;

	(void)state;
	bytes[IP + 8]--;
	assert_int_equal(parse(bytes, len, NULL, &p), PACKET_BAD_IP_HEADER);
}

static void an_ipv4_address_may_not_hide_in_ipv6(void **state)
{
	static const struct ipaddr mapped = IPADDR_V4(127, 0, 0, 1);
	static const struct ipaddr loopback = { { [15] = 1 } };
	uint8_t bytes[512];
	size_t len = make(UDP6, bytes);
	struct packet p;

	(void)state;
	memcpy(bytes + IP + 24, mapped.b, 16);
	assert_int_equal(parse(bytes, len, NULL, &p), PACKET_BAD_IP_SOURCE);
	len = make(UDP6, bytes);
	memcpy(bytes + IP + 8, mapped.b, 16);
	assert_int_equal(parse(bytes, len, NULL, &p), PACKET_BAD_IP_SOURCE);
	len = make(UDP6, bytes);
	memcpy(bytes + IP + 8, loopback.b, 16);
	assert_int_equal(parse(bytes, len, NULL, &p), PACKET_BAD_IP_SOURCE);
}

static void ipv4_options_are_skipped(void **state)
{
	uint8_t bytes[512];
	size_t len = make(UDP4, bytes) + 4;
	struct packet p;

	(void)state;
	memmove(bytes + L4_V4 + 4, bytes + L4_V4, 8 + PAYLOAD);
	memset(bytes + L4_V4, 1, 4); /* no operation */
	bytes[IP] = 0x46;
	put_be16(bytes + IP + 2, (uint16_t)(len - IP));
	fix_ip4_checksum(bytes);

	assert_int_equal(parse(bytes, len, NULL, &p), PACKET_OK);
	assert_int_equal(p.ip_header_size, 24);
	assert_int_equal(p.dst.port, 53);
	put_be16(bytes + IP + 6, 0x2000); /* in pieces as well: who does that? */
	fix_ip4_checksum(bytes);
	assert_int_equal(parse(bytes, len, NULL, &p), PACKET_BAD_FRAGMENT);
}

static void pieces_of_ipv4_packets_have_no_ports(void **state)
{
	static const uint16_t fields[] = { 0x2000, 0x2001, 0x0001, 0x1fff };
	uint8_t bytes[512];
	struct packet p;

	(void)state;
	for (size_t i = 0; i < N_OF(fields); i++) {
		size_t len = make(UDP4, bytes);

		put_be16(bytes + IP + 6, fields[i]);
		fix_ip4_checksum(bytes);
		assert_int_equal(parse(bytes, len, NULL, &p), PACKET_OK);
		assert_int_equal(p.kind, PACKET_FRAGMENT);
		assert_int_equal(p.dst.port, 0);
	}
}

static void a_chain_of_extension_headers_ends_somewhere(void **state)
{
	uint8_t bytes[512];
	struct packet p;

	(void)state;
	for (size_t n = 1; n < 30; n++) {
		size_t len = make_ip(bytes, false, 60, n * 8 + 8);

		memset(bytes + L4_V6, 0, n * 8 + 8);
		for (size_t i = 0; i < n; i++)
			bytes[L4_V6 + i * 8] = i + 1 < n ? 60 : IP_PROTO_UDP;
		make_udp(bytes + L4_V6 + n * 8, 8);
		assert_int_equal(parse(bytes, len, NULL, &p),
				 n < 8 ? PACKET_OK : PACKET_BAD_EXTENSION);
	}
}

/* ---- offload: what a namespace's programs may write into the header ---- */

#define TCP4_GSO                                                                  \
	{                                                                         \
		.gso = FRAME_GSO_TCP4, .gso_size = 50, .header_size = L4_V4 + 20, \
		.csum_partial = true, .csum_start = L4_V4, .csum_offset = 16,     \
	}

static void offload_that_fits_the_packet_passes(void **state)
{
	static const struct {
		enum base base;
		struct frame_offload offload;
	} cases[] = {
		{ TCP4, TCP4_GSO },
		{ TCP4, { .csum_partial = true, .csum_start = L4_V4, .csum_offset = 16 } },
		{ UDP4, { .csum_partial = true, .csum_start = L4_V4, .csum_offset = 6 } },
		{ TCP6, { .csum_partial = true, .csum_start = L4_V6, .csum_offset = 16 } },
		{ ICMP6, { .csum_partial = true, .csum_start = L4_V6, .csum_offset = 2 } },
		{ HOP6, { .csum_partial = true, .csum_start = L4_V6 + 16, .csum_offset = 6 } },
		/* of a packet inside: a tunnel over UDP */
		{ UDP4, { .csum_partial = true, .csum_start = L4_V4 + 8 + 50, .csum_offset = 16 } },
	};
	uint8_t bytes[512];
	struct packet p;

	(void)state;
	for (size_t i = 0; i < N_OF(cases); i++) {
		size_t len = make(cases[i].base, bytes);

		assert_int_equal(parse(bytes, len, &cases[i].offload, &p), PACKET_OK);
	}
}

static void offload_that_does_not_is_refused(void **state)
{
	static const struct {
		enum base base;
		struct frame_offload offload;
	} cases[] = {
		/* over the IP header, which has been checked already */
		{ UDP4, { .csum_partial = true, .csum_start = IP, .csum_offset = 2 } },
		{ UDP4, { .csum_partial = true, .csum_start = 0, .csum_offset = 12 } },
		{ UDP6, { .csum_partial = true, .csum_start = IP, .csum_offset = 4 } },
		/* over another field of the transport header */
		{ UDP4, { .csum_partial = true, .csum_start = L4_V4, .csum_offset = 4 } },
		{ UDP4, { .csum_partial = true, .csum_start = L4_V4 + 2, .csum_offset = 4 } },
		{ TCP4, { .csum_partial = true, .csum_start = L4_V4, .csum_offset = 12 } },
		/* beyond the packet: into what was padding */
		{ UDP4, { .csum_partial = true, .csum_start = L4_V4 + 8 + PAYLOAD } },
		{ UDP4, { .csum_partial = true, .csum_start = L4_V4 + 8 + PAYLOAD - 1 } },
		{ UDP4, { .csum_partial = true, .csum_start = L4_V4 + 8, .csum_offset = PAYLOAD } },
		{ UDP4, { .csum_partial = true, .csum_start = 65535, .csum_offset = 65535 } },
		/* where there is none */
		{ ARP, { .csum_partial = true, .csum_start = IP, .csum_offset = 2 } },
		{ FRAGMENT6, { .csum_partial = true, .csum_start = L4_V6 + 8, .csum_offset = 6 } },
		/* segmentation of what is no TCP, or of the other family */
		{ UDP4, TCP4_GSO },
		{ ICMP4, TCP4_GSO },
		{ TCP4, { .gso = FRAME_GSO_TCP4, .gso_size = 50 } },
		{ TCP4,
		  { .gso = FRAME_GSO_TCP6,
		    .gso_size = 50,
		    .csum_partial = true,
		    .csum_start = L4_V4,
		    .csum_offset = 16 } },
		{ TCP4,
		  { .gso = FRAME_GSO_TCP4,
		    .gso_size = 50,
		    .csum_partial = true,
		    .csum_start = L4_V4 + 30,
		    .csum_offset = 16 } },
	};
	uint8_t bytes[512 + 64] = { 0 };
	struct packet p;

	(void)state;
	for (size_t i = 0; i < N_OF(cases); i++) {
		size_t len = make(cases[i].base, bytes) + 64; /* with padding */

		if (parse(bytes, len, &cases[i].offload, &p) != PACKET_BAD_OFFLOAD)
			fail_msg("case %zu was not refused", i);
	}
}

static void every_error_has_a_name_of_its_own(void **state)
{
	(void)state;
	for (int i = 0; i < PACKET_N_ERRORS; i++) {
		assert_non_null(packet_error_name((enum packet_error)i));
		for (int k = 0; k < i; k++)
			assert_string_not_equal(packet_error_name((enum packet_error)i),
						packet_error_name((enum packet_error)k));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(valid_packets_are_understood),
		cmocka_unit_test(arp_is_understood),
		cmocka_unit_test(padding_is_trimmed_off),
		cmocka_unit_test(each_lie_has_its_name),
		cmocka_unit_test(no_cut_packet_passes),
		cmocka_unit_test(a_wrong_header_checksum_is_refused),
		cmocka_unit_test(an_ipv4_address_may_not_hide_in_ipv6),
		cmocka_unit_test(ipv4_options_are_skipped),
		cmocka_unit_test(pieces_of_ipv4_packets_have_no_ports),
		cmocka_unit_test(a_chain_of_extension_headers_ends_somewhere),
		cmocka_unit_test(offload_that_fits_the_packet_passes),
		cmocka_unit_test(offload_that_does_not_is_refused),
		cmocka_unit_test(every_error_has_a_name_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
