/* SPDX-License-Identifier: Apache-2.0 */
/* Everything but TCP that a guest in memory gets from the stack: an address, a
 * router, names, answers to ping. Its datagrams: test_stack_udp.c. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "netstack/base/bytes.h"
#include "tests/support/fake_loop.h"
#include "tests/support/guest.h"
#include "tests/support/guest_datagram.h"
#include "tests/support/own_network.h"

#define LARGE 5000U

static uint8_t data[LARGE];

static int start(void **state, const struct stack_config *config)
{
	static struct guest guest;

	*state = &guest;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + i / 253);
	return guest_start(&guest, &fake_link_plain, config);
}

static int setup(void **state)
{
	return start(state, NULL);
}

static int setup_without_loopback(void **state)
{
	struct stack_config config = stack_config_default();

	config.host_loopback = false;
	config.mtu = 1500;
	config.resolv_conf = "/nonexistent";
	return start(state, &config);
}

static int teardown(void **state)
{
	guest_stop(*state);
	return 0;
}

/* --- an address, and a router ----------------------------------------------- */

static const uint8_t *dhcp_option(const uint8_t *bootp, size_t len, uint8_t kind)
{
	for (size_t at = 240; at + 1 < len && bootp[at] != 255;
	     at += bootp[at] ? 2U + bootp[at + 1] : 1U) {
		if (bootp[at] == kind)
			return bootp + at;
	}
	fail_msg("no DHCP option %u", kind);
	return NULL;
}

static void assert_lease(struct guest *g, uint16_t mtu)
{
	static const uint8_t address[4] = { 192, 168, 5, 15 };
	static const uint8_t router[] = { 3, 4, 192, 168, 5, 2 }, dns[] = { 6, 4, 192, 168, 5, 3 };
	uint8_t bytes[600], bootp[300] = { 1, 1, 6, 0, 1, 2, 3, 4 };
	struct ipaddr all = IPADDR_V4(255, 255, 255, 255);
	struct wire w = wire_to(&all, 68, 67);
	const uint8_t *reply, *option;
	struct packet p;
	size_t len;

	w.src.addr = IPADDR_V4(0, 0, 0, 0);
	w.dst_mac = wire_broadcast_mac;
	memcpy(bootp + 28, wire_guest_mac.b, 6);
	put_be32(bootp + 236, 0x63825363);
	memcpy(bootp + 240, (uint8_t[]){ 53, 1, 1, 255 }, 4); /* DISCOVER */
	guest_send(g, bytes, wire_udp(bytes, &w, bootp, sizeof(bootp)));
	guest_run(g);
	reply = guest_take_message(g, PACKET_UDP, &p, &len);
	assert_non_null(reply);
	reply += 8;
	len -= 8;
	assert_int_equal(dhcp_option(reply, len, 53)[2], 2); /* OFFER */
	assert_memory_equal(reply + 16, address, 4);
	option = dhcp_option(reply, len, 26);
	assert_int_equal(option[1], 2);
	assert_int_equal(get_be16(option + 2), mtu);
	assert_memory_equal(dhcp_option(reply, len, 3), router, sizeof(router));
	assert_memory_equal(dhcp_option(reply, len, 6), dns, sizeof(dns));
}

static void a_guest_gets_a_lease(void **state)
{
	assert_lease(*state, 65520);
}

static void a_guest_gets_a_lease_with_another_mtu(void **state)
{
	assert_lease(*state, 1500);
}

static void a_guest_finds_its_router(void **state)
{
	static const struct ipaddr self = { { 0xfe, 0x80, [15] = 0x15 } };
	static const struct ipaddr all_routers = { { 0xff, 2, [15] = 2 } };
	static const uint8_t solicitation[8] = { 133 };
	struct wire w = wire_to(&all_routers, 0, 0);
	struct guest *g = *state;
	const uint8_t *ra, *mtu = NULL, *dns = NULL;
	uint8_t bytes[100];
	struct packet p;
	size_t len;

	w.src.addr = self;
	w.dst_mac = (struct mac){ { 0x33, 0x33, 0, 0, 0, 2 } };
	guest_send(g, bytes, wire_icmp(bytes, &w, solicitation, sizeof(solicitation)));
	guest_run(g);
	ra = guest_take_message(g, PACKET_ICMP, &p, &len);
	assert_non_null(ra);
	assert_int_equal(ra[0], 134);
	for (size_t at = 16; at < len; at += ra[at + 1] * (size_t)8) {
		if (ra[at] == 5)
			mtu = ra + at;
		if (ra[at] == 25)
			dns = ra + at;
		assert_int_not_equal(ra[at + 1], 0);
	}
	if (!mtu || !dns) {
		fail_msg("options are missing");
		return;
	}
	assert_int_equal(get_be32(mtu + 4), 65520);
	assert_memory_equal(dns + 8, wire_dns6.b, 16);
}

