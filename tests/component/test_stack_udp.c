/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams of a guest to the host and the world, of the host to a guest; and
 * where datagrams do not go. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/guest.h"
#include "tests/support/guest_datagram.h"
#include "tests/support/host_socket.h"
#include "tests/support/own_network.h"

#define LARGE 5000U

struct fixture {
	struct guest guest;
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

	guest_stop(&f->guest);
	if (f->server >= 0)
		close(f->server);
	return 0;
}

static uint64_t counter(struct fixture *f, const char *name)
{
	return guest_counter(&f->guest, name);
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
	guest_send_udp(&f->guest, &w, data, size);
	GUEST_UNTIL(&f->guest, server_got(f, &from, &len));
	assert_int_equal(f->got_len, size);
	assert_memory_equal(f->got, data, size);
	assert_int_equal(sendto(f->server, data, size, 0, (struct sockaddr *)&from, len), size);
	GUEST_UNTIL(&f->guest,
		    (reply = guest_take_message(&f->guest, PACKET_UDP, &p, &got)) != NULL);
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
		guest_send_udp(&f->guest, &w, data, 300);
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

		guest_send_udp(&f->guest, &w, read_request, sizeof(read_request));
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
	guest_send_udp(&f->guest, &w, data, 100);
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

		guest_send_udp(&f->guest, &w, data, 10);
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
		guest_send_udp(&f->guest, &w, data, 10);
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
	static const struct udp_flow_owner owner = { on_receive, on_refused, NULL };
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
	got = guest_take_message(&f->guest, PACKET_UDP, &p, &len);
	assert_non_null(got);
	assert_int_equal(len, 8 + size);
	assert_memory_equal(got + 8, data, size);
	assert_true(endpoint_equal(&p.dst, &to));

	struct wire answer = { wire_guest_mac, p.mac_src, p.dst, p.src };

	guest_send_udp(&f->guest, &answer, data + 1, size);
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
	static const struct udp_flow_owner owner = { on_receive, on_refused, NULL };
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
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
	};

	own_network_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
