/* SPDX-License-Identifier: Apache-2.0 */
/* Reverse forwards through the agent, by calls and by raw flows: sockets of "the guest",
 * which are those of this network too, that lead to a server of the host. */
#include "forwarder/reverse.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "forwarder/listen_socket.h"
#include "forwarder/reverse_clients.h"
#include "forwarder/ways.h"
#include "netstack/base/loop.h"
#include "tests/support/agent_pair.h"
#include "tests/support/fake_loop.h"
#include "tests/support/host_socket.h"
#include "tests/support/own_network.h"
#include "tests/support/patience.h"
#include "tests/support/published.h"

#define GUEST 5301
#define HOST 5300

struct agent_fixture {
	struct loop *loop;
	struct agent_pair pair;
	struct ways *ways;
	struct reverses *reverses;
	struct reverse_list wanted;
	int server; /* of the host */
	struct reverse_status status;
};

static uint8_t out[65536], in[65536];

static const struct endpoint guest_end = { IPADDR_V4(127, 0, 0, 1), GUEST };
static const struct endpoint host_end = { IPADDR_V4(127, 0, 0, 1), HOST };

enum kind { NETFWD, GUEST_SERVICE, RAW };

static int begin(void **state, enum kind kind)
{
	struct agent_fixture *f = calloc(1, sizeof(*f));

	events[0] = last_error[0] = '\0';
	assert_int_equal(loop_new(&f->loop), 0);
	f->pair.server_config.guest_service_only = kind == GUEST_SERVICE;
	f->pair.is_raw = kind == RAW;
	agent_pair_start(&f->pair, f->loop);
	assert_int_equal(ways_new(f->loop, &f->ways), 0);
	ways_add(f->ways, kind == RAW ? RULE_VIA_VSOCK : RULE_VIA_GRPC, f->pair.tunnel);
	assert_int_equal(reverses_new(f->loop, f->ways, "", &f->reverses), 0);
	f->server = listen_socket_bind(FORWARD_UDP, &host_end);
	assert_true(f->server >= 0);
	*state = f;
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
	struct agent_fixture *f = *state;

	reverses_free(f->reverses);
	ways_free(f->ways);
	agent_pair_stop(&f->pair);
	if (f->server >= 0)
		close(f->server);
	loop_free(f->loop);
	free(f);
	return 0;
}

static void want(struct agent_fixture *f, enum forward_proto proto)
{
	const struct reverse_forward item = {
		.proto = proto,
		.guest = guest_end,
		.host = host_end,
		.via = RULE_VIA_AUTO,
	};

	reverse_list_add(&f->wanted, &item);
	assert_int_equal(reverses_set(f->reverses, &f->wanted), 0);
}

static void note_status(void *arg, const struct reverse_status *status)
{
	*(struct reverse_status *)arg = *status;
}

static const struct reverse_status *status_of(struct agent_fixture *f)
{
	reverses_each(f->reverses, note_status, &f->status);
	return &f->status;
}

static void open_udp(struct agent_fixture *f)
{
	want(f, FORWARD_UDP);
	UNTIL(f->loop, strstr(events, "forwarding udp 127.0.0.1:5300 127.0.0.1:5301\n"));
}

/* In the guest; connected, so that it hears of refusals. */
static int open_client(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	assert_int_equal(connect_socket(fd, &guest_end), 0);
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

static void datagrams_of_the_guest_pass_whole_both_ways(void **state)
{
	static const size_t sizes[] = { 0, 1, 1472, 8192, 32768, 32769, 65507 };
	struct agent_fixture *f = *state;
	struct sockaddr_in from;
	size_t total = 0;
	ssize_t n;
	int client;

	open_udp(f);
	client = open_client();
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 31 + i / 255);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		size_t len = sizes[i];

		total += len;
		assert_int_equal(send(client, out, len, 0), len);
		UNTIL(f->loop, receives(f->server, &from, &n));
		assert_int_equal(n, len);
		assert_memory_equal(in, out, len);
		answer(f->server, &from, out + 1, len);
		UNTIL(f->loop, receives(client, &from, &n));
		assert_int_equal(n, len);
		assert_memory_equal(in, out + 1, len);
	}
	assert_int_equal(status_of(f)->counters.total, 1);
	assert_int_equal(status_of(f)->counters.to_host_bytes, total);
	assert_int_equal(status_of(f)->counters.to_guest_bytes, total);
	close(client);
}

static void what_comes_before_the_host_has_opened_its_flow_waits(void **state)
{
	struct agent_fixture *f = *state;
	struct sockaddr_in from;
	char text[2] = "0";
	ssize_t n;
	int client;

	open_udp(f);
	client = open_client();
	for (; text[0] <= '9'; text[0]++)
		assert_int_equal(send(client, text, 1, 0), 1);
	for (text[0] = '0'; text[0] <= '9'; text[0]++) {
		UNTIL(f->loop, receives(f->server, &from, &n));
		assert_int_equal(n, 1);
		assert_int_equal(in[0], text[0]);
	}
	close(client);
}

