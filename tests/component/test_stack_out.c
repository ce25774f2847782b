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
#include "tests/support/guest.h"
#include "tests/support/host_socket.h"
#include "tests/support/own_network.h"

#define SIZE 12000000U /* more than the kernel buffers for a server that does not read */
#define SOME 2000000U

struct fixture {
	struct guest guest;
	int listener, server;
	uint16_t port;
	struct tcp_peer peer;
	uint8_t *got; /* by the server */
	size_t got_len;
};

static uint8_t data[SIZE];
static struct fixture fixture;

static int setup_on(void **state, const struct link_caps *caps, const char *address)
{
	struct fixture *f = &fixture;

	memset(f, 0, sizeof(*f));
	*state = f;
	f->server = -1;
	f->got = malloc(SIZE + 1);
	for (size_t i = 0; i < SIZE; i++)
		data[i] = (uint8_t)(i * 13 + i / 254);
	f->listener = host_listen(address, &f->port);
	return f->got ? guest_start(&f->guest, caps, NULL) : -1;
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
	struct fixture *f = *state;

	guest_stop(&f->guest);
	if (f->peer.guest)
		tcp_peer_deinit(&f->peer);
	if (f->server >= 0)
		close(f->server);
	close(f->listener);
	free(f->got);
	return 0;
}

static bool accept_one(struct fixture *f)
{
	if (f->server < 0)
		f->server = host_accept(f->listener);
	return f->server >= 0;
}

static void connect_to(struct fixture *f, const struct ipaddr *dst)
{
	tcp_peer_init(&f->peer, &f->guest, dst, 40000, f->port);
	tcp_peer_syn(&f->peer);
	GUEST_UNTIL(&f->guest, f->peer.has_syn && accept_one(f));
	assert_int_equal(guest_counter(&f->guest, "tcp.out.open"), 1);
}

/* Whatever the server can read now; true at the end. */
static bool server_reads(struct fixture *f)
{
	ssize_t n = read(f->server, f->got + f->got_len, SIZE + 1 - f->got_len);

	if (n > 0)
		f->got_len += (size_t)n;
	return n == 0;
}

static bool server_has(struct fixture *f, size_t len)
{
	assert_false(server_reads(f));
	return f->got_len >= len;
}

static void assert_server_got(const struct fixture *f, size_t len)
{
	assert_int_equal(f->got_len, len);
	assert_memory_equal(f->got, data, len);
}

/* The guest writes up to `to`, or until the host's window is shut for good, as the
 * server does not read. Returns where it is. */
static size_t guest_writes(struct fixture *f, size_t from, size_t to, bool server_does_read)
{
	size_t at = from;

	for (int steps = 0; at < to; steps++) {
		at += tcp_peer_write(&f->peer, data + at, to - at);
		guest_run(&f->guest);
		if (server_does_read)
			(void)server_reads(f);
		else if (f->peer.host_window == 0 && f->peer.acked == f->peer.seq)
			break;
		if (steps > PATIENCE_STEPS)
			fail_msg("in vain: %zu of %zu written", at, to);
		if (f->peer.host_window == 0)
			usleep(PATIENCE_STEP_US);
	}
	return at;
}

/* --- opening --------------------------------------------------------------- */

static void the_host_connects_before_the_guest_is_answered(void **state)
{
	struct fixture *f = *state;

	tcp_peer_init(&f->peer, &f->guest, &wire_gateway4, 40000, f->port);
	tcp_peer_syn(&f->peer); /* nothing has run yet but this one frame */
	assert_false(f->peer.has_syn);
	assert_true(list_empty(&f->guest.link.sent));

	GUEST_UNTIL(&f->guest, f->peer.has_syn);
	GUEST_UNTIL(&f->guest, accept_one(f));
	assert_int_equal(f->peer.acked, f->peer.seq);
	assert_int_equal(f->peer.host_shift, 7);
	assert_int_equal(f->peer.host_mss, 65440);
	assert_int_equal(guest_counter(&f->guest, "tcp.out.open"), 1);
	assert_int_equal(guest_counter(&f->guest, "tcp.out.half-open"), 0);
}

static void bytes_both_ways(struct fixture *f)
{
	size_t at = 0;

	assert_int_equal(guest_writes(f, 0, SOME, true), SOME);
	GUEST_UNTIL(&f->guest, server_has(f, SOME));
	assert_server_got(f, SOME);
	while (at < SOME) {
		ssize_t n = write(f->server, data + at, SOME - at);

		at += n > 0 ? (size_t)n : 0;
		guest_run(&f->guest);
	}
	GUEST_UNTIL(&f->guest, f->peer.received_len >= SOME);
	assert_int_equal(f->peer.received_len, SOME);
	assert_memory_equal(f->peer.received, data, SOME);
}

static void bytes_go_both_ways(void **state)
{
	connect_to(*state, &wire_gateway4);
	bytes_both_ways(*state);
}

static void bytes_go_both_ways_over_ipv6(void **state)
{
	connect_to(*state, &wire_gateway6);
	bytes_both_ways(*state);
}

