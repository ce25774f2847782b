/* SPDX-License-Identifier: Apache-2.0 */
/* The publisher over real sockets in a network of the test's own, where every
 * port is free, with a clock that the test moves. Guests are sockets too:
 * the listener of a guest is one at 127.0.0.1 and its guest port. */
#include "forwarder/publisher.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "forwarder/events.h"
#include "forwarder/listen_socket.h"
#include "netstack/base/loop.h"
#include "netstack/stream_fd.h"
#include "netstack/udp_flow.h"
#include "tests/support/fake_loop.h"
#include "tests/support/host_socket.h"
#include "tests/support/own_network.h"
#include "tests/support/patience.h"

#define HOST_PORT 8080
#define GUEST_PORT 80

/* "forwarding tcp 127.0.0.1:8080 0.0.0.0:80\n..." */
static char events[1 << 16];
static char last_error[512];

static void note(const char *name, const struct forward_route *route, const char *error)
{
	char host[ADDR_TEXT_SIZE], guest[ADDR_TEXT_SIZE];
	size_t len = strlen(events);

	(void)snprintf(events + len, sizeof(events) - len, "%s %s %s %s\n", name,
		       forward_proto_name(route->proto),
		       route->host_socket ? route->host_socket :
					    endpoint_format(&route->host, host),
		       endpoint_format(&route->guest, guest));
	if (error)
		(void)snprintf(last_error, sizeof(last_error), "%s", error);
}

void event_forwarding(const struct forward_route *route)
{
	note("forwarding", route, NULL);
}

void event_not_forwarding(const struct forward_route *route, const char *why)
{
	note("not-forwarding", route, why);
}

void event_stopping(const struct forward_route *route)
{
	note("stopping", route, NULL);
}

void event_failed(const struct forward_route *route, const char *error)
{
	note("failed", route, error);
}

void event_recovered(const struct forward_route *route)
{
	note("recovered", route, NULL);
}

static void expect_events(const char *want)
{
	assert_string_equal(events, want);
	events[0] = '\0';
}

struct fixture {
	struct loop *loop;
	struct publisher_config config;
	struct publisher *publisher;
	uint16_t guest_port; /* where the listener of the guest is */
	int guest;
	struct publication dialled; /* the last one */
	unsigned int n_dialled;
	int failing_via; /* dials through it fail */
};

static int dial_tcp(void *arg, const struct publication *p, struct stream **out)
{
	struct fixture *t = arg;
	struct endpoint guest = { IPADDR_V4(127, 0, 0, 1), t->guest_port };
	struct sockaddr_storage sa;
	socklen_t len = endpoint_to_sockaddr(&guest, &sa);
	int fd;

	t->dialled = *p;
	t->n_dialled++;
	if (p->via == t->failing_via)
		return -EHOSTUNREACH;
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	if (connect(fd, (struct sockaddr *)&sa, len) < 0)
		assert_int_equal(errno, EINPROGRESS);
	return stream_fd_new(t->loop, fd, true, out);
}

static int dial_udp(void *arg, const struct publication *p, const struct udp_flow_owner *owner,
		    void *owner_arg, struct udp_flow **out)
{
	struct fixture *t = arg;

	(void)owner;
	(void)owner_arg;
	(void)out;
	t->dialled = *p;
	t->n_dialled++;
	return -EHOSTUNREACH;
}

int udp_flow_send(struct udp_flow *flow, const void *data, size_t len)
{
	(void)flow;
	(void)data;
	(void)len;
	return -EAGAIN;
}

void udp_flow_free(struct udp_flow *flow)
{
	assert_null(flow); /* none was ever opened */
}

static void start(struct fixture *t, bool next_free_port)
{
	const struct publisher_dialer dialer = { dial_tcp, dial_udp, t };

	t->config = (struct publisher_config){ GRACE_DEFAULT_MS, next_free_port };
	assert_int_equal(publisher_new(t->loop, &t->config, &dialer, &t->publisher), 0);
}