static void each_client_of_the_guest_gets_its_own_answers(void **state)
{
	struct agent_fixture *f = *state;
	struct sockaddr_in from[2];
	int clients[2];
	ssize_t n;

	open_udp(f);
	for (int i = 0; i < 2; i++) {
		clients[i] = open_client();
		assert_int_equal(send(clients[i], i ? "b" : "a", 1, 0), 1);
		UNTIL(f->loop, receives(f->server, &from[i], &n));
	}
	assert_int_not_equal(from[0].sin_port, from[1].sin_port);
	answer(f->server, &from[1], "to b", 4);
	answer(f->server, &from[0], "to a", 4);
	for (int i = 0; i < 2; i++) {
		UNTIL(f->loop, receives(clients[i], &from[i], &n));
		assert_int_equal(n, 4);
		assert_memory_equal(in, i ? "to b" : "to a", 4);
		close(clients[i]);
	}
}

static bool is_refused(int client, int *error)
{
	if (recv(client, in, sizeof(in), 0) >= 0 || errno == EAGAIN)
		return false;
	*error = errno;
	return true;
}

static void closed_port_of_the_host_refuses_and_can_be_opened_later(void **state)
{
	struct agent_fixture *f = *state;
	struct sockaddr_in from;
	int client, error = 0;
	ssize_t n;

	open_udp(f);
	client = open_client();
	close(f->server);
	assert_int_equal(send(client, "x", 1, 0), 1);
	UNTIL(f->loop, is_refused(client, &error));
	assert_int_equal(error, ECONNREFUSED);

	f->server = listen_socket_bind(FORWARD_UDP, &host_end);
	assert_int_equal(send(client, "y", 1, 0), 1);
	UNTIL(f->loop, receives(f->server, &from, &n));
	assert_int_equal(in[0], 'y');
	close(client);
}

static void clients_that_are_idle_are_forgotten_and_known_anew(void **state)
{
	struct agent_fixture *f = *state;
	struct sockaddr_in from;
	unsigned int before;
	ssize_t n;
	int client;

	open_udp(f);
	client = open_client();
	before = host_descriptors();
	assert_int_equal(send(client, "1", 1, 0), 1);
	UNTIL(f->loop, receives(f->server, &from, &n));
	assert_int_equal(status_of(f)->counters.open, 1);
	/* the socket to the host's server, and both ends of what carries a raw flow */
	assert_int_equal(host_descriptors(), before + (f->pair.is_raw ? 3 : 1));
	fake_loop_advance(f->loop, UDP_IDLE_BOTH_WAYS_MS + 1000);
	UNTIL(f->loop, host_descriptors() == before);
	assert_int_equal(status_of(f)->counters.open, 0);

	assert_int_equal(send(client, "2", 1, 0), 1);
	UNTIL(f->loop, receives(f->server, &from, &n));
	assert_int_equal(in[0], '2');
	close(client);
}

static unsigned int count_received(struct agent_fixture *f, struct sockaddr_in *from,
				   unsigned int *n_received)
{
	ssize_t n;

	while (receives(f->server, from, &n))
		(*n_received)++;
	return *n_received;
}

static void the_longest_unused_go_when_there_are_too_many_clients(void **state)
{
	struct agent_fixture *f = *state;
	int clients[REVERSE_CLIENTS_MAX + 10];
	const unsigned int n_clients = sizeof(clients) / sizeof(*clients);
	unsigned int n_received = 0;
	struct sockaddr_in from;
	ssize_t n;

	open_udp(f);
	for (unsigned int i = 0; i < n_clients; i++) {
		clients[i] = open_client();
		assert_int_equal(send(clients[i], "x", 1, 0), 1);
		if (i % 50 == 49 || i == n_clients - 1)
			UNTIL(f->loop, count_received(f, &from, &n_received) == i + 1);
	}
	UNTIL(f->loop, status_of(f)->counters.open == REVERSE_CLIENTS_MAX);
	assert_int_equal(status_of(f)->counters.total, n_clients);
	assert_int_equal(send(clients[n_clients - 1], "me", 2, 0), 2);
	UNTIL(f->loop, receives(f->server, &from, &n));
	answer(f->server, &from, "last", 4);
	UNTIL(f->loop, receives(clients[n_clients - 1], &from, &n));
	assert_int_equal(send(clients[0], "first", 5, 0), 5);
	UNTIL(f->loop, receives(f->server, &from, &n));
	assert_int_equal(n, 5);
	for (unsigned int i = 0; i < n_clients; i++)
		close(clients[i]);
}

