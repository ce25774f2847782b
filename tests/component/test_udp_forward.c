/* SPDX-License-Identifier: Apache-2.0 */
/* UDP forwards over real loopback sockets; the guest is an array. */
#include "forwarder/udp_forward.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "forwarder/icmp_reply.h"
#include "netstack/base/loop.h"
#include "netstack/stack.h"
#include "tests/support/fake_loop.h"
#include "tests/support/patience.h"

/* The guest's end of one flow. */
struct guest_flow {
	struct udp_flow flow;
	struct list node; /* guest.flows, newest last */
	const struct udp_flow_owner *owner;
	void *owner_arg;
	unsigned int n_received;
	size_t last_len;
	uint8_t last[65536];
};

static struct {
	struct list flows;
	unsigned int n_flows;
	bool echoes;
	int dial_result, send_result;
} guest;

/* In two pieces, as a reassembled datagram may come. */
static void reply(struct guest_flow *flow, void *data, size_t len)
{
	struct iovec iov[2] = {
		{ data, len / 3 },
		{ (uint8_t *)data + len / 3, len - len / 3 },
	};

	flow->owner->receive(flow->owner_arg, iov, 2);
}

static int flow_send(struct udp_flow *udp_flow, const void *data, size_t len)
{
	struct guest_flow *flow = container_of(udp_flow, struct guest_flow, flow);

	if (guest.send_result < 0)
		return guest.send_result;
	flow->n_received++;
	flow->last_len = len;
	memcpy(flow->last, data, len);
	if (guest.echoes)
		reply(flow, flow->last, len);
	return 0;
}

static void flow_free(struct udp_flow *udp_flow)
{
	struct guest_flow *flow = container_of(udp_flow, struct guest_flow, flow);

	list_unlink(&flow->node);
	guest.n_flows--;
	free(flow);
}

static const struct udp_flow_ops flow_ops = { .send = flow_send, .free = flow_free };

static int dial(void *arg, const struct udp_flow_owner *owner, void *owner_arg,
		struct udp_flow **out)
{
	struct guest_flow *flow;

	(void)arg;
	if (guest.dial_result < 0)
		return guest.dial_result;
	flow = calloc(1, sizeof(*flow));
	flow->flow.ops = &flow_ops;
	flow->owner = owner;
	flow->owner_arg = owner_arg;
	list_append(&guest.flows, &flow->node);
	guest.n_flows++;
	*out = &flow->flow;
	return 0;
}

static struct guest_flow *newest_flow(void)
{
	return container_of(guest.flows.prev, struct guest_flow, node);
}

static const struct endpoint any_port4 = { IPADDR_V4(127, 0, 0, 1), 0 };
static const struct endpoint any_port6 = { { { [15] = 1 } }, 0 };

struct fixture {
	struct loop *loop;
	struct udp_hub *hub;
	struct udp_forward *forward;
};

static const struct udp_dialer dialer = { .dial = dial };

static void serve(struct fixture *t, const struct endpoint *host)
{
	udp_forward_free(t->forward);
	assert_int_equal(udp_forward_new(t->hub, host, &dialer, &t->forward), 0);
	udp_forward_start(t->forward);
}

static int setup(void **state)
{
	struct fixture *t = calloc(1, sizeof(*t));

	memset(&guest, 0, sizeof(guest));
	list_init(&guest.flows);
	assert_int_equal(loop_new(&t->loop), 0);
	assert_int_equal(udp_hub_new(t->loop, &t->hub), 0);
	serve(t, &any_port4);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *t = *state;

	udp_forward_free(t->forward);
	assert_int_equal(guest.n_flows, 0);
	udp_hub_free(t->hub);
	loop_free(t->loop);
	free(t);
	return 0;
}

static const struct udp_forward_counters *counters(struct fixture *t)
{
	return udp_forward_counters(t->forward);
}

/* A client's socket, connected to addr and the forward's port: it takes replies
 * from nowhere else. */