static int setup(void **state)
{
	struct fixture *t = calloc(1, sizeof(*t));

	events[0] = last_error[0] = '\0';
	t->failing_via = -1;
	t->guest = host_listen("127.0.0.1", &t->guest_port);
	assert_int_equal(loop_new(&t->loop), 0);
	start(t, false);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *t = *state;

	publisher_free(t->publisher);
	loop_free(t->loop);
	close(t->guest);
	free(t);
	return 0;
}

/* ---- what is published ---- */

static struct ipaddr address(const char *text)
{
	struct ipaddr a;

	assert_int_equal(ipaddr_parse(text, &a), 0);
	return a;
}

/* Guest port 80 at the guest's address, to port 8080 of 127.0.0.1. */
static struct publication web(const char *guest_address)
{
	return (struct publication){
		.proto = FORWARD_TCP,
		.host = { IPADDR_V4(127, 0, 0, 1), HOST_PORT },
		.guest = { address(guest_address), GUEST_PORT },
	};
}

static void set(struct fixture *t, const char *source, const struct publication *items,
		unsigned int n)
{
	assert_int_equal(publisher_set(t->publisher, source, items, n), 0);
}

static void publish(struct fixture *t, struct publication p)
{
	set(t, "guest:", &p, 1);
}

static void withdraw(struct fixture *t)
{
	set(t, "guest:", NULL, 0);
}

/* ---- clients ---- */

static int connect_socket(int fd, const struct endpoint *to)
{
	struct sockaddr_storage sa;
	socklen_t len = endpoint_to_sockaddr(to, &sa);

	return connect(fd, (struct sockaddr *)&sa, len) < 0 ? -errno : 0;
}