static void an_agent_that_comes_back_listens_again(void **state)
{
	struct agent_fixture *f = *state;
	struct sockaddr_in from;
	ssize_t n;
	int client;

	open_udp(f);
	client = open_client();
	assert_int_equal(send(client, "1", 1, 0), 1);
	UNTIL(f->loop, receives(f->server, &from, &n));
	agent_pair_kill_agent(&f->pair);
	UNTIL(f->loop, strstr(events, "failed udp"));
	assert_int_equal(status_of(f)->counters.open, 0);

	events[0] = '\0';
	agent_pair_start_agent(&f->pair);
	fake_loop_advance(f->loop, 3000);
	UNTIL(f->loop, strstr(events, "recovered udp"));
	while (recv(client, in, sizeof(in), 0) >= 0 || errno != EAGAIN)
		; /* the refusal of the time between */
	assert_int_equal(send(client, "2", 1, 0), 1);
	UNTIL(f->loop, receives(f->server, &from, &n));
	assert_int_equal(in[0], '2');
	close(client);
}

static void what_is_not_wanted_any_more_is_closed_in_the_guest(void **state)
{
	struct agent_fixture *f = *state;
	unsigned int before = host_descriptors();
	struct sockaddr_in from;
	int client, error;
	ssize_t n;

	open_udp(f);
	client = open_client();
	assert_int_equal(send(client, "1", 1, 0), 1);
	UNTIL(f->loop, receives(f->server, &from, &n));
	f->wanted.n = 0;
	assert_int_equal(reverses_set(f->reverses, &f->wanted), 0);
	UNTIL(f->loop, host_descriptors() == before + 1);
	assert_int_equal(send(client, "2", 1, 0), 1);
	UNTIL(f->loop, is_refused(client, &error));
	assert_int_equal(error, ECONNREFUSED);
	close(client);
}

static void a_port_of_the_guest_that_is_taken_is_told(void **state)
{
	struct agent_fixture *f = *state;
	int other = listen_socket_bind(FORWARD_UDP, &guest_end);

	want(f, FORWARD_UDP);
	UNTIL(f->loop, strstr(events, "failed udp"));
	assert_non_null(strstr(last_error, "another program of the guest"));
	close(other);
	fake_loop_advance(f->loop, RETRY_MAX_MS);
	UNTIL(f->loop, strstr(events, "recovered udp"));
}

static void connections_of_the_guest_reach_the_host(void **state)
{
	struct agent_fixture *f = *state;
	int listener = listen_socket_bind(FORWARD_TCP, &host_end), client, served = -1;

	assert_int_equal(listen(listener, 5), 0);
	want(f, FORWARD_TCP);
	UNTIL(f->loop, strstr(events, "forwarding tcp 127.0.0.1:5300 127.0.0.1:5301\n"));
	client = connect_to(GUEST);
	UNTIL(f->loop, (served = host_accept(listener)) >= 0);
	assert_int_equal(send(client, "hello", 5, 0), 5);
	UNTIL(f->loop, recv(served, in, sizeof(in), MSG_DONTWAIT) == 5);
	shutdown(client, SHUT_WR);
	UNTIL(f->loop, recv(served, in, sizeof(in), MSG_DONTWAIT) == 0);
	assert_int_equal(send(served, "bye", 3, 0), 3);
	UNTIL(f->loop, recv(client, in, sizeof(in), MSG_DONTWAIT) == 3);
	close(served);
	UNTIL(f->loop, recv(client, in, sizeof(in), MSG_DONTWAIT) == 0);
	close(client);
	close(listener);
}

static void an_agent_that_cannot_is_told_of(void **state)
{
	struct agent_fixture *f = *state;

	want(f, FORWARD_UDP);
	UNTIL(f->loop, strstr(events, "failed udp"));
	assert_non_null(strstr(last_error, "the agent in the guest cannot listen for UDP"));
	fake_loop_advance(f->loop, 10UL * RETRY_MAX_MS);
	assert_null(strstr(events, "forwarding"));
}

#define BOTH(test)                                                     \
	cmocka_unit_test_setup_teardown(test, setup, teardown),        \
	{                                                              \
#test " by raw flows", test, setup_raw, teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(datagrams_of_the_guest_pass_whole_both_ways),
		BOTH(what_comes_before_the_host_has_opened_its_flow_waits),
		BOTH(each_client_of_the_guest_gets_its_own_answers),
		BOTH(closed_port_of_the_host_refuses_and_can_be_opened_later),
		BOTH(clients_that_are_idle_are_forgotten_and_known_anew),
		BOTH(the_longest_unused_go_when_there_are_too_many_clients),
		BOTH(an_agent_that_comes_back_listens_again),
		BOTH(what_is_not_wanted_any_more_is_closed_in_the_guest),
		BOTH(a_port_of_the_guest_that_is_taken_is_told),
		BOTH(connections_of_the_guest_reach_the_host),
		cmocka_unit_test_setup_teardown(an_agent_that_cannot_is_told_of,
						setup_guest_service, teardown),
	};

	own_network_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
