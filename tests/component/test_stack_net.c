/* SPDX-License-Identifier: Apache-2.0 */
/* Everything but TCP that a guest in memory gets from the stack: an address, a
 * router, names, answers to ping, datagrams; and what it does not get. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "netstack/base/bytes.h"
#include "netstack/reassembly.h"
#include "tests/support/guest.h"
#include "tests/support/host_socket.h"
#include "tests/support/own_network.h"

#define LARGE 5000U

struct fixture {
	struct guest guest;
	struct reassembly reassembly;
	int server; /* a UDP socket of the host's */
	uint16_t port;
	/* the last datagram of a flow */
	unsigned int n_received, n_refused;
	uint8_t got[65536];
	size_t got_len;
};

static uint8_t data[65536];
static struct fixture fixture;

static int start(void **state, const struct link_caps *caps, const struct stack_config *config)
{
	struct fixture *f = &fixture;

	memset(f, 0, sizeof(*f));
	*state = f;
	f->server = -1;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + i / 253);
	return guest_start(&f->guest, caps, config);
}

static int setup(void **state)
{
	return start(state, &fake_link_plain, NULL);
}

static int setup_offloads(void **state)
{
	return start(state, &fake_link_offloads, NULL);
}

static int setup_without_loopback(void **state)
{
	struct stack_config config = stack_config_default();

	config.host_loopback = false;
	config.mtu = 1500;
	config.resolv_conf = "/nonexistent";
	return start(state, &fake_link_plain, &config);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	reassembly_deinit(&f->reassembly);
	guest_stop(&f->guest);
	if (f->server >= 0)
		close(f->server);
	return 0;
}

static uint64_t counter(struct fixture *f, const char *name)
{
	return guest_counter(&f->guest, name);
}

/* The next datagram or ICMP message for the guest, put together if it came in
 * fragments; NULL if there is none. Its bytes are in static memory. */
static const uint8_t *received(struct fixture *f, enum packet_kind kind, struct packet *p,
			       size_t *len)
{
	static uint8_t bytes[FRAME_MAX_SIZE];
	struct sent_frame *s = guest_take(&f->guest, kind);
	struct frame frame, whole;

	if (s) {
		memcpy(bytes, s->bytes, s->len);
		*len = s->len;
		free(s);
	} else {
		bool is_whole = false;

		while (!is_whole && (s = guest_take(&f->guest, PACKET_FRAGMENT))) {
			frame_init(&frame);
			frame_add(&frame, s->bytes, s->len);
			is_whole = reassembly_add(&f->reassembly, &frame, &s->packet, 0, &whole);
			if (is_whole)
				*len = frame_copy(&whole, 0, bytes, sizeof(bytes));
			free(s);
		}
		if (!is_whole)
			return NULL;
	}
	frame_init(&frame);
	frame_add(&frame, bytes, *len);
	assert_int_equal(packet_parse(&frame, p), PACKET_OK);
	assert_int_equal(p->kind, kind);
	assert_true(wire_has_right_checksum(bytes, *len));
	*len -= (size_t)(p->l4 - bytes);
	return p->l4;
}

/* In fragments if it is larger than an Ethernet packet. */
static void send_ip(struct fixture *f, const struct wire *w, uint8_t protocol,
		    const uint8_t *message, size_t len)
{
	static uint8_t bytes[FRAME_MAX_SIZE];
	static uint32_t id;

	if (len <= 1400) {
		guest_send(&f->guest, bytes, wire_ip(bytes, w, protocol, message, len));
		return;
	}
	id++;
	for (size_t at = 0; at < len; at += 1400) {
		struct wire_piece piece = {
			.id = id,
			.protocol = protocol,
			.offset = at,
			.len = len - at < 1400 ? len - at : 1400,
			.has_more = len - at > 1400,
		};

		guest_send(&f->guest, bytes, wire_fragment(bytes, w, &piece, message));
	}
}