static int connect_at(const char *host, uint16_t port)
{
	struct endpoint to = { address(host), port };
	int fd = socket(ipaddr_is_v4(&to.addr) ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int r = connect_socket(fd, &to);

	if (r == 0)
		return fd;
	close(fd);
	return r;
}

static int connect_to(uint16_t port)
{
	return connect_at("127.0.0.1", port);
}

static void expect_refused(uint16_t port)
{
	assert_int_equal(connect_to(port), -ECONNREFUSED);
}

static int accept_as_guest(struct fixture *t)
{
	int fd = -1;

	UNTIL(t->loop, (fd = host_accept(t->guest)) >= 0);
	return fd;
}

static bool has_text(int fd, const char *text)
{
	char got[64];
	ssize_t n = recv(fd, got, sizeof(got), MSG_DONTWAIT);

	if (n < 0)
		return false;
	assert_int_equal(n, strlen(text));
	assert_memory_equal(got, text, strlen(text));
	return true;
}

/* A client and its end at the guest. */
struct pair {
	int client, guest;
};

static void expect_flow(struct fixture *t, const struct pair *p)
{
	assert_int_equal(send(p->client, "ping", 4, 0), 4);
	UNTIL(t->loop, has_text(p->guest, "ping"));
	assert_int_equal(send(p->guest, "pong!", 5, 0), 5);
	UNTIL(t->loop, has_text(p->client, "pong!"));
}

static struct pair join(struct fixture *t, int client)
{
	struct pair p = { .client = client };

	assert_true(client >= 0);
	p.guest = accept_as_guest(t);
	expect_flow(t, &p);
	return p;
}

static void pair_close(struct fixture *t, const struct pair *p)
{
	close(p->client);
	close(p->guest);
	fake_loop_settle(t->loop);
}

static void expect_served(struct fixture *t, uint16_t port)
{
	struct pair p = join(t, connect_to(port));

	pair_close(t, &p);
}

/* Somebody else's, listening at 127.0.0.1. */
static int occupy(const char *host, uint16_t port)
{
	return host_listen(host, &port);
}

/* ---- status ---- */

struct listing {
	unsigned int n;
	struct publication_status all[8];
};

static void collect(void *arg, const char *source, const struct publication_status *status)
{
	struct listing *l = arg;

	(void)source;
	assert_true(l->n < 8);
	l->all[l->n++] = *status;
}

static struct listing list_all(struct fixture *t)
{
	struct listing l = { 0 };

	publisher_each(t->publisher, collect, &l);
	return l;
}

/* ---- one publication ---- */

static void it_is_served_and_stops(void **state)
{
	struct fixture *t = *state;

	publish(t, web("0.0.0.0"));
	expect_events("forwarding tcp 127.0.0.1:8080 0.0.0.0:80\n");
	expect_served(t, HOST_PORT);

	withdraw(t);
	expect_refused(HOST_PORT); /* at once, though the port is still ours */
	expect_events("");
	fake_loop_advance(t->loop, GRACE_DEFAULT_MS);
	expect_events("stopping tcp 127.0.0.1:8080 0.0.0.0:80\n");
	close(occupy("127.0.0.1", HOST_PORT));
}

static void the_same_again_changes_nothing(void **state)
{
	struct fixture *t = *state;
	const struct publication twice[2] = { web("0.0.0.0"), web("0.0.0.0") };

	set(t, "guest:", twice, 2);
	set(t, "guest:", twice, 1);
	set(t, "guest:", twice, 2);
	expect_events("forwarding tcp 127.0.0.1:8080 0.0.0.0:80\n");
	assert_int_equal(list_all(t).n, 1);
}

static void the_end_stops_everything(void **state)
{
	struct fixture *t = *state;

	publish(t, web("0.0.0.0"));
	publisher_free(t->publisher);
	t->publisher = NULL;
	expect_events("forwarding tcp 127.0.0.1:8080 0.0.0.0:80\n"
		      "stopping tcp 127.0.0.1:8080 0.0.0.0:80\n");
	expect_refused(HOST_PORT);
}

static void the_port_is_held_for_the_grace_period(void **state)
{
	struct fixture *t = *state;
	const struct endpoint host = { IPADDR_V4(127, 0, 0, 1), HOST_PORT };
	struct pair p;

	publish(t, web("0.0.0.0"));
	p = join(t, connect_to(HOST_PORT));
	events[0] = '\0';
	withdraw(t);
	assert_int_equal(listen_socket_bind(FORWARD_TCP, &host), -EADDRINUSE);
	fake_loop_advance(t->loop, GRACE_DEFAULT_MS - 1);
	expect_flow(t, &p);

	publish(t, web("0.0.0.0"));
	expect_served(t, HOST_PORT);
	expect_flow(t, &p);
	fake_loop_advance(t->loop, 10 * GRACE_DEFAULT_MS);
	expect_served(t, HOST_PORT);
	expect_events("");
	pair_close(t, &p);
}

static void without_grace_the_port_goes_at_once(void **state)
{
	struct fixture *t = *state;

	t->config.grace_ms = 0;
	publisher_configure(t->publisher, &t->config);
	publish(t, web("0.0.0.0"));
	withdraw(t);
	expect_events("forwarding tcp 127.0.0.1:8080 0.0.0.0:80\n"
		      "stopping tcp 127.0.0.1:8080 0.0.0.0:80\n");
	close(occupy("127.0.0.1", HOST_PORT));
}

static void five_hundred_restarts_lose_nothing(void **state)
{
	struct fixture *t = *state;
	unsigned int descriptors = 0;

	for (unsigned int i = 0; i < 500; i++) {
		publish(t, web("0.0.0.0"));
		expect_served(t, HOST_PORT);
		withdraw(t);
		expect_refused(HOST_PORT);
		/* within the grace period, at its end, after it */
		fake_loop_advance(t->loop, i % 3 * (GRACE_DEFAULT_MS / 2 + 1));
		if (i == 10)
			descriptors = host_descriptors();
	}
	fake_loop_advance(t->loop, GRACE_DEFAULT_MS);
	assert_true(host_descriptors() <= descriptors);
}

/* ---- several for one port ---- */

static void both_wildcards_of_a_port_are_one(void **state)
{
	struct fixture *t = *state;
	const struct publication both[2] = { web("0.0.0.0"), web("::") };

	set(t, "guest:", both, 2);
	expect_events("forwarding tcp 127.0.0.1:8080 0.0.0.0:80\n");
	set(t, "guest:", &both[1], 1);
	fake_loop_advance(t->loop, 2 * GRACE_DEFAULT_MS);
	expect_served(t, HOST_PORT);
	assert_true(ipaddr_equal(&t->dialled.guest.addr, &both[1].guest.addr));
	expect_events("");
	withdraw(t);
	fake_loop_advance(t->loop, GRACE_DEFAULT_MS);
	expect_events("stopping tcp 127.0.0.1:8080 0.0.0.0:80\n");
}

static void a_listener_that_moves_keeps_its_port_and_connections(void **state)
{
	struct fixture *t = *state;
	struct pair p;

	publish(t, web("127.0.0.1"));
	p = join(t, connect_to(HOST_PORT));
	events[0] = '\0';
	for (int i = 0; i < 10; i++) {
		publish(t, web(i % 2 ? "127.0.0.1" : "0.0.0.0"));
		expect_served(t, HOST_PORT);
		expect_flow(t, &p);
	}
	fake_loop_advance(t->loop, 2 * GRACE_DEFAULT_MS);
	expect_events("");
	pair_close(t, &p);
}

static void sources_add_up(void **state)
{
	struct fixture *t = *state;
	struct publication p = web("0.0.0.0");

	set(t, "config", &p, 1);
	set(t, "control", &p, 1);
	assert_int_equal(list_all(t).n, 2);
	assert_true(list_all(t).all[1].is_shared);
	set(t, "config", NULL, 0);
	fake_loop_advance(t->loop, 2 * GRACE_DEFAULT_MS);
	expect_events("forwarding tcp 127.0.0.1:8080 0.0.0.0:80\n");
	expect_served(t, HOST_PORT);
}

static void the_first_of_two_guests_keeps_the_port(void **state)
{
	struct fixture *t = *state;
	struct publication a = web("0.0.0.0"), b = web("0.0.0.0");

	(void)snprintf(a.guest_name, sizeof(a.guest_name), "anna");
	(void)snprintf(b.guest_name, sizeof(b.guest_name), "bert");
	b.guest.addr = address("::");
	set(t, "guest:anna", &a, 1);
	set(t, "guest:bert", &b, 1);
	expect_events("forwarding tcp 127.0.0.1:8080 0.0.0.0:80\n"
		      "failed tcp 127.0.0.1:8080 [::]:80\n");
	assert_non_null(strstr(last_error, "anna"));
	assert_int_equal(list_all(t).all[1].state, PUBLICATION_WAITING);
	expect_served(t, HOST_PORT);
	assert_string_equal(t->dialled.guest_name, "anna");

	set(t, "guest:anna", NULL, 0);
	expect_events(""); /* may be a restart */
	set(t, "guest:anna", &a, 1);
	expect_served(t, HOST_PORT);
	assert_string_equal(t->dialled.guest_name, "anna");
	set(t, "guest:anna", NULL, 0);
	fake_loop_advance(t->loop, GRACE_DEFAULT_MS);
	expect_events("stopping tcp 127.0.0.1:8080 0.0.0.0:80\n"
		      "recovered tcp 127.0.0.1:8080 [::]:80\n"
		      "forwarding tcp 127.0.0.1:8080 [::]:80\n");
	expect_served(t, HOST_PORT);
	assert_string_equal(t->dialled.guest_name, "bert");
}

static void by_option_the_second_guest_gets_the_next_free_port(void **state)
{
	struct fixture *t = *state;
	struct publication a = web("0.0.0.0"), b[2] = { web("0.0.0.0"), web("::") };
	int taken = occupy("127.0.0.1", HOST_PORT + 1);

	publisher_free(t->publisher);
	start(t, true);
	(void)snprintf(b[0].guest_name, sizeof(b[0].guest_name), "bert");
	(void)snprintf(b[1].guest_name, sizeof(b[1].guest_name), "bert");
	set(t, "guest:anna", &a, 1);
	set(t, "guest:bert", &b[0], 1);
	expect_events("forwarding tcp 127.0.0.1:8080 0.0.0.0:80\n"
		      "forwarding tcp 127.0.0.1:8082 0.0.0.0:80\n");
	set(t, "guest:bert", b, 2); /* the other half comes a little later */
	expect_events("");
	assert_int_equal(list_all(t).all[2].host.port, HOST_PORT + 2);
	expect_served(t, HOST_PORT + 2);
	assert_string_equal(t->dialled.guest_name, "bert");
	expect_served(t, HOST_PORT);
	assert_string_equal(t->dialled.guest_name, "");
	close(taken);
}

static void a_reload_gives_the_port_to_another_guest_port_at_once(void **state)
{
	struct fixture *t = *state;
	struct publication p = web("0.0.0.0");
	struct pair open;

	publish(t, p);
	open = join(t, connect_to(HOST_PORT));
	p.guest.port = 81;
	publish(t, p);
	expect_events("forwarding tcp 127.0.0.1:8080 0.0.0.0:80\n"
		      "stopping tcp 127.0.0.1:8080 0.0.0.0:80\n"
		      "forwarding tcp 127.0.0.1:8080 0.0.0.0:81\n");
	expect_served(t, HOST_PORT);
	assert_int_equal(t->dialled.guest.port, 81);
	expect_flow(t, &open);
	pair_close(t, &open);
}

static void a_reload_drops_no_connection(void **state)
{
	struct fixture *t = *state;
	struct publication p = web("0.0.0.0");
	struct pair open;

	set(t, "config", &p, 1);
	open = join(t, connect_to(HOST_PORT));
	p.host.addr = address("0.0.0.0"); /* needs the port of the one before */
	set(t, "config", &p, 1);
	expect_served(t, HOST_PORT);
	expect_flow(t, &open);
	p.host.port++;
	set(t, "config", &p, 1);
	expect_served(t, HOST_PORT + 1);
	fake_loop_advance(t->loop, 2 * GRACE_DEFAULT_MS);
	expect_refused(HOST_PORT);
	expect_flow(t, &open);
	set(t, "config", NULL, 0);
	fake_loop_advance(t->loop, 2 * GRACE_DEFAULT_MS);
	expect_flow(t, &open);
	pair_close(t, &open);
	expect_events("forwarding tcp 127.0.0.1:8080 0.0.0.0:80\n"
		      "stopping tcp 127.0.0.1:8080 0.0.0.0:80\n"
		      "forwarding tcp 0.0.0.0:8080 0.0.0.0:80\n"
		      "forwarding tcp 0.0.0.0:8081 0.0.0.0:80\n"
		      "stopping tcp 0.0.0.0:8080 0.0.0.0:80\n"
		      "stopping tcp 0.0.0.0:8081 0.0.0.0:80\n");
}

/* ---- a busy port ---- */

static void a_busy_port_is_tried_again(void **state)
{
	struct fixture *t = *state;
	int other = occupy("127.0.0.1", HOST_PORT);
	struct publication_status status;

	publish(t, web("0.0.0.0"));
	expect_events("failed tcp 127.0.0.1:8080 0.0.0.0:80\n");
	assert_non_null(strstr(last_error, "in use"));
	status = list_all(t).all[0];
	assert_int_equal(status.state, PUBLICATION_FAILED);
	assert_non_null(strstr(status.error, "in use"));
	assert_in_range(status.retry_in_ms, RETRY_MIN_MS * 9 / 10, RETRY_MIN_MS * 11 / 10);
	fake_loop_advance(t->loop, 30000);
	expect_events("");
	status = list_all(t).all[0];
	assert_true(status.retry_in_ms <= RETRY_MAX_MS * 11 / 10);

	close(other);
	fake_loop_advance(t->loop, RETRY_MAX_MS * 11 / 10);
	expect_events("recovered tcp 127.0.0.1:8080 0.0.0.0:80\n"
		      "forwarding tcp 127.0.0.1:8080 0.0.0.0:80\n");
	assert_int_equal(list_all(t).all[0].state, PUBLICATION_FORWARDING);
	expect_served(t, HOST_PORT);
}

static void a_busy_port_may_be_given_up(void **state)
{
	struct fixture *t = *state;
	int other = occupy("127.0.0.1", HOST_PORT);

	publish(t, web("0.0.0.0"));
	withdraw(t);
	expect_events("failed tcp 127.0.0.1:8080 0.0.0.0:80\n"
		      "not-forwarding tcp 127.0.0.1:8080 0.0.0.0:80\n");
	close(other);
	fake_loop_advance(t->loop, 2 * RETRY_MAX_MS);
	expect_events("");
}

static void a_port_lost_in_the_grace_period_is_failed(void **state)
{
	struct fixture *t = *state;
	struct publication wide = web("0.0.0.0");

	wide.host.addr = address("0.0.0.0");
	publish(t, web("0.0.0.0"));
	withdraw(t);
	set(t, "control", &wide, 1); /* of our own, and more than the other */
	publish(t, web("0.0.0.0"));
	expect_events("forwarding tcp 127.0.0.1:8080 0.0.0.0:80\n"
		      "stopping tcp 127.0.0.1:8080 0.0.0.0:80\n"
		      "forwarding tcp 0.0.0.0:8080 0.0.0.0:80\n"
		      "failed tcp 127.0.0.1:8080 0.0.0.0:80\n");
	set(t, "control", NULL, 0);
	fake_loop_advance(t->loop, GRACE_DEFAULT_MS);
	expect_events("stopping tcp 0.0.0.0:8080 0.0.0.0:80\n"
		      "recovered tcp 127.0.0.1:8080 0.0.0.0:80\n"
		      "forwarding tcp 127.0.0.1:8080 0.0.0.0:80\n");
}

/* ---- ::1 ---- */

static void the_other_loopback_is_served_too(void **state)
{
	struct fixture *t = *state;
	struct publication p = web("0.0.0.0");
	struct pair pair;

	p.has_also = true;
	publish(t, p);
	pair = join(t, connect_at("::1", HOST_PORT));
	expect_served(t, HOST_PORT);
	assert_true(list_all(t).all[0].is_also_open);
	assert_int_equal(list_all(t).all[0].counters.total, 2);
	withdraw(t);
	assert_int_equal(connect_at("::1", HOST_PORT), -ECONNREFUSED);
	publish(t, p);
	close(connect_at("::1", HOST_PORT));
	p.has_also = false;
	publish(t, p);
	assert_int_equal(connect_at("::1", HOST_PORT), -ECONNREFUSED);
	expect_flow(t, &pair);
	pair_close(t, &pair);
	expect_events("forwarding tcp 127.0.0.1:8080 0.0.0.0:80\n");
}

static void the_other_loopback_alone_is_no_failure(void **state)
{
	struct fixture *t = *state;
	int other = occupy("::1", HOST_PORT);
	struct publication p = web("0.0.0.0");
	struct pair pair;

	p.has_also = true;
	publish(t, p);
	expect_events("forwarding tcp 127.0.0.1:8080 0.0.0.0:80\n");
	assert_false(list_all(t).all[0].is_also_open);
	expect_served(t, HOST_PORT);
	close(other);
	fake_loop_advance(t->loop, 2 * RETRY_MIN_MS);
	pair = join(t, connect_at("::1", HOST_PORT));
	pair_close(t, &pair);
	expect_events("");
}

static void a_rule_for_the_other_loopback_has_precedence(void **state)
{
	struct fixture *t = *state;
	struct publication p = web("0.0.0.0"), q = web("::1");
	struct pair pair;

	p.has_also = true;
	q.host.addr = address("::1");
	set(t, "guest:", &p, 1);
	set(t, "config", &q, 1);
	expect_events("forwarding tcp 127.0.0.1:8080 0.0.0.0:80\n"
		      "forwarding tcp [::1]:8080 [::1]:80\n");
	pair = join(t, connect_at("::1", HOST_PORT));
	assert_true(ipaddr_equal(&t->dialled.guest.addr, &q.guest.addr));
	pair_close(t, &pair);
}

/* ---- the way to the guest ---- */

static void the_way_is_asked_for_at_each_connection(void **state)
{
	struct fixture *t = *state;
	struct publication p[2] = { web("0.0.0.0"), web("::") };

	p[0].via = 7;
	p[1].via = 8;
	set(t, "guest:", p, 2);
	expect_served(t, HOST_PORT);
	assert_int_equal(t->dialled.via, 7);
	t->failing_via = 7;
	expect_served(t, HOST_PORT);
	assert_int_equal(t->dialled.via, 8);
	t->failing_via = -1;
	expect_served(t, HOST_PORT);
	assert_int_equal(t->dialled.via, 7);
}

static void a_dial_that_fails_is_told_in_the_status(void **state)
{
	struct fixture *t = *state;
	char byte;
	int fd;

	publish(t, web("0.0.0.0"));
	assert_null(list_all(t).all[0].error);
	t->failing_via = 0;
	fd = connect_to(HOST_PORT);
	UNTIL(t->loop, t->n_dialled == 1);
	assert_int_equal(recv(fd, &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	assert_string_equal(list_all(t).all[0].error, strerror(EHOSTUNREACH));
	close(fd);
}

static void connections_and_bytes_are_counted(void **state)
{
	struct fixture *t = *state;
	struct host_counters n;
	struct pair p;

	publish(t, web("0.0.0.0"));
	p = join(t, connect_to(HOST_PORT));
	n = list_all(t).all[0].counters;
	assert_int_equal(n.open, 1);
	assert_int_equal(n.to_guest_bytes, 4);
	assert_int_equal(n.to_host_bytes, 5);
	pair_close(t, &p);
	expect_served(t, HOST_PORT);
	n = list_all(t).all[0].counters;
	assert_int_equal(n.open, 0);
	assert_int_equal(n.total, 2);
	assert_int_equal(n.to_guest_bytes, 8);
	assert_int_equal(n.to_host_bytes, 10);
}

/* ---- UDP ---- */

static int udp_client(uint16_t port)
{
	struct endpoint to = { IPADDR_V4(127, 0, 0, 1), port };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect_socket(fd, &to), 0);
	return fd;
}

static void udp_is_served_refused_and_served_again(void **state)
{
	struct fixture *t = *state;
	struct publication p = web("0.0.0.0");
	const struct endpoint host = p.host;
	int fd = udp_client(HOST_PORT);

	p.proto = FORWARD_UDP;
	publish(t, p);
	assert_int_equal(send(fd, "1", 1, 0), 1);
	UNTIL(t->loop, t->n_dialled == 1);

	withdraw(t);
	assert_int_equal(send(fd, "2", 1, 0), 1);
	assert_int_equal(send(fd, "2", 1, 0), -1);
	assert_int_equal(errno, ECONNREFUSED);
	assert_int_equal(listen_socket_bind(FORWARD_UDP, &host), -EADDRINUSE);
	publish(t, p);
	assert_int_equal(send(fd, "3", 1, 0), 1);
	UNTIL(t->loop, t->n_dialled == 2);

	withdraw(t);
	fake_loop_advance(t->loop, GRACE_DEFAULT_MS);
	expect_events("forwarding udp 127.0.0.1:8080 0.0.0.0:80\n"
		      "stopping udp 127.0.0.1:8080 0.0.0.0:80\n");
	close(fd);
	fd = listen_socket_bind(FORWARD_UDP, &host);
	assert_true(fd >= 0);
	close(fd);
}

static void tcp_and_udp_of_a_port_are_two(void **state)
{
	struct fixture *t = *state;
	struct publication p[2] = { web("0.0.0.0"), web("0.0.0.0") };

	p[1].proto = FORWARD_UDP;
	set(t, "guest:", p, 2);
	set(t, "guest:", p, 1);
	fake_loop_advance(t->loop, GRACE_DEFAULT_MS);
	expect_events("forwarding tcp 127.0.0.1:8080 0.0.0.0:80\n"
		      "forwarding udp 127.0.0.1:8080 0.0.0.0:80\n"
		      "stopping udp 127.0.0.1:8080 0.0.0.0:80\n");
	expect_served(t, HOST_PORT);
}

/* ---- paths ---- */

static int connect_path(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(sa.sun_path, path, strlen(path) + 1);
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0)
		return fd;
	close(fd);
	return -errno;
}

static struct publication at_path(const char *path)
{
	struct publication p = web("0.0.0.0");

	(void)snprintf(p.host_socket, sizeof(p.host_socket), "%s", path);
	return p;
}

static void a_path_is_served_and_goes_with_its_publication(void **state)
{
	struct fixture *t = *state;
	char dir[] = "/tmp/netfwd-test-XXXXXX", path[64];
	struct pair p;

	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/s", dir);
	publish(t, at_path(path));
	p = join(t, connect_path(path));
	withdraw(t);
	assert_int_equal(connect_path(path), -ENOENT);
	expect_flow(t, &p);
	publish(t, at_path(path)); /* within the grace period */
	close(connect_path(path));
	withdraw(t);
	fake_loop_advance(t->loop, GRACE_DEFAULT_MS);
	assert_int_equal(strncmp(events, "forwarding tcp /tmp/netfwd-test-", 32), 0);
	pair_close(t, &p);
	assert_int_equal(rmdir(dir), 0);
}

static void a_file_in_the_way_of_a_path_is_left_alone(void **state)
{
	struct fixture *t = *state;
	char path[] = "/tmp/netfwd-test-XXXXXX";
	struct stat st;

	close(mkstemp(path));
	publish(t, at_path(path));
	assert_int_equal(strncmp(events, "failed", 6), 0);
	assert_non_null(strstr(last_error, "not a socket"));
	withdraw(t);
	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	assert_int_equal(unlink(path), 0);
}

/* ---- bounds ---- */

#define MANY 100000U

static void too_many_ports_are_counted_and_the_first_stay(void **state)
{
	struct fixture *t = *state;
	struct publication *items = calloc(MANY, sizeof(*items));

	t->config.grace_ms = 0;
	publisher_configure(t->publisher, &t->config);
	publish(t, web("0.0.0.0"));
	for (unsigned int i = 0; i < MANY; i++) {
		items[i] = web("0.0.0.0");
		items[i].guest.port = (uint16_t)(1 + i % 60000);
		items[i].guest.addr.b[15] = (uint8_t)(i / 60000);
		items[i].host.port = HOST_PORT + 1; /* one of them has it */
	}
	items[MANY - 1] = web("0.0.0.0");
	set(t, "guest:", items, MANY);
	assert_int_equal(publisher_left_out(t->publisher, "guest:"),
			 MANY - PUBLISHER_MAX_PER_SOURCE);
	expect_served(t, HOST_PORT);
	withdraw(t);
	expect_refused(HOST_PORT);
	free(items);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(it_is_served_and_stops),
		TEST(the_same_again_changes_nothing),
		TEST(the_end_stops_everything),
		TEST(the_port_is_held_for_the_grace_period),
		TEST(without_grace_the_port_goes_at_once),
		TEST(five_hundred_restarts_lose_nothing),
		TEST(both_wildcards_of_a_port_are_one),
		TEST(a_listener_that_moves_keeps_its_port_and_connections),
		TEST(sources_add_up),
		TEST(the_first_of_two_guests_keeps_the_port),
		TEST(by_option_the_second_guest_gets_the_next_free_port),
		TEST(a_reload_gives_the_port_to_another_guest_port_at_once),
		TEST(a_reload_drops_no_connection),
		TEST(a_busy_port_is_tried_again),
		TEST(a_busy_port_may_be_given_up),
		TEST(a_port_lost_in_the_grace_period_is_failed),
		TEST(the_other_loopback_is_served_too),
		TEST(the_other_loopback_alone_is_no_failure),
		TEST(a_rule_for_the_other_loopback_has_precedence),
		TEST(the_way_is_asked_for_at_each_connection),
		TEST(a_dial_that_fails_is_told_in_the_status),
		TEST(connections_and_bytes_are_counted),
		TEST(udp_is_served_refused_and_served_again),
		TEST(tcp_and_udp_of_a_port_are_two),
		TEST(a_path_is_served_and_goes_with_its_publication),
		TEST(a_file_in_the_way_of_a_path_is_left_alone),
		TEST(too_many_ports_are_counted_and_the_first_stay),
	};

	own_network_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