static int client_to(struct fixture *t, const struct ipaddr *addr)
{
	struct endpoint to = { *addr, udp_forward_host(t->forward)->port };
	const int size = 4 << 20;
	struct sockaddr_storage sa;
	socklen_t len = endpoint_to_sockaddr(&to, &sa);
	int fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, len), 0);
	return fd;
}

static int client(struct fixture *t)
{
	return client_to(t, &udp_forward_host(t->forward)->addr);
}

static bool is_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static ssize_t receive(struct fixture *t, int fd, void *data, size_t size)
{
	UNTIL(t->loop, is_readable(fd));
	return recv(fd, data, size, 0);
}

static void datagrams_of_every_size_come_back_whole(void **state)
{
	static const size_t sizes[] = { 0, 1, 1472, 1473, 9000, 65506, 65507 };
	struct fixture *t = *state;
	uint8_t *sent = malloc(65536), *got = malloc(65536);
	int fd = client(t);

	guest.echoes = true;
	for (size_t i = 0; i < 65536; i++)
		sent[i] = (uint8_t)(i * 7 + i / 256);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		assert_int_equal(send(fd, sent, sizes[i], 0), (ssize_t)sizes[i]);
		assert_int_equal(receive(t, fd, got, 65536), (ssize_t)sizes[i]);
		assert_memory_equal(got, sent, sizes[i]);
		assert_int_equal(newest_flow()->last_len, sizes[i]);
	}
	assert_int_equal(guest.n_flows, 1);
	assert_int_equal(counters(t)->to_guest, 7);
	assert_int_equal(counters(t)->to_host, 7);
	close(fd);
	free(sent);
	free(got);
}

static void each_client_has_a_flow_and_gets_its_own_replies(void **state)
{
	struct fixture *t = *state;
	int fds[50];
	char got[8];

	for (int i = 0; i < 50; i++) {
		fds[i] = client(t);
		assert_int_equal(send(fds[i], &i, sizeof(i), 0), sizeof(i));
	}
	UNTIL(t->loop, counters(t)->to_guest == 50);
	assert_int_equal(guest.n_flows, 50);
	assert_int_equal(udp_forward_n_flows(t->forward), 50);

	list_for_each(node, &guest.flows) {
		struct guest_flow *flow = container_of(node, struct guest_flow, node);

		reply(flow, flow->last, flow->last_len);
	}
	for (int i = 0; i < 50; i++) {
		assert_int_equal(receive(t, fds[i], got, sizeof(got)), sizeof(i));
		assert_memory_equal(got, &i, sizeof(i));
		close(fds[i]);
	}
}

static void nothing_is_received_before_start(void **state)
{
	struct fixture *t = *state;
	int fd;

	udp_forward_free(t->forward);
	assert_int_equal(udp_forward_new(t->hub, &any_port4, &dialer, &t->forward), 0);
	fd = client(t);
	assert_int_equal(send(fd, "x", 1, 0), 1);
	fake_loop_settle(t->loop);
	assert_int_equal(guest.n_flows, 0);

	udp_forward_start(t->forward); /* it has waited in the kernel */
	UNTIL(t->loop, guest.n_flows == 1);
	close(fd);
}

/* A connected client drops what comes from another address. */
static void a_wildcard_forward_replies_from_the_address_that_was_asked(void **state)
{
	static const struct endpoint wildcard = { IPADDR_V4(0, 0, 0, 0), 0 };
	static const struct ipaddr other = IPADDR_V4(127, 0, 0, 2);
	struct fixture *t = *state;
	char got[8];
	int fd;

	guest.echoes = true;
	serve(t, &wildcard);
	fd = client_to(t, &other);
	assert_int_equal(send(fd, "hello", 5, 0), 5);
	assert_int_equal(receive(t, fd, got, sizeof(got)), 5);
	close(fd);
}

