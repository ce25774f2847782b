/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "netstack/base/bytes.h"
#include "tests/support/wire.h"

#define N_PORTS 3

static const struct ipaddr leased4 = IPADDR_V4(192, 168, 5, 15); /* port 0's */
static const struct ipaddr free4 = IPADDR_V4(192, 168, 5, 77);
static const struct ipaddr nobody4 = IPADDR_V4(0, 0, 0, 0);
static const struct ipaddr broadcast4 = IPADDR_V4(255, 255, 255, 255);
static const struct ipaddr own6 = { { 0xfd, 0, 0xc0, 0xa8, 0, 5, [15] = 0x77 } };
static const struct ipaddr local6 = { { 0xfe, 0x80, [15] = 0x77 } };
static const struct ipaddr all6 = { { 0xff, 2, [15] = 1 } };

struct fixture {
	struct guard guard;
	struct guard_port ports[N_PORTS];
	struct mac leased_mac;
	uint64_t now_ms;
	uint8_t bytes[2000];
};

static const struct mac *on_leased_to(void *arg, const struct ipaddr *addr)
{
	const struct fixture *f = arg;

	return ipaddr_equal(addr, &leased4) ? &f->leased_mac : NULL;
}

static struct mac station(int port)
{
	return (struct mac){ { 2, 0, 0, 0, 0, (uint8_t)port } };
}

static int setup(void **state)
{
	static struct fixture f;
	const struct guard_config config = {
		.network4 = IPADDR_V4(192, 168, 5, 0),
		.prefix4_bits = 24,
		.prefix6 = { { 0xfd, 0, 0xc0, 0xa8, 0, 5 } },
		.reserved = { wire_gateway4, wire_gateway6 },
		.n_reserved = 2,
		.leased_to = on_leased_to,
		.arg = &f,
	};

	memset(&f, 0, sizeof(f));
	f.leased_mac = station(0);
	guard_init(&f.guard, &config);
	for (int i = 0; i < N_PORTS; i++)
		guard_add(&f.guard, &f.ports[i]);
	*state = &f;
	return 0;
}

/* What a station of that number sends at its port, or another's. */
static struct wire from(int number, const struct ipaddr *src)
{
	struct wire w = wire_to(ipaddr_is_v4(src) ? &wire_gateway4 : &wire_gateway6, 1000, 80);

	w.src_mac = station(number);
	w.src.addr = *src;
	return w;
}

static enum guard_verdict check(struct fixture *f, int port, size_t len)
{
	uint8_t *exact = malloc(len);
	enum guard_verdict verdict;
	enum packet_error error;
	struct frame frame;
	struct packet p;

	memcpy(exact, f->bytes, len);
	frame_init(&frame);
	frame_add(&frame, exact, len);
	error = packet_parse(&frame, &p);
	assert_true(error == PACKET_OK || error == PACKET_OTHER_PROTOCOL);
	verdict = guard_check(&f->guard, &f->ports[port], &p, f->now_ms);
	free(exact);
	return verdict;
}

static enum guard_verdict send_udp(struct fixture *f, int port, const struct wire *w)
{
	return check(f, port, wire_udp(f->bytes, w, "x", 1));
}

static enum guard_verdict send_arp(struct fixture *f, int port, const struct wire *w)
{
	return check(f, port, wire_arp(f->bytes, w, 2));
}

static void a_port_has_the_first_mac_that_it_uses(void **state)
{
	struct fixture *f = *state;
	struct wire w = from(0, &leased4), other = from(1, &free4);

	assert_int_equal(send_udp(f, 0, &w), GUARD_OK);
	assert_int_equal(send_udp(f, 0, &other), GUARD_SPOOFED_MAC); /* a second one */
	assert_int_equal(send_udp(f, 1, &w), GUARD_SPOOFED_MAC);     /* another port's */
	assert_int_equal(send_udp(f, 1, &other), GUARD_OK);
	assert_int_equal(f->guard.refused[GUARD_SPOOFED_MAC], 2);
	assert_ptr_equal(guard_find(&f->guard, &other.src_mac), &f->ports[1]);

	guard_remove(&f->ports[0]); /* the guest goes, and comes back elsewhere */
	assert_int_equal(send_udp(f, 2, &w), GUARD_OK);
}

