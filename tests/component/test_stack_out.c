/* SPDX-License-Identifier: Apache-2.0 */
/* TCP connections of a guest to servers on the host, through the whole stack. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "netstack/base/bytes.h"
#include "tests/support/host_socket.h"
#include "tests/support/outgoing.h"
#include "tests/support/own_network.h"

#define SOME 2000000U

static struct outgoing fixture;

static int setup_on(void **state, const struct link_caps *caps, const char *address)
{
	*state = &fixture;
	return outgoing_start(&fixture, caps, address);
}

static int setup(void **state)
{
	return setup_on(state, &fake_link_plain, "127.0.0.1");
}

static int setup_v6(void **state)
{
	return setup_on(state, &fake_link_plain, "::1");
}

static int setup_offloads(void **state)
{
	int r = setup_on(state, &fake_link_offloads, "127.0.0.1");

	fixture.guest.link.lends = true;
	return r;
}

static int teardown(void **state)
{
	outgoing_stop(*state);
	return 0;
}

/* --- opening --------------------------------------------------------------- */

static void the_host_connects_before_the_guest_is_answered(void **state)
{
	struct outgoing *f = *state;

	tcp_peer_init(&f->peer, &f->guest, &wire_gateway4, 40000, f->port);
	tcp_peer_syn(&f->peer); /* nothing has run yet but this one frame */
	assert_false(f->peer.has_syn);
	assert_true(list_empty(&f->guest.link.sent));

	GUEST_UNTIL(&f->guest, f->peer.has_syn);
	GUEST_UNTIL(&f->guest, outgoing_accept(f));
	assert_int_equal(f->peer.acked, f->peer.seq);
	assert_int_equal(f->peer.host_shift, 7);
	assert_int_equal(f->peer.host_mss, 65440);
	assert_int_equal(guest_counter(&f->guest, "tcp.out.open"), 1);
	assert_int_equal(guest_counter(&f->guest, "tcp.out.half-open"), 0);
}

static void bytes_both_ways(struct outgoing *f)
{
	assert_int_equal(outgoing_guest_writes(f, 0, SOME, true), SOME);
	GUEST_UNTIL(&f->guest, outgoing_has(f, SOME));
	assert_int_equal(outgoing_server_writes(f, 0, SOME), SOME);
	GUEST_UNTIL(&f->guest, f->peer.received_len >= SOME);
	outgoing_assert_guest_got(f, SOME);
}

static void bytes_go_both_ways(void **state)
{
	outgoing_connect(*state, &wire_gateway4);
	bytes_both_ways(*state);
}

static void bytes_go_both_ways_over_ipv6(void **state)
{
	outgoing_connect(*state, &wire_gateway6);
	bytes_both_ways(*state);
}

static bool keep_segment(struct tcp_peer *p, const struct tcp_segment *s)
{
	uint8_t *copy = p->filter_arg;

	memcpy(copy, s->frame->packet.l4, 20);
	return true;
}

static void a_refusal_is_a_reset(void **state)
{
	struct outgoing *f = *state;
	uint8_t tcp[20];
	int other;
	uint16_t port = 0;

	other = host_listen("127.0.0.1", &port);
	close(other); /* nobody listens there now */
	tcp_peer_init(&f->peer, &f->guest, &wire_gateway4, 40000, port);
	f->peer.filter = keep_segment;
	f->peer.filter_arg = tcp;
	tcp_peer_syn(&f->peer);
	GUEST_UNTIL(&f->guest, f->peer.has_rst);
	assert_false(f->peer.has_syn);
	assert_int_equal(tcp[13], TCP_FLAG_RST | TCP_FLAG_ACK);
	assert_int_equal(get_be32(tcp + 4), 0);
	assert_int_equal(get_be32(tcp + 8), f->peer.seq); /* our SYN and no more */
	assert_int_equal(guest_counter(&f->guest, "tcp.out.refused"), 1);
	assert_int_equal(guest_counter(&f->guest, "tcp.out.half-open"), 0);
}

static void syn_to(struct outgoing *f, struct tcp_peer *peer, const char *address)
{
	struct ipaddr a;

	assert_int_equal(ipaddr_parse(address, &a), 0);
	tcp_peer_init(peer, &f->guest, &a, 50000, f->port);
	tcp_peer_syn(peer);
	guest_run(&f->guest);
	assert_false(peer->has_syn);
	assert_int_equal(guest_counter(&f->guest, "tcp.out.half-open"), 0);
	tcp_peer_deinit(peer);
}

/* Nobody has these addresses, so nobody answers. */
static void special_addresses_are_not_answered(void **state)
{
	static const char *const addresses[] = {
		"127.0.0.1",	   "127.0.0.2", "0.0.0.0", "0.1.2.3", "224.0.0.1",
		"255.255.255.255", "240.0.0.1", "::1",	   "::",      "::127.0.0.1",
		"fe80::1",	   "ff02::1",	"ff05::2",
	};
	struct outgoing *f = *state;
	unsigned int before = host_descriptors();
	struct tcp_peer peer;

	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
		syn_to(f, &peer, addresses[i]);
		assert_int_equal(peer.n_segments, 0);
		assert_int_equal(guest_counter(&f->guest, "refused.bad-destination"), i + 1);
	}
	assert_int_equal(f->guest.link.n_sent, 0);
	assert_false(outgoing_accept(f));
	assert_int_equal(host_descriptors(), before);
}