static void ipv6_works_on_its_loopback_and_its_wildcard(void **state)
{
	static const struct endpoint wildcard = { IPADDR_V6_ANY, 0 };
	struct fixture *t = *state;
	char got[8];
	int fd;

	guest.echoes = true;
	serve(t, &any_port6);
	fd = client(t);
	assert_int_equal(send(fd, "hello", 5, 0), 5);
	assert_int_equal(receive(t, fd, got, sizeof(got)), 5);
	close(fd);

	serve(t, &wildcard);
	fd = client_to(t, &any_port6.addr);
	assert_int_equal(send(fd, "hello", 5, 0), 5);
	assert_int_equal(receive(t, fd, got, sizeof(got)), 5);
	close(fd);
}

static void a_question_without_answer_is_forgotten_after_one_minute(void **state)
{
	struct fixture *t = *state;
	int fd = client(t);

	assert_int_equal(send(fd, "a", 1, 0), 1);
	UNTIL(t->loop, guest.n_flows == 1);

	fake_loop_advance(t->loop, UDP_IDLE_ONE_WAY_MS - 1);
	assert_int_equal(guest.n_flows, 1);
	fake_loop_advance(t->loop, 1);
	assert_int_equal(guest.n_flows, 0);
	assert_int_equal(counters(t)->flows_evicted, 0);
	close(fd);
}

static void traffic_both_ways_keeps_a_flow_for_three_minutes(void **state)
{
	struct fixture *t = *state;
	char answer[] = "b";
	int fd = client(t);

	assert_int_equal(send(fd, "a", 1, 0), 1);
	UNTIL(t->loop, guest.n_flows == 1);
	fake_loop_advance(t->loop, 50000);
	reply(newest_flow(), answer, 1);

	fake_loop_advance(t->loop, UDP_IDLE_BOTH_WAYS_MS - 1);
	assert_int_equal(guest.n_flows, 1);
	fake_loop_advance(t->loop, 1);
	assert_int_equal(guest.n_flows, 0);
	close(fd);
}

static void each_datagram_of_the_client_starts_the_minute_anew(void **state)
{
	struct fixture *t = *state;
	int fd = client(t);

	for (unsigned int i = 1; i <= 5; i++) {
		assert_int_equal(send(fd, "a", 1, 0), 1);
		UNTIL(t->loop, counters(t)->to_guest == i);
		fake_loop_advance(t->loop, UDP_IDLE_ONE_WAY_MS - 1);
	}
	assert_int_equal(counters(t)->flows, 1);
	assert_int_equal(guest.n_flows, 1);
	close(fd);
}

/* Clients as addresses of 127/8, so that one descriptor is enough. */
static void send_from(struct fixture *t, unsigned int i)
{
	struct endpoint from = { IPADDR_V4(127, 1, (uint8_t)(i >> 8), (uint8_t)i), 0 };
	unsigned int before = (unsigned int)counters(t)->to_guest;
	struct sockaddr_storage sa;
	socklen_t len = endpoint_to_sockaddr(&from, &sa);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	/* An address and a fixed port: the same client each time. */
	((struct sockaddr_in *)&sa)->sin_port = htons(40000);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
	len = endpoint_to_sockaddr(udp_forward_host(t->forward), &sa);
	assert_int_equal(sendto(fd, &i, sizeof(i), 0, (struct sockaddr *)&sa, len), sizeof(i));
	close(fd);
	UNTIL(t->loop, counters(t)->to_guest == before + 1);
}

static void with_too_many_clients_the_longest_unused_goes(void **state)
{
	struct fixture *t = *state;

	for (unsigned int i = 0; i < UDP_FLOWS_PER_FORWARD; i++)
		send_from(t, i);
	assert_int_equal(counters(t)->flows_evicted, 0);
	send_from(t, 0); /* used again: now 1 is the longest unused */
	send_from(t, UDP_FLOWS_PER_FORWARD);
	assert_int_equal(counters(t)->flows_evicted, 1);
	assert_int_equal(guest.n_flows, UDP_FLOWS_PER_FORWARD);

	send_from(t, 0); /* still there */
	assert_int_equal(counters(t)->flows, UDP_FLOWS_PER_FORWARD + 1);
	send_from(t, 1); /* anew */
	assert_int_equal(counters(t)->flows, UDP_FLOWS_PER_FORWARD + 2);
}