static void send_udp(struct fixture *f, const struct wire *w, const uint8_t *payload, size_t len)
{
	static uint8_t bytes[FRAME_MAX_SIZE];
	size_t whole = wire_udp(bytes, w, payload, len), ip = whole - 8 - len;

	send_ip(f, w, IP_PROTO_UDP, bytes + ip, 8 + len);
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

static void assert_lease(struct fixture *f, uint16_t mtu)
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
	guest_send(&f->guest, bytes, wire_udp(bytes, &w, bootp, sizeof(bootp)));
	guest_run(&f->guest);
	reply = received(f, PACKET_UDP, &p, &len);
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
	struct fixture *f = *state;
	const uint8_t *ra, *mtu = NULL, *dns = NULL;
	uint8_t bytes[100];
	struct packet p;
	size_t len;

	w.src.addr = self;
	w.dst_mac = (struct mac){ { 0x33, 0x33, 0, 0, 0, 2 } };
	guest_send(&f->guest, bytes, wire_icmp(bytes, &w, solicitation, sizeof(solicitation)));
	guest_run(&f->guest);
	ra = received(f, PACKET_ICMP, &p, &len);
	assert_non_null(ra);
	assert_int_equal(ra[0], 134);
	for (size_t at = 16; at < len; at += ra[at + 1] * (size_t)8) {
		if (ra[at] == 5)
			mtu = ra + at;
		if (ra[at] == 25)
			dns = ra + at;
		assert_int_not_equal(ra[at + 1], 0);
	}
	assert_non_null(mtu);
	assert_int_equal(get_be32(mtu + 4), 65520);
	assert_non_null(dns);
	assert_memory_equal(dns + 8, wire_dns6.b, 16);
}

static void the_gateway_has_a_mac(void **state)
{
	struct wire w = wire_to(&wire_gateway4, 0, 0);
	struct fixture *f = *state;
	struct sent_frame *s;
	uint8_t bytes[100];

	w.dst_mac = wire_broadcast_mac;
	guest_send(&f->guest, bytes, wire_arp(bytes, &w, 1));
	guest_run(&f->guest);
	s = guest_take(&f->guest, PACKET_ARP);
	assert_non_null(s);
	assert_int_equal(get_be16(s->bytes + ETH_HEADER_SIZE + 6), 2);
	assert_memory_equal(s->bytes + ETH_HEADER_SIZE + 8, wire_gateway_mac.b, 6);
	free(s);
}

static void drop_received(struct fixture *f)
{
	struct sent_frame *s;

	while ((s = guest_take(&f->guest, PACKET_ICMP)))
		free(s);
}

static void ping(struct fixture *f, const struct ipaddr *to, size_t payload)
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
	send_ip(f, &w, v4 ? IP_PROTO_ICMP : IP_PROTO_ICMP6, bytes + len - 8 - payload, 8 + payload);
	guest_run(&f->guest);
	reply = received(f, PACKET_ICMP, &p, &len);
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
	struct fixture *f = *state;

	for (int i = 0; i < 2; i++) {
		struct wire w = wire_to(servers[i], 5353, 53);
		const uint8_t *reply;
		struct packet p;
		size_t len;

		send_udp(f, &w, query, sizeof(query));
		guest_run(&f->guest);
		reply = received(f, PACKET_UDP, &p, &len);
		assert_non_null(reply);
		assert_true(endpoint_equal(&p.src, &w.dst));
		assert_true(endpoint_equal(&p.dst, &w.src));
		assert_int_equal(len, 8 + sizeof(query) + 16);
		assert_memory_equal(reply + len - 4, address, 4);
	}
}

/* --- datagrams to the host and beyond ---------------------------------------- */

static int open_server(const char *address, uint16_t port, uint16_t *got)
{
	struct endpoint e = { .port = port };
	struct sockaddr_storage sa;
	socklen_t len;
	int fd;

	assert_int_equal(ipaddr_parse(address, &e.addr), 0);
	len = endpoint_to_sockaddr(&e, &sa);
	fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
	len = sizeof(sa);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	assert_int_equal(endpoint_from_sockaddr(&sa, &e), 0);
	*got = e.port;
	return fd;
}

static bool server_got(struct fixture *f, struct sockaddr_storage *from, socklen_t *from_len)
{
	ssize_t n;

	*from_len = sizeof(*from);
	n = recvfrom(f->server, f->got, sizeof(f->got), 0, (struct sockaddr *)from, from_len);
	f->got_len = n < 0 ? 0 : (size_t)n;
	return n >= 0;
}

