/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams from a port of the host, through the agent, to a server in "the
 * guest", in netfwd's dialect, in Lima's, and by raw flows. */
#include "forwarder/tunnel_grpc.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "forwarder/udp_forward.h"
#include "netstack/base/loop.h"
#include "tests/support/agent_pair.h"
#include "tests/support/fake_loop.h"
#include "tests/support/host_socket.h"
#include "tests/support/own_network.h"
#include "tests/support/patience.h"

struct fixture {
	struct loop *loop;
	struct agent_pair pair;
	struct agent_pair_forward forward;
	int server;
};

static uint8_t out[65536], in[65536];

static int open_socket(uint16_t *port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);
	int size = 4 * 1024 * 1024, fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	assert_int_equal(bind(fd, (struct sockaddr *)&sin, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
	*port = ntohs(sin.sin_port);
	return fd;
}

enum kind { NETFWD, GUEST_SERVICE, RAW };

static int begin(void **state, enum kind kind)
{
	struct fixture *t = calloc(1, sizeof(*t));
	uint16_t port;

	assert_int_equal(loop_new(&t->loop), 0);
	t->pair.server_config.guest_service_only = kind == GUEST_SERVICE;
	t->pair.is_raw = kind == RAW;
	agent_pair_start(&t->pair, t->loop);
	t->server = open_socket(&port);
	agent_pair_forward_udp(&t->pair, port, &t->forward);
	*state = t;
	return 0;
}

static int setup(void **state)
{
	return begin(state, NETFWD);
}

static int setup_guest_service(void **state)
{
	return begin(state, GUEST_SERVICE);
}

static int setup_raw(void **state)
{
	return begin(state, RAW);
}

static int teardown(void **state)
{
	struct fixture *t = *state;

	agent_pair_forward_stop(&t->forward);
	agent_pair_stop(&t->pair);
	if (t->server >= 0)
		close(t->server);
	loop_free(t->loop);
	free(t);
	return 0;
}

/* Connected, so that it hears of refusals. */
static int open_client(struct fixture *t)
{
	struct sockaddr_in sin = {
		.sin_family = AF_INET,
		.sin_port = htons(t->forward.port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	return fd;
}

static bool receives(int fd, struct sockaddr_in *from, ssize_t *n)
{
	socklen_t len = sizeof(*from);

	*n = recvfrom(fd, in, sizeof(in), 0, (struct sockaddr *)from, &len);
	return *n >= 0;
}

static void answer(int fd, const struct sockaddr_in *to, const void *data, size_t len)
{
	assert_int_equal(sendto(fd, data, len, 0, (const struct sockaddr *)to, sizeof(*to)), len);
}

static void datagrams_of_every_size_pass_whole_both_ways(void **state)
{
	static const size_t sizes[] = { 0, 1, 512, 1472, 1473, 8192, 16384, 32768, 32769, 65507 };
	struct fixture *t = *state;
	int client = open_client(t);
	struct sockaddr_in from;
	ssize_t n;

	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 31 + i / 255);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		size_t len = sizes[i];

		assert_int_equal(send(client, out, len, 0), len);
		UNTIL(t->loop, receives(t->server, &from, &n));
		assert_int_equal(n, len);
		assert_memory_equal(in, out, len);
		answer(t->server, &from, out + 1, len);
		UNTIL(t->loop, receives(client, &from, &n));
		assert_int_equal(n, len);
		assert_memory_equal(in, out + 1, len);
	}
	close(client);
}

static void two_clients_get_their_own_answers(void **state)
{
	struct fixture *t = *state;
	int clients[2] = { open_client(t), open_client(t) };
	struct sockaddr_in from[2];
	ssize_t n;

	for (int i = 0; i < 2; i++) {
		assert_int_equal(send(clients[i], i ? "b" : "a", 1, 0), 1);
		UNTIL(t->loop, receives(t->server, &from[i], &n));
	}
	assert_int_not_equal(from[0].sin_port, from[1].sin_port);
	answer(t->server, &from[1], "to b", 4);
	answer(t->server, &from[0], "to a", 4);
	for (int i = 0; i < 2; i++) {
		UNTIL(t->loop, receives(clients[i], &from[i], &n));
		assert_int_equal(n, 4);
		assert_memory_equal(in, i ? "to b" : "to a", 4);
		close(clients[i]);
	}
}

/* iperf3, QUIC servers. */
static void server_that_connects_its_socket_keeps_its_session(void **state)
{
	struct fixture *t = *state;
	int client = open_client(t);
	struct sockaddr_in from;
	ssize_t n;

	assert_int_equal(send(client, "hi", 2, 0), 2);
	UNTIL(t->loop, receives(t->server, &from, &n));
	assert_int_equal(connect(t->server, (struct sockaddr *)&from, sizeof(from)), 0);
	for (int i = 0; i < 10; i++) {
		assert_int_equal(send(t->server, "down", 4, 0), 4);
		UNTIL(t->loop, receives(client, &from, &n));
		assert_int_equal(send(client, "up", 2, 0), 2);
		UNTIL(t->loop, receives(t->server, &from, &n));
		assert_int_equal(n, 2);
	}
	close(client);
}

static bool is_refused(int client, int *error)
{
	if (recv(client, in, sizeof(in), 0) >= 0 || errno == EAGAIN)
		return false;
	*error = errno;
	return true;
}

static void closed_port_of_the_guest_refuses_and_can_be_opened_later(void **state)
{
	struct fixture *t = *state;
	int client = open_client(t), error = 0;
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				   .sin_port = htons(t->forward.guest.port) };
	struct sockaddr_in from;
	ssize_t n;

	close(t->server);
	assert_int_equal(send(client, "x", 1, 0), 1);
	UNTIL(t->loop, is_refused(client, &error));
	assert_int_equal(error, ECONNREFUSED);

	t->server = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(t->server, (struct sockaddr *)&sin, sizeof(sin)), 0);
	assert_int_equal(send(client, "y", 1, 0), 1);
	UNTIL(t->loop, receives(t->server, &from, &n));
	assert_int_equal(n, 1);
	assert_int_equal(in[0], 'y');
	close(client);
}