static void a_leased_address_is_the_lessees(void **state)
{
	struct fixture *f = *state;
	struct wire thief = from(1, &leased4), owner = from(0, &leased4);

	assert_int_equal(send_udp(f, 1, &thief), GUARD_SPOOFED_ADDRESS); /* though first */
	assert_int_equal(send_udp(f, 0, &owner), GUARD_OK);
	assert_int_equal(send_udp(f, 1, &thief), GUARD_SPOOFED_ADDRESS);
}

static void another_address_is_its_first_users(void **state)
{
	const struct ipaddr *const addresses[] = { &free4, &own6, &local6 };
	struct fixture *f = *state;

	for (size_t i = 0; i < 3; i++) {
		struct wire first = from(0, addresses[i]), second = from(1, addresses[i]);

		assert_int_equal(send_udp(f, 0, &first), GUARD_OK);
		assert_int_equal(send_udp(f, 1, &second), GUARD_SPOOFED_ADDRESS);
		assert_int_equal(send_udp(f, 0, &first), GUARD_OK);
	}
	assert_int_equal(f->ports[0].n_addresses, 3);
	guard_remove(&f->ports[0]);
	for (size_t i = 0; i < 3; i++) {
		struct wire second = from(1, addresses[i]);

		assert_int_equal(send_udp(f, 1, &second), GUARD_OK);
	}
}

static void foreign_addresses_are_nobodys(void **state)
{
	static const char *const addresses[] = { "192.168.5.2",	  "192.168.6.1",    "192.0.2.1",
						 "0.0.0.0",	  "fd00:c0a8:5::2", "2001:db8::1",
						 "fd00:c0a8:6::1" };
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
		struct ipaddr addr;
		struct wire w;

		assert_int_equal(ipaddr_parse(addresses[i], &addr), 0);
		w = from(0, &addr);
		assert_int_equal(send_udp(f, 0, &w), GUARD_SPOOFED_ADDRESS);
	}
}

static void who_has_no_address_yet_may_ask_for_one(void **state)
{
	static const uint8_t solicitation[24] = {
		135, [8] = 0xfd, 0, 0xc0, 0xa8, 0, 5, [23] = 0x77
	};
	static const uint8_t membership[8] = { 0x16 };
	static const struct ipaddr nobody6 = { { 0 } };
	struct fixture *f = *state;
	struct wire w = from(0, &nobody4);

	w.src.port = 68;
	w.dst = (struct endpoint){ broadcast4, 67 };
	assert_int_equal(send_udp(f, 0, &w), GUARD_OK);
	w.dst.port = 68;
	assert_int_equal(send_udp(f, 0, &w), GUARD_SPOOFED_ADDRESS);
	assert_int_equal(check(f, 0, wire_ip(f->bytes, &w, IP_PROTO_IGMP, membership, 8)),
			 GUARD_OK);
	assert_int_equal(check(f, 0, wire_arp(f->bytes, &w, 1)), GUARD_OK);
	w = from(0, &nobody6);
	w.dst.addr = all6;
	assert_int_equal(check(f, 0, wire_icmp(f->bytes, &w, solicitation, sizeof(solicitation))),
			 GUARD_OK);
	/* what it looks for with nobody's address it is about to have itself */
	assert_int_equal(f->ports[0].n_addresses, 1);
	assert_true(ipaddr_equal(&f->ports[0].addresses[0].addr, &own6));
	w = from(1, &nobody6);
	w.dst.addr = all6; /* and another may still find that it is taken */
	assert_int_equal(check(f, 1, wire_icmp(f->bytes, &w, solicitation, sizeof(solicitation))),
			 GUARD_OK);
	assert_int_equal(f->ports[1].n_addresses, 0);
}