static void the_gateway_has_a_mac(void **state)
{
	struct wire w = wire_to(&wire_gateway4, 0, 0);
	struct guest *g = *state;
	struct sent_frame *s;
	uint8_t bytes[100];

	w.dst_mac = wire_broadcast_mac;
	guest_send(g, bytes, wire_arp(bytes, &w, 1));
	guest_run(g);
	s = guest_take(g, PACKET_ARP);
	assert_non_null(s);
	assert_int_equal(get_be16(s->bytes + ETH_HEADER_SIZE + 6), 2);
	assert_memory_equal(s->bytes + ETH_HEADER_SIZE + 8, wire_gateway_mac.b, 6);
	free(s);
}

static void drop_received(struct guest *g)
{
	struct sent_frame *s;

	while ((s = guest_take(g, PACKET_ICMP)))
		free(s);
}

static void ping(struct guest *g, const struct ipaddr *to, size_t payload)
{
	bool v4 = ipaddr_is_v4(to);
	struct wire w = wire_to(to, 0, 0);
	static uint8_t bytes[FRAME_MAX_SIZE], message[LARGE + 8];
	const uint8_t *reply;
	struct packet p;
	size_t len;

	memset(message, 0, 8);
	message[0] = v4 ? 8 : 128;
	memcpy(message + 8, data, payload);
	len = wire_icmp(bytes, &w, message, 8 + payload);
	guest_send_ip(g, &w, v4 ? IP_PROTO_ICMP : IP_PROTO_ICMP6, bytes + len - 8 - payload,
		      8 + payload);
	guest_run(g);
	reply = guest_take_message(g, PACKET_ICMP, &p, &len);
	assert_non_null(reply);
	assert_int_equal(reply[0], v4 ? 0 : 129);
	assert_int_equal(len, 8 + payload);
	assert_memory_equal(reply + 8, data, payload);
	assert_true(ipaddr_equal(&p.src.addr, to));
}

static void the_gateway_answers_ping(void **state)
{
	ping(*state, &wire_gateway4, 56);
	ping(*state, &wire_gateway6, 56);
}

static void the_gateway_answers_a_ping_in_fragments(void **state)
{
	ping(*state, &wire_gateway4, LARGE);
	ping(*state, &wire_gateway6, LARGE);
}

/* --- names ------------------------------------------------------------------- */

static const uint8_t query[] = { 0,   7,   1,	0,   0,	  1,   0,   0,	 0,   0,   0, 0,
				 4,   'h', 'o', 's', 't', 4,   'l', 'i', 'm', 'a', 8, 'i',
				 'n', 't', 'e', 'r', 'n', 'a', 'l', 0,	 0,   1,   0, 1 };

static void the_host_has_a_name(void **state)
{
	static const uint8_t address[4] = { 192, 168, 5, 2 };
	const struct ipaddr *const servers[] = { &wire_dns4, &wire_dns6 };
	struct guest *g = *state;

	for (int i = 0; i < 2; i++) {
		struct wire w = wire_to(servers[i], 5353, 53);
		const uint8_t *reply;
		struct packet p;
		size_t len;

		guest_send_udp(g, &w, query, sizeof(query));
		guest_run(g);
		reply = guest_take_message(g, PACKET_UDP, &p, &len);
		assert_non_null(reply);
		assert_true(endpoint_equal(&p.src, &w.dst));
		assert_true(endpoint_equal(&p.dst, &w.src));
		assert_int_equal(len, 8 + sizeof(query) + 16);
		assert_memory_equal(reply + len - 4, address, 4);
	}
}

/* --- many guests -------------------------------------------------------------- */

#define MANY 40

static void send_echo(struct guest *g, uint8_t number)
{
	struct wire w = wire_to(&wire_gateway4, 0, 0);
	uint8_t bytes[100], message[16] = { 8, [4] = number };

	w.src.addr.b[15] = (uint8_t)(100 + number);
	w.src_mac.b[5] = number;
	guest_send(g, bytes, wire_icmp(bytes, &w, message, sizeof(message)));
}

/* More than libslirp has places for in its tables; none of them is asked for its MAC,
 * which it has just said. */