static void echo(struct fixture *f, const struct ipaddr *gateway, const char *address, size_t size)
{
	struct sockaddr_storage from;
	struct wire w;
	socklen_t len;
	const uint8_t *reply;
	struct packet p;
	size_t got;

	f->server = open_server(address, 0, &f->port);
	w = wire_to(gateway, 7000, f->port);
	send_udp(f, &w, data, size);
	GUEST_UNTIL(&f->guest, server_got(f, &from, &len));
	assert_int_equal(f->got_len, size);
	assert_memory_equal(f->got, data, size);
	assert_int_equal(sendto(f->server, data, size, 0, (struct sockaddr *)&from, len), size);
	GUEST_UNTIL(&f->guest, (reply = received(f, PACKET_UDP, &p, &got)) != NULL);
	assert_int_equal(got, 8 + size);
	assert_memory_equal(reply + 8, data, size);
	assert_true(endpoint_equal(&p.src, &w.dst));
	close(f->server);
	f->server = -1;
}

static void datagrams_reach_the_hosts_loopback(void **state)
{
	static const size_t sizes[] = { 1, 1000, LARGE, 60000 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		echo(*state, &wire_gateway4, "127.0.0.1", sizes[i]);
		echo(*state, &wire_gateway6, "::1", sizes[i]);
	}
}

/* Whatever the port: some mean a service of the gateway. */
static void datagrams_to_special_addresses_go_nowhere(void **state)
{
	static const struct {
		const char *address, *server;
		uint16_t port; /* 0: any */
	} cases[] = {
		{ "127.0.0.1", "127.0.0.1", 0 },
		{ "127.0.0.1", "127.0.0.1", 67 },
		{ "127.0.0.2", "127.0.0.2", 67 },
		{ "0.0.0.0", "127.0.0.1", 67 },
		{ "0.0.0.0", "127.0.0.1", 0 },
		{ "255.255.255.255", "0.0.0.0", 0 },
		{ "224.0.0.1", "0.0.0.0", 67 },
		{ "::1", "::1", 0 },
		{ "::1", "::1", 547 },
		{ "::", "::1", 547 },
		{ "::127.0.0.1", "127.0.0.1", 0 },
		{ "ff02::1", "::", 0 },
		{ "ff01::1", "::", 547 },
		{ "192.168.5.77", "0.0.0.0", 0 },
		{ "192.168.5.77", "0.0.0.0", 67 },
		{ "192.168.5.255", "0.0.0.0", 0 },
		{ "fd00:c0a8:5::77", "::", 0 },
	};
	struct fixture *f = *state;
	struct sockaddr_storage from;
	socklen_t len;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct wire w;
		struct ipaddr a;

		assert_int_equal(ipaddr_parse(cases[i].address, &a), 0);
		f->server = open_server(cases[i].server, cases[i].port, &f->port);
		w = wire_to(&a, 68, f->port);
		send_udp(f, &w, data, 300);
		guest_run(&f->guest);
		if (server_got(f, &from, &len))
			fail_msg("%s port %u", cases[i].address, cases[i].port);
		if (counter(f, "gateway.flows"))
			fail_msg("%s port %u has a socket", cases[i].address, cases[i].port);
		close(f->server);
		f->server = -1;
	}
}

static void tftp_is_not_spoken(void **state)
{
	const struct ipaddr *const servers[] = { &wire_gateway4, &wire_gateway6, &wire_dns4 };
	static const uint8_t read_request[] = "\0\1/etc/passwd\0octet";
	struct fixture *f = *state;

	for (int i = 0; i < 3; i++) {
		struct wire w = wire_to(servers[i], 7000, 69);

		send_udp(f, &w, read_request, sizeof(read_request));
	}
	guest_run(&f->guest);
	assert_int_equal(counter(f, "gateway.refused"), 3);
	assert_int_equal(counter(f, "gateway.flows"), 0);
	assert_null(guest_take(&f->guest, PACKET_UDP));
}

static void the_loopback_may_be_out_of_reach(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_storage from;
	struct tcp_peer peer;
	socklen_t len;
	struct wire w;
	uint16_t tcp_port = 0;
	int listener = host_listen("127.0.0.1", &tcp_port);

	f->server = open_server("127.0.0.1", 0, &f->port);
	w = wire_to(&wire_gateway4, 7000, f->port);
	send_udp(f, &w, data, 100);
	guest_run(&f->guest);
	assert_false(server_got(f, &from, &len));
	assert_int_equal(counter(f, "gateway.flows"), 0);
	tcp_peer_init(&peer, &f->guest, &wire_gateway4, 7000, tcp_port);
	tcp_peer_syn(&peer);
	guest_run(&f->guest);
	assert_true(peer.has_rst);
	assert_int_equal(host_accept(listener), -1);
	tcp_peer_deinit(&peer);
	close(listener);
	ping(f, &wire_gateway4, 56); /* the gateway itself is there */
}