/* On the guests' own network the host does not stand in for others. */
static void addresses_of_guests_are_refused(void **state)
{
	static const char *const addresses[] = { "192.168.5.15", "192.168.5.77", "192.168.5.255",
						 "fd00:c0a8:5::77", "fd00:c0a8:5::15" };
	struct outgoing *f = *state;
	unsigned int before = host_descriptors();
	struct tcp_peer peer;

	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
		syn_to(f, &peer, addresses[i]);
		assert_true(peer.has_rst);
		assert_int_equal(guest_counter(&f->guest, "tcp.out.refused"), i + 1);
	}
	assert_int_equal(host_descriptors(), before);
}

/* Bytes on the wire that the kernel would take for 127.0.0.1. */
static void a_mapped_address_is_dropped(void **state)
{
	static const uint8_t mapped[16] = { [10] = 0xff, 0xff, 127, 0, 0, 1 };
	struct wire w = wire_to(&wire_gateway6, 40000, 0);
	const struct wire_tcp syn = { .flags = TCP_FLAG_SYN, .window = 1000 };
	struct outgoing *f = *state;
	uint8_t bytes[100];
	size_t len;

	w.dst.port = f->port;
	len = wire_tcp(bytes, &w, &syn);
	memcpy(bytes + ETH_HEADER_SIZE + 24, mapped, 16);
	guest_send(&f->guest, bytes, len);
	guest_run(&f->guest);
	assert_int_equal(guest_counter(&f->guest, "refused.bad-ip-source"), 1);
	assert_false(outgoing_accept(f));
	assert_null(guest_take(&f->guest, PACKET_TCP));
}

static void a_source_that_is_no_guest_is_dropped(void **state)
{
	static const char *const sources[] = { "192.168.5.2", "192.168.5.3", "192.168.6.15",
					       "8.8.8.8",     "0.0.0.0",     "10.0.0.1" };
	struct outgoing *f = *state;
	const struct wire_tcp syn = { .flags = TCP_FLAG_SYN, .window = 1000 };
	size_t n = sizeof(sources) / sizeof(sources[0]);

	for (size_t i = 0; i < n; i++) {
		struct wire w = wire_to(&wire_gateway4, 40000, f->port);
		uint8_t bytes[100];

		assert_int_equal(ipaddr_parse(sources[i], &w.src.addr), 0);
		guest_send(&f->guest, bytes, wire_tcp(bytes, &w, &syn));
	}
	guest_run(&f->guest);
	assert_int_equal(guest_counter(&f->guest, "refused.foreign-source"), n);
	assert_false(outgoing_accept(f));
	assert_null(guest_take(&f->guest, PACKET_TCP));
}

static void a_segment_of_no_connection_is_reset(void **state)
{
	struct outgoing *f = *state;

	tcp_peer_init(&f->peer, &f->guest, &wire_gateway4, 40000, f->port);
	tcp_peer_send(&f->peer, TCP_FLAG_ACK, "x", 1);
	guest_run(&f->guest);
	assert_true(f->peer.has_rst);
	f->peer.has_rst = false;
	tcp_peer_send(&f->peer, TCP_FLAG_SYN | TCP_FLAG_ACK, NULL, 0);
	guest_run(&f->guest);
	assert_true(f->peer.has_rst);
	f->peer.has_rst = false;
	tcp_peer_send(&f->peer, TCP_FLAG_RST, NULL, 0); /* never answered */
	tcp_peer_send(&f->peer, TCP_FLAG_RST | TCP_FLAG_SYN, NULL, 0);
	guest_run(&f->guest);
	assert_false(f->peer.has_rst);
	assert_false(outgoing_accept(f));
}

/* --- floods ---------------------------------------------------------------- */

static void allow_many_descriptors(void)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_true(limit.rlim_cur >= 2500);
}

/* Its queue is full, so the host's connections are never answered. */
static void a_flood_to_a_silent_server_is_bounded(void **state)
{
	struct outgoing *f = *state;
	const struct wire_tcp syn = { .flags = TCP_FLAG_SYN, .window = 1000 };
	unsigned int before;

	allow_many_descriptors();
	assert_int_equal(listen(f->listener, 0), 0);
	before = host_descriptors();
	for (uint32_t i = 0; i < 1500; i++) {
		struct wire w = wire_to(&wire_gateway4, (uint16_t)(1024 + i), f->port);
		uint8_t bytes[100];

		guest_send(&f->guest, bytes, wire_tcp(bytes, &w, &syn));
		assert_true(guest_counter(&f->guest, "tcp.out.half-open") <= 1024);
	}
	guest_run(&f->guest);
	assert_true(guest_counter(&f->guest, "tcp.out.evicted") >= 1500 - 1024);
	assert_true(host_descriptors() <= before + 1024);
	assert_true(f->guest.link.n_sent < 10); /* nobody else is told anything */
}