static void nobody_speaks_for_another_by_arp(void **state)
{
	struct fixture *f = *state;
	struct wire owner = from(0, &leased4), gateway = from(1, &wire_gateway4);
	struct wire lie = from(1, &leased4), other_mac = from(1, &free4);

	assert_int_equal(send_arp(f, 0, &owner), GUARD_OK);
	assert_int_equal(send_arp(f, 1, &lie), GUARD_ARP_POISON);
	assert_int_equal(send_arp(f, 1, &gateway), GUARD_ARP_POISON);
	/* the sender in the message is another than the frame's */
	(void)wire_arp(f->bytes, &other_mac, 1);
	f->bytes[ETH_HEADER_SIZE + 13] = 9;
	assert_int_equal(check(f, 1, ETH_HEADER_SIZE + 28), GUARD_ARP_POISON);
	assert_int_equal(f->guard.refused[GUARD_ARP_POISON], 3);
}

static void nobody_speaks_for_another_by_neighbor_discovery(void **state)
{
	struct fixture *f = *state;
	struct wire owner = from(0, &own6), thief = from(1, &local6);
	uint8_t lie[32] = { 136, 0, 0, 0, 0x60, [24] = 2, [25] = 1 };
	uint8_t ask[32] = { 135, [24] = 1, [25] = 1 };

	assert_int_equal(check(f, 0, wire_neighbor_advertisement(f->bytes, &owner)), GUARD_OK);
	memcpy(lie + 8, own6.b, 16);
	memcpy(lie + 26, thief.src_mac.b, 6);
	assert_int_equal(check(f, 1, wire_icmp(f->bytes, &thief, lie, 32)), GUARD_ND_POISON);
	memcpy(lie + 8, wire_gateway6.b, 16);
	assert_int_equal(check(f, 1, wire_icmp(f->bytes, &thief, lie, 32)), GUARD_ND_POISON);
	/* a solicitation with another's MAC, from an address that is its own */
	memcpy(ask + 26, thief.src_mac.b, 6);
	assert_int_equal(check(f, 1, wire_icmp(f->bytes, &thief, ask, 32)), GUARD_OK);
	memcpy(ask + 26, owner.src_mac.b, 6);
	assert_int_equal(check(f, 1, wire_icmp(f->bytes, &thief, ask, 32)), GUARD_ND_POISON);
	/* options that do not add up, and none at all */
	ask[25] = 0;
	assert_int_equal(check(f, 1, wire_icmp(f->bytes, &thief, ask, 32)), GUARD_ND_POISON);
	ask[25] = 2;
	assert_int_equal(check(f, 1, wire_icmp(f->bytes, &thief, ask, 32)), GUARD_ND_POISON);
	assert_int_equal(check(f, 1, wire_icmp(f->bytes, &thief, ask, 23)), GUARD_ND_POISON);
	assert_int_equal(check(f, 1, wire_icmp(f->bytes, &thief, ask, 24)), GUARD_OK);
}

static void no_guest_is_a_dhcp_server_or_a_router(void **state)
{
	uint8_t message[40] = { 134 };
	struct fixture *f = *state;
	struct wire w = from(0, &leased4), six = from(0, &local6);

	w.src.port = 67;
	assert_int_equal(send_udp(f, 0, &w), GUARD_ROGUE_DHCP);
	w.src.port = 547;
	assert_int_equal(send_udp(f, 0, &w), GUARD_OK);
	six.src.port = 547;
	assert_int_equal(send_udp(f, 0, &six), GUARD_ROGUE_DHCP);
	assert_int_equal(check(f, 0, wire_icmp(f->bytes, &six, message, 40)), GUARD_ROGUE_ROUTER);
	message[0] = 137;
	assert_int_equal(check(f, 0, wire_icmp(f->bytes, &six, message, 40)), GUARD_ROGUE_ROUTER);
	message[0] = 5; /* a redirect of IPv4; of IPv6 it is nothing */
	assert_int_equal(check(f, 0, wire_icmp(f->bytes, &w, message, 40)), GUARD_ROGUE_ROUTER);
	message[0] = 128;
	assert_int_equal(check(f, 0, wire_icmp(f->bytes, &six, message, 40)), GUARD_OK);
}

static enum guard_verdict send_first(struct fixture *f, const struct wire *w, uint8_t protocol,
				     const uint8_t *start, size_t len)
{
	const struct wire_piece piece = { 7, protocol, 0, len, true };

	return check(f, 0, wire_fragment(f->bytes, w, &piece, start));
}