static void flow_lives_on_over_a_restart_of_the_agent(void **state)
{
	struct fixture *t = *state;
	int client = open_client(t);
	struct sockaddr_in from;
	ssize_t n;

	assert_int_equal(send(client, "1", 1, 0), 1);
	UNTIL(t->loop, receives(t->server, &from, &n));
	agent_pair_kill_agent(&t->pair);
	fake_loop_settle(t->loop);
	assert_int_equal(send(client, "lost", 4, 0), 4);
	fake_loop_settle(t->loop);
	assert_true(agent_client_counters(t->pair.client)->datagrams_dropped +
			    t->pair.raw_dropped >=
		    1);

	agent_pair_start_agent(&t->pair);
	fake_loop_advance(t->loop, 1000);
	assert_int_equal(t->pair.tunnel->state, TUNNEL_UP);
	assert_int_equal(send(client, "2", 1, 0), 1);
	UNTIL(t->loop, receives(t->server, &from, &n));
	assert_int_equal(in[0], '2');
	answer(t->server, &from, "3", 1);
	UNTIL(t->loop, receives(client, &from, &n));
	close(client);
}

static void ignore_datagram(void *arg, const struct iovec *iov, int n)
{
	(void)arg;
	(void)iov;
	(void)n;
}

static void ignore_refusal(void *arg)
{
	(void)arg;
}

/* Lima's host never ends its flows. */
static void flow_that_the_agent_has_forgotten_is_made_anew(void **state)
{
	static const struct udp_flow_owner owner = { ignore_datagram, ignore_refusal, NULL };
	struct fixture *t = *state;
	struct tunnel *tunnel = t->pair.tunnel;
	unsigned int before = host_descriptors();
	struct sockaddr_in from;
	struct udp_flow *flow;
	ssize_t n;

	assert_int_equal(tunnel->ops->open_udp(tunnel, &t->forward.guest, &owner, NULL, &flow), 0);
	assert_int_equal(udp_flow_send(flow, "1", 1), 0);
	UNTIL(t->loop, receives(t->server, &from, &n));
	/* the agent's socket, and both ends of what carries a raw flow */
	assert_int_equal(host_descriptors(), before + (t->pair.is_raw ? 3 : 1));
	fake_loop_advance(t->loop, 6 * 60 * 1000);
	assert_int_equal(host_descriptors(), before);

	assert_int_equal(udp_flow_send(flow, "2", 1), 0);
	UNTIL(t->loop, receives(t->server, &from, &n));
	assert_int_equal(in[0], '2');
	udp_flow_free(flow);
	UNTIL(t->loop, host_descriptors() == before);
}

/* More than the forward takes: the longest unused go, and their sockets too. */
#define MANY 5000

static unsigned int count_received(struct fixture *t, unsigned int *n_received)
{
	struct sockaddr_in from;
	ssize_t n;

	while (receives(t->server, &from, &n)) {
		(*n_received)++;
		answer(t->server, &from, in, (size_t)n);
	}
	return *n_received;
}

static bool have_answers(const int *clients, int n, int *n_answered)
{
	char c;

	while (*n_answered < n && recv(clients[*n_answered], &c, 1, 0) == 1)
		(*n_answered)++;
	return *n_answered == n;
}

static void five_thousand_clients_do_not_stall(void **state)
{
	struct fixture *t = *state;
	unsigned int n_received = 0, before = host_descriptors();
	static int clients[MANY];
	int n_answered = 0;

	for (int i = 0; i < MANY; i++) {
		clients[i] = open_client(t);
		assert_int_equal(send(clients[i], "x", 1, 0), 1);
		if (i % 500 != 499)
			continue;
		UNTIL(t->loop, count_received(t, &n_received) == (unsigned int)i + 1);
		UNTIL(t->loop, have_answers(clients, i + 1, &n_answered));
	}
	for (int i = 0; i < MANY; i++)
		close(clients[i]);
	assert_int_equal(udp_forward_n_flows(t->forward.udp), UDP_FLOWS_PER_FORWARD);
	agent_pair_forward_stop(&t->forward);
	UNTIL(t->loop, host_descriptors() < before);
}

#define OWN(test)                                                      \
	cmocka_unit_test_setup_teardown(test, setup, teardown),        \
	{                                                              \
#test " by raw flows", test, setup_raw, teardown, NULL \
	}
#define ALL(test)                                                                   \
	OWN(test),                                                                  \
	{                                                                           \
#test " in GuestService", test, setup_guest_service, teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ALL(datagrams_of_every_size_pass_whole_both_ways),
		ALL(two_clients_get_their_own_answers),
		ALL(server_that_connects_its_socket_keeps_its_session),
		OWN(closed_port_of_the_guest_refuses_and_can_be_opened_later),
		ALL(flow_lives_on_over_a_restart_of_the_agent),
		ALL(flow_that_the_agent_has_forgotten_is_made_anew),
		ALL(five_thousand_clients_do_not_stall),
	};

	own_network_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