static void a_flood_of_syns_harms_nobody(void **state)
{
	struct outgoing *f = *state;
	const struct wire_tcp syn = { .flags = TCP_FLAG_SYN, .window = 1000 };
	unsigned int n_syn_acks = 0;
	struct sent_frame *s;

	allow_many_descriptors();
	outgoing_connect(f, &wire_gateway4);
	unsigned int before = host_descriptors();

	for (uint32_t i = 0; i < 4000; i++) {
		struct wire w = wire_to(&wire_gateway4, (uint16_t)(1024 + i), f->port);
		uint8_t bytes[100];
		int fd;

		if (w.src.port == f->peer.wire.src.port)
			continue;
		guest_send(&f->guest, bytes, wire_tcp(bytes, &w, &syn));
		guest_run(&f->guest);
		assert_true(guest_counter(&f->guest, "tcp.out.half-open") <= 1024);
		while ((fd = host_accept(f->listener)) >= 0)
			close(fd);
	}
	assert_int_equal(guest_counter(&f->guest, "tcp.out.half-open"), 1024);
	assert_int_equal(guest_counter(&f->guest, "tcp.out.evicted"), 4000 - 1024);
	assert_true(host_descriptors() <= before + 1024);

	/* lwIP, too, has forgotten those that were given up */
	while ((s = guest_take(&f->guest, PACKET_TCP)))
		free(s);
	guest_advance(&f->guest, 1500);
	while ((s = guest_take(&f->guest, PACKET_TCP))) {
		n_syn_acks += (s->packet.tcp_flags & TCP_FLAG_SYN) != 0;
		free(s);
	}
	assert_in_range(n_syn_acks, 1, 2 * 1024);

	tcp_peer_send(&f->peer, TCP_FLAG_ACK, outgoing_data, 1000);
	GUEST_UNTIL(&f->guest, outgoing_has(f, 1000));
	guest_advance(&f->guest, 30000);
	assert_int_equal(guest_counter(&f->guest, "tcp.out.half-open"), 0);
	assert_int_equal(guest_counter(&f->guest, "tcp.out.open"), 1);
	assert_int_equal(host_descriptors(), before);
}

/* A guest that repeats its SYN does not get a second connection. */
static void a_repeated_syn_is_one_connection(void **state)
{
	struct outgoing *f = *state;

	tcp_peer_init(&f->peer, &f->guest, &wire_gateway4, 40000, f->port);
	for (int i = 0; i < 3; i++)
		tcp_peer_send_at(&f->peer, TCP_FLAG_SYN, 0, 0, NULL, 0);
	f->peer.seq++;
	GUEST_UNTIL(&f->guest, f->peer.has_syn && outgoing_accept(f));
	guest_run(&f->guest);
	assert_int_equal(host_accept(f->listener), -1);
	tcp_peer_send(&f->peer, TCP_FLAG_ACK, outgoing_data, 10);
	GUEST_UNTIL(&f->guest, outgoing_has(f, 10));
}

/* --- pressure -------------------------------------------------------------- */

static void a_server_that_does_not_read_stops_the_guest(void **state)
{
	struct outgoing *f = *state;
	int small = 4096;
	size_t taken;

	assert_int_equal(setsockopt(f->listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	outgoing_connect(f, &wire_gateway4);
	taken = outgoing_guest_writes(f, 0, OUTGOING_SIZE, false);
	assert_true(taken < OUTGOING_SIZE);
	assert_int_equal(f->peer.acked, f->peer.seq); /* nothing was lost */
	assert_int_equal(f->peer.host_window, 0);

	(void)outgoing_read(f);
	assert_int_equal(outgoing_guest_writes(f, taken, OUTGOING_SIZE, true), OUTGOING_SIZE);
	GUEST_UNTIL(&f->guest, outgoing_has(f, OUTGOING_SIZE));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_host_connects_before_the_guest_is_answered),
		TEST(bytes_go_both_ways),
		{ "bytes_go_both_ways (segmentation)", bytes_go_both_ways, setup_offloads, teardown,
		  NULL },
		cmocka_unit_test_setup_teardown(bytes_go_both_ways_over_ipv6, setup_v6, teardown),
		TEST(a_refusal_is_a_reset),
		TEST(special_addresses_are_not_answered),
		TEST(addresses_of_guests_are_refused),
		TEST(a_mapped_address_is_dropped),
		TEST(a_source_that_is_no_guest_is_dropped),
		TEST(a_segment_of_no_connection_is_reset),
		TEST(a_flood_to_a_silent_server_is_bounded),
		TEST(a_flood_of_syns_harms_nobody),
		TEST(a_repeated_syn_is_one_connection),
		TEST(a_server_that_does_not_read_stops_the_guest),
	};

	own_network_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