static void flows_to_the_world_are_bounded(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_storage from;
	unsigned int before = host_descriptors();
	socklen_t len;

	f->server = open_server("127.0.0.1", 0, &f->port);
	for (uint32_t i = 0; i < 1500; i++) {
		struct wire w = wire_to(&wire_gateway4, (uint16_t)(1024 + i), f->port);

		send_udp(f, &w, data, 10);
		assert_true(counter(f, "gateway.flows") <= 1024);
		while (server_got(f, &from, &len))
			;
	}
	guest_run(&f->guest);
	assert_true(counter(f, "gateway.too-many") > 0);
	assert_true(host_descriptors() <= before + 1024 + 1);

	for (uint16_t i = 0; i < 1024; i++) { /* who has a socket keeps it */
		struct wire w = wire_to(&wire_gateway4, (uint16_t)(1024 + i), f->port);

		while (server_got(f, &from, &len))
			;
		send_udp(f, &w, data, 10);
		GUEST_UNTIL(&f->guest, server_got(f, &from, &len));
	}
}

/* --- flows of the host to a guest -------------------------------------------- */

static void on_receive(void *arg, const struct iovec *iov, int n)
{
	struct fixture *f = arg;

	f->n_received++;
	f->got_len = 0;
	for (int i = 0; i < n; i++) {
		memcpy(f->got + f->got_len, iov[i].iov_base, iov[i].iov_len);
		f->got_len += iov[i].iov_len;
	}
}

static void on_refused(void *arg)
{
	struct fixture *f = arg;

	f->n_refused++;
}

static void flow(struct fixture *f, const struct ipaddr *guest, size_t size)
{
	static const struct udp_flow_owner owner = { on_receive, on_refused };
	struct endpoint to = { *guest, 5000 };
	struct udp_flow *flow;
	const uint8_t *got;
	struct packet p;
	size_t len;

	f->n_received = 0;
	assert_int_equal(stack_udp_open(f->guest.stack, &to, &owner, f, &flow), 0);
	if (udp_flow_send(flow, data, size) == -EAGAIN) { /* its MAC is asked for */
		guest_run(&f->guest);
		assert_int_equal(udp_flow_send(flow, data, size), 0);
	}
	guest_run(&f->guest);
	got = received(f, PACKET_UDP, &p, &len);
	assert_non_null(got);
	assert_int_equal(len, 8 + size);
	assert_memory_equal(got + 8, data, size);
	assert_true(endpoint_equal(&p.dst, &to));

	struct wire answer = { wire_guest_mac, p.mac_src, p.dst, p.src };

	send_udp(f, &answer, data + 1, size);
	assert_int_equal(f->n_received, 1);
	assert_int_equal(f->got_len, size);
	assert_memory_equal(f->got, data + 1, size);
	udp_flow_free(flow);
}

static void datagrams_go_to_a_guest_and_back(void **state)
{
	static const size_t sizes[] = { 0, 1, 1400, 1473, LARGE, 65507 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		flow(*state, &wire_guest4, sizes[i]);
		flow(*state, &wire_guest6, sizes[i]);
	}
}

static void a_guest_may_refuse_a_datagram(void **state)
{
	static const struct udp_flow_owner owner = { on_receive, on_refused };
	struct endpoint to = { wire_guest4, 5000 };
	struct fixture *f = *state;
	uint8_t bytes[200], message[8 + 36] = { 3, 3 };
	struct udp_flow *flow;
	struct sent_frame *s;
	struct wire w = wire_to(&wire_gateway4, 0, 0);

	assert_int_equal(stack_udp_open(f->guest.stack, &to, &owner, f, &flow), 0);
	assert_int_equal(udp_flow_send(flow, data, 8), -EAGAIN);
	guest_run(&f->guest);
	assert_int_equal(udp_flow_send(flow, data, 8), 0);
	guest_run(&f->guest);
	s = guest_take(&f->guest, PACKET_UDP);
	memcpy(message + 8, s->bytes + ETH_HEADER_SIZE, 36);
	free(s);
	guest_send(&f->guest, bytes, wire_icmp(bytes, &w, message, sizeof(message)));
	assert_int_equal(f->n_refused, 1);
	udp_flow_free(flow);
	guest_send(&f->guest, bytes, wire_icmp(bytes, &w, message, sizeof(message)));
	assert_int_equal(f->n_refused, 1);
	assert_int_equal(counter(f, "egress.unresolved"), 1);
}