/* Needs CAP_NET_RAW; without it the refusal is counted and that is tested. */
static void check_refusal(struct fixture *t)
{
	struct icmp_reply *icmp = NULL;
	bool is_privileged = icmp_reply_new(&icmp) == 0;
	int fd = client(t);
	char got[8];

	icmp_reply_free(icmp);
	assert_int_equal(send(fd, "a", 1, 0), 1);
	UNTIL(t->loop, guest.n_flows == 1);
	newest_flow()->owner->refused(newest_flow()->owner_arg);
	if (is_privileged) {
		assert_int_equal(receive(t, fd, got, sizeof(got)), -1);
		assert_int_equal(errno, ECONNREFUSED);
		assert_int_equal(counters(t)->refused, 1);
		assert_int_equal(counters(t)->refused_mute, 0);
	} else {
		assert_int_equal(counters(t)->refused, 0);
		assert_int_equal(counters(t)->refused_mute, 1);
	}
	close(fd);
}

static void a_refusal_reaches_the_client_over_ipv4(void **state)
{
	check_refusal(*state);
}

static void a_refusal_reaches_the_client_over_ipv6(void **state)
{
	struct fixture *t = *state;

	serve(t, &any_port6);
	check_refusal(t);
}

static void a_refusal_on_a_wildcard_forward_names_the_address_that_was_asked(void **state)
{
	static const struct endpoint wildcard = { IPADDR_V4(0, 0, 0, 0), 0 };
	struct fixture *t = *state;

	serve(t, &wildcard); /* the client goes to 127.0.0.1 by way of 0.0.0.0 */
	check_refusal(t);
}

static void what_cannot_be_delivered_is_counted_by_its_reason(void **state)
{
	struct fixture *t = *state;
	int fd = client(t);

	guest.dial_result = -ENETDOWN;
	assert_int_equal(send(fd, "a", 1, 0), 1);
	UNTIL(t->loop, counters(t)->dial_failed == 1);
	assert_int_equal(udp_forward_n_flows(t->forward), 0);

	guest.dial_result = 0;
	guest.send_result = -EAGAIN;
	assert_int_equal(send(fd, "a", 1, 0), 1);
	UNTIL(t->loop, counters(t)->guest_busy == 1);
	guest.send_result = -EMSGSIZE;
	assert_int_equal(send(fd, "a", 1, 0), 1);
	UNTIL(t->loop, counters(t)->too_long == 1);
	assert_int_equal(counters(t)->to_guest, 0);
	assert_int_equal(guest.n_flows, 1);
	close(fd);
}

static void a_port_in_use_is_an_error_and_free_gives_it_back(void **state)
{
	struct fixture *t = *state;
	struct endpoint host = *udp_forward_host(t->forward);
	struct udp_forward *second = NULL;

	assert_int_equal(udp_forward_new(t->hub, &host, &dialer, &second), -EADDRINUSE);
	assert_null(second);
	udp_forward_free(t->forward);
	t->forward = NULL;
	assert_int_equal(udp_forward_new(t->hub, &host, &dialer, &t->forward), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(datagrams_of_every_size_come_back_whole),
		TEST(each_client_has_a_flow_and_gets_its_own_replies),
		TEST(nothing_is_received_before_start),
		TEST(a_wildcard_forward_replies_from_the_address_that_was_asked),
		TEST(ipv6_works_on_its_loopback_and_its_wildcard),
		TEST(a_question_without_answer_is_forgotten_after_one_minute),
		TEST(traffic_both_ways_keeps_a_flow_for_three_minutes),
		TEST(each_datagram_of_the_client_starts_the_minute_anew),
		TEST(with_too_many_clients_the_longest_unused_goes),
		TEST(a_refusal_reaches_the_client_over_ipv4),
		TEST(a_refusal_reaches_the_client_over_ipv6),
		TEST(a_refusal_on_a_wildcard_forward_names_the_address_that_was_asked),
		TEST(what_cannot_be_delivered_is_counted_by_its_reason),
		TEST(a_port_in_use_is_an_error_and_free_gives_it_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