static void every_one_of_many_guests_is_answered(void **state)
{
	struct guest *g = *state;

	for (uint8_t i = 0; i < MANY; i++)
		send_echo(g, i);
	for (uint8_t i = 0; i < MANY; i++) {
		struct sent_frame *s;

		fake_loop_settle(g->loop);
		fake_link_drop_sent(&g->link);
		send_echo(g, i);
		fake_loop_settle(g->loop);
		s = fake_link_take(&g->link);
		assert_non_null(s);
		assert_int_equal(s->packet.kind, PACKET_ICMP);
		assert_int_equal(s->packet.mac_dst.b[5], i);
		assert_int_equal(s->packet.l4[4], i);
		free(s);
	}
}

/* --- the stack itself --------------------------------------------------------- */

static void frames_for_others_are_counted(void **state)
{
	struct guest *g = *state;
	struct wire w = wire_to(&wire_gateway4, 1, 2);
	uint8_t bytes[100];

	w.dst_mac.b[0] = 0x02;
	guest_send(g, bytes, wire_udp(bytes, &w, "x", 1));
	assert_int_equal(guest_counter(g, "refused.other-mac"), 1);
	w = wire_to(&wire_gateway4, 1, 2);
	(void)wire_udp(bytes, &w, "x", 1);
	guest_send(g, bytes, 30); /* cut */
	assert_int_equal(guest_counter(g, "refused.bad-ip-header"), 1);
	memset(bytes, 0, sizeof(bytes));
	guest_send(g, bytes, 14);
	assert_int_equal(guest_counter(g, "refused.other-mac"), 2);
	assert_int_equal(guest_counter(g, "gateway.flows"), 0);
}

/* A virtio header may name any place in the frame for the checksum. */
static void a_checksum_in_an_odd_place_harms_nobody(void **state)
{
	static const struct {
		uint16_t start, offset;
		size_t ip_len; /* of the whole frame's 600 bytes */
	} cases[] = { { 34, 2, 586 },  { 400, 100, 586 }, { 254, 1, 586 }, { 0, 0, 586 },
		      { 0, 250, 586 }, { 80, 6, 60 },	  { 34, 26, 46 },  { 599, 0, 586 } };
	struct guest *g = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct frame_offload offload = {
			.csum_partial = true,
			.csum_start = cases[i].start,
			.csum_offset = cases[i].offset,
		};
		struct wire w = wire_to(&wire_gateway4, 0, 0);
		uint8_t bytes[600] = { 0 }, message[600] = { 8 };

		(void)wire_icmp(bytes, &w, message, cases[i].ip_len - 20);
		fake_link_receive_one(&g->link, bytes, sizeof(bytes), &offload);
		w = wire_to(&wire_dns4, 5000, 53);
		(void)wire_udp(bytes, &w, message, cases[i].ip_len - 28);
		fake_link_receive_one(&g->link, bytes, sizeof(bytes), &offload);
		guest_run(g);
	}
	drop_received(g);
	ping(g, &wire_gateway4, 56);
}

static void there_is_one_stack(void **state)
{
	struct stack_config config = stack_config_default();
	struct guest *g = *state;
	struct stack *second;

	assert_int_equal(stack_new(g->loop, &config, &second), -EBUSY);
	ping(g, &wire_gateway4, 56); /* the first is none the worse */
}

static void a_config_that_contradicts_itself_is_refused(void **state)
{
	struct guest *g = *state;
	struct stack_config bad[7];
	struct stack *s;

	stack_free(g->stack);
	g->stack = NULL;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		bad[i] = stack_config_default();
	bad[0].mtu = 575;
	bad[1].mtu = 65521;
	bad[2].gateway4 = (struct ipaddr)IPADDR_V4(10, 0, 0, 1);
	bad[3].dns4 = (struct ipaddr)IPADDR_V4(192, 168, 6, 3);
	bad[4].guest4 = wire_guest6;
	bad[5].dns6 = wire_dns4;
	bad[6].prefix4_bits = 30;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (stack_new(g->loop, &bad[i], &s) != -EINVAL)
			fail_msg("case %zu", i);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_guest_gets_a_lease),
		cmocka_unit_test_setup_teardown(a_guest_gets_a_lease_with_another_mtu,
						setup_without_loopback, teardown),
		TEST(a_guest_finds_its_router),
		TEST(the_gateway_has_a_mac),
		TEST(the_gateway_answers_ping),
		{ "the_gateway_answers_ping (without loopback)", the_gateway_answers_ping,
		  setup_without_loopback, teardown, NULL },
		TEST(the_gateway_answers_a_ping_in_fragments),
		TEST(the_host_has_a_name),
		TEST(every_one_of_many_guests_is_answered),
		TEST(frames_for_others_are_counted),
		TEST(a_checksum_in_an_odd_place_harms_nobody),
		TEST(there_is_one_stack),
		TEST(a_config_that_contradicts_itself_is_refused),
	};

	own_network_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