static void fragments_hide_nothing(void **state)
{
	static const uint8_t dhcp[32] = { 0, 67, 0, 68 }, plain[16] = { 4, 0, 0, 80 };
	static const uint8_t dhcp6[16] = { 2, 35, 2, 34 }, ra[16] = { 134 }, echo[16] = { 128 };
	const struct wire_piece later = { 7, IP_PROTO_UDP, 16, 16, false };
	struct fixture *f = *state;
	struct wire w = from(0, &leased4), six = from(0, &own6);

	assert_int_equal(send_first(f, &w, IP_PROTO_UDP, dhcp, 16), GUARD_ROGUE_DHCP);
	assert_int_equal(send_first(f, &w, IP_PROTO_UDP, plain, 16), GUARD_OK);
	assert_int_equal(send_first(f, &six, IP_PROTO_UDP, dhcp6, 16), GUARD_ROGUE_DHCP);
	assert_int_equal(send_first(f, &six, IP_PROTO_UDP, plain, 16), GUARD_OK);
	assert_int_equal(send_first(f, &six, IP_PROTO_ICMP6, ra, 16), GUARD_BAD_FRAGMENT);
	assert_int_equal(send_first(f, &six, IP_PROTO_ICMP6, echo, 16), GUARD_OK);
	assert_int_equal(send_first(f, &six, 60, ra, 16), GUARD_BAD_FRAGMENT); /* options */
	assert_int_equal(send_first(f, &six, IP_PROTO_UDP, plain, 0), GUARD_BAD_FRAGMENT);
	assert_int_equal(check(f, 0, wire_fragment(f->bytes, &w, &later, dhcp)), GUARD_OK);
}

static void other_protocols_pass_from_own_addresses(void **state)
{
	uint8_t sctp[16] = { 0, 67 };
	struct fixture *f = *state;
	struct wire w = from(0, &leased4), lie = from(1, &leased4);

	assert_int_equal(check(f, 0, wire_ip(f->bytes, &w, 132, sctp, sizeof(sctp))), GUARD_OK);
	assert_int_equal(check(f, 1, wire_ip(f->bytes, &lie, 132, sctp, sizeof(sctp))),
			 GUARD_SPOOFED_ADDRESS);
}

static void a_port_has_so_many_addresses(void **state)
{
	struct fixture *f = *state;
	struct wire w = from(0, &own6), kept = from(0, &local6), other = from(1, &own6);

	for (uint8_t i = 0; i < 200; i++) {
		f->now_ms += 10;
		w.src.addr.b[15] = i;
		if (i == 2) /* the gateway's */
			continue;
		assert_int_equal(send_udp(f, 0, &w), GUARD_OK);
		assert_int_equal(send_udp(f, 0, &kept), GUARD_OK);
	}
	assert_int_equal(f->ports[0].n_addresses, GUARD_ADDRESSES);
	/* what it does not use any more is for others, what it uses is not */
	other.src.addr.b[15] = 1;
	assert_int_equal(send_udp(f, 1, &other), GUARD_OK);
	other.src.addr.b[15] = 199;
	assert_int_equal(send_udp(f, 1, &other), GUARD_SPOOFED_ADDRESS);
	other.src.addr = local6;
	assert_int_equal(send_udp(f, 1, &other), GUARD_SPOOFED_ADDRESS);
}

static void every_verdict_has_a_name(void **state)
{
	(void)state;
	for (int i = 0; i < GUARD_N_VERDICTS; i++)
		assert_true(strlen(guard_verdict_name((enum guard_verdict)i)) > 1);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_port_has_the_first_mac_that_it_uses),
		TEST(a_leased_address_is_the_lessees),
		TEST(another_address_is_its_first_users),
		TEST(foreign_addresses_are_nobodys),
		TEST(who_has_no_address_yet_may_ask_for_one),
		TEST(nobody_speaks_for_another_by_arp),
		TEST(nobody_speaks_for_another_by_neighbor_discovery),
		TEST(no_guest_is_a_dhcp_server_or_a_router),
		TEST(fragments_hide_nothing),
		TEST(other_protocols_pass_from_own_addresses),
		TEST(a_port_has_so_many_addresses),
		TEST(every_verdict_has_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