static bool keep_segment(struct tcp_peer *p, const struct sent_frame *s)
{
	uint8_t *copy = p->filter_arg;

	memcpy(copy, s->packet.l4, 20);
	return true;
}

static void a_refusal_is_a_reset(void **state)
{
	struct fixture *f = *state;
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

static void syn_to(struct fixture *f, struct tcp_peer *peer, const char *address)
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
	struct fixture *f = *state;
	unsigned int before = host_descriptors();
	struct tcp_peer peer;

	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
		syn_to(f, &peer, addresses[i]);
		assert_int_equal(peer.n_segments, 0);
		assert_int_equal(guest_counter(&f->guest, "refused.bad-destination"), i + 1);
	}
	assert_int_equal(f->guest.link.n_sent, 0);
	assert_false(accept_one(f));
	assert_int_equal(host_descriptors(), before);
}

/* On the guests' own network the host does not stand in for others. */
static void addresses_of_guests_are_refused(void **state)
{
	static const char *const addresses[] = { "192.168.5.15", "192.168.5.77", "192.168.5.255",
						 "fd00:c0a8:5::77", "fd00:c0a8:5::15" };
	struct fixture *f = *state;
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
	struct fixture *f = *state;
	uint8_t bytes[100];
	size_t len;

	w.dst.port = f->port;
	len = wire_tcp(bytes, &w, &syn);
	memcpy(bytes + ETH_HEADER_SIZE + 24, mapped, 16);
	guest_send(&f->guest, bytes, len);
	guest_run(&f->guest);
	assert_int_equal(guest_counter(&f->guest, "refused.bad-ip-source"), 1);
	assert_false(accept_one(f));
	assert_null(guest_take(&f->guest, PACKET_TCP));
}

static void a_source_that_is_no_guest_is_dropped(void **state)
{
	static const char *const sources[] = { "192.168.5.2", "192.168.5.3", "192.168.6.15",
					       "8.8.8.8",     "0.0.0.0",     "10.0.0.1" };
	struct fixture *f = *state;
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
	assert_false(accept_one(f));
	assert_null(guest_take(&f->guest, PACKET_TCP));
}

static void a_segment_of_no_connection_is_reset(void **state)
{
	struct fixture *f = *state;

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
	assert_false(accept_one(f));
}

/* --- floods ---------------------------------------------------------------- */

static void a_flood_of_syns_harms_nobody(void **state)
{
	struct rlimit limit;
	struct fixture *f = *state;
	const struct wire_tcp syn = { .flags = TCP_FLAG_SYN, .window = 1000 };
	unsigned int n_syn_acks = 0;
	struct sent_frame *s;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_true(limit.rlim_cur >= 2500);
	connect_to(f, &wire_gateway4);
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

	tcp_peer_send(&f->peer, TCP_FLAG_ACK, data, 1000);
	GUEST_UNTIL(&f->guest, server_has(f, 1000));
	assert_server_got(f, 1000);
	guest_advance(&f->guest, 30000);
	assert_int_equal(guest_counter(&f->guest, "tcp.out.half-open"), 0);
	assert_int_equal(guest_counter(&f->guest, "tcp.out.open"), 1);
	assert_int_equal(host_descriptors(), before);
}

/* A guest that repeats its SYN does not get a second connection. */
static void a_repeated_syn_is_one_connection(void **state)
{
	struct fixture *f = *state;

	tcp_peer_init(&f->peer, &f->guest, &wire_gateway4, 40000, f->port);
	for (int i = 0; i < 3; i++)
		tcp_peer_send_at(&f->peer, TCP_FLAG_SYN, 0, 0, NULL, 0);
	f->peer.seq++;
	GUEST_UNTIL(&f->guest, f->peer.has_syn && accept_one(f));
	guest_run(&f->guest);
	assert_int_equal(host_accept(f->listener), -1);
	tcp_peer_send(&f->peer, TCP_FLAG_ACK, data, 10);
	GUEST_UNTIL(&f->guest, server_has(f, 10));
}

/* --- pressure -------------------------------------------------------------- */

static void a_server_that_does_not_read_stops_the_guest(void **state)
{
	struct fixture *f = *state;
	int small = 4096;
	size_t taken;

	assert_int_equal(setsockopt(f->listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	connect_to(f, &wire_gateway4);
	taken = guest_writes(f, 0, SIZE, false);
	assert_true(taken < SIZE);
	assert_int_equal(f->peer.acked, f->peer.seq); /* nothing was lost */
	assert_int_equal(f->peer.host_window, 0);

	(void)server_reads(f);
	assert_int_equal(guest_writes(f, taken, SIZE, true), SIZE);
	GUEST_UNTIL(&f->guest, server_has(f, SIZE));
	assert_server_got(f, SIZE);
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
		TEST(a_flood_of_syns_harms_nobody),
		TEST(a_repeated_syn_is_one_connection),
		TEST(a_server_that_does_not_read_stops_the_guest),
	};

	own_network_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