/* --- the stack itself --------------------------------------------------------- */

static void frames_for_others_are_counted(void **state)
{
	struct fixture *f = *state;
	struct wire w = wire_to(&wire_gateway4, 1, 2);
	uint8_t bytes[100];

	w.dst_mac.b[0] = 0x02;
	guest_send(&f->guest, bytes, wire_udp(bytes, &w, "x", 1));
	assert_int_equal(counter(f, "refused.other-mac"), 1);
	w = wire_to(&wire_gateway4, 1, 2);
	(void)wire_udp(bytes, &w, "x", 1);
	guest_send(&f->guest, bytes, 30); /* cut */
	assert_int_equal(counter(f, "refused.bad-ip-header"), 1);
	memset(bytes, 0, sizeof(bytes));
	guest_send(&f->guest, bytes, 14);
	assert_int_equal(counter(f, "refused.other-mac"), 2);
	assert_int_equal(counter(f, "gateway.flows"), 0);
}

/* A virtio header may name any place in the frame for the checksum. */
static void a_checksum_in_an_odd_place_harms_nobody(void **state)
{
	static const struct {
		uint16_t start, offset;
		size_t ip_len; /* of the whole frame's 600 bytes */
	} cases[] = { { 34, 2, 586 },  { 400, 100, 586 }, { 254, 1, 586 }, { 0, 0, 586 },
		      { 0, 250, 586 }, { 80, 6, 60 },	  { 34, 26, 46 },  { 599, 0, 586 } };
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct frame_offload offload = {
			.csum_partial = true,
			.csum_start = cases[i].start,
			.csum_offset = cases[i].offset,
		};
		struct wire w = wire_to(&wire_gateway4, 0, 0);
		uint8_t bytes[600] = { 0 }, message[600] = { 8 };

		(void)wire_icmp(bytes, &w, message, cases[i].ip_len - 20);
		fake_link_receive_one(&f->guest.link, bytes, sizeof(bytes), &offload);
		w = wire_to(&wire_dns4, 5000, 53);
		(void)wire_udp(bytes, &w, message, cases[i].ip_len - 28);
		fake_link_receive_one(&f->guest.link, bytes, sizeof(bytes), &offload);
		guest_run(&f->guest);
	}
	drop_received(f);
	ping(f, &wire_gateway4, 56);
}

static void there_is_one_stack(void **state)
{
	struct stack_config config = stack_config_default();
	struct fixture *f = *state;
	struct stack *second;

	assert_int_equal(stack_new(f->guest.loop, &config, &second), -EBUSY);
	ping(f, &wire_gateway4, 56); /* the first is none the worse */
}

static void a_config_that_contradicts_itself_is_refused(void **state)
{
	struct fixture *f = *state;
	struct stack_config bad[7];
	struct stack *s;

	stack_free(f->guest.stack);
	f->guest.stack = NULL;
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
		if (stack_new(f->guest.loop, &bad[i], &s) != -EINVAL)
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
		TEST(the_gateway_answers_a_ping_in_fragments),
		TEST(the_host_has_a_name),
		TEST(datagrams_reach_the_hosts_loopback),
		{ "datagrams_reach_the_hosts_loopback (offloads)",
		  datagrams_reach_the_hosts_loopback, setup_offloads, teardown, NULL },
		TEST(datagrams_to_special_addresses_go_nowhere),
		TEST(tftp_is_not_spoken),
		cmocka_unit_test_setup_teardown(the_loopback_may_be_out_of_reach,
						setup_without_loopback, teardown),
		TEST(flows_to_the_world_are_bounded),
		TEST(datagrams_go_to_a_guest_and_back),
		{ "datagrams_go_to_a_guest_and_back (offloads)", datagrams_go_to_a_guest_and_back,
		  setup_offloads, teardown, NULL },
		TEST(a_guest_may_refuse_a_datagram),
		TEST(frames_for_others_are_counted),
		TEST(a_checksum_in_an_odd_place_harms_nobody),
		TEST(there_is_one_stack),
		TEST(a_config_that_contradicts_itself_is_refused),
	};

	own_network_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
