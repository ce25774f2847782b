/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/published.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "forwarder/events.h"
#include "netstack/base/loop.h"
#include "netstack/stream_fd.h"
#include "netstack/udp_flow.h"
#include "tests/support/fake_loop.h"
#include "tests/support/host_socket.h"
#include "tests/support/patience.h"

char events[1 << 16];
char last_error[512];

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

void expect_events(const char *want)
{
	assert_string_equal(events, want);
	events[0] = '\0';
}

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

void publisher_start(struct fixture *t, bool next_free_port)
{
	const struct publisher_dialer dialer = { dial_tcp, dial_udp, t };

	t->config = (struct publisher_config){ GRACE_DEFAULT_MS, next_free_port };
	assert_int_equal(publisher_new(t->loop, &t->config, &dialer, &t->publisher), 0);
}

int publisher_setup(void **state)
{
	struct fixture *t = calloc(1, sizeof(*t));

	events[0] = last_error[0] = '\0';
	t->failing_via = -1;
	t->guest = host_listen("127.0.0.1", &t->guest_port);
	assert_int_equal(loop_new(&t->loop), 0);
	publisher_start(t, false);
	*state = t;
	return 0;
}

int publisher_teardown(void **state)
{
	struct fixture *t = *state;

	publisher_free(t->publisher);
	loop_free(t->loop);
	close(t->guest);
	free(t);
	return 0;
}

/* ---- what is published ---- */

struct ipaddr address(const char *text)
{
	struct ipaddr a;

	assert_int_equal(ipaddr_parse(text, &a), 0);
	return a;
}

/* Guest port 80 at the guest's address, to port 8080 of 127.0.0.1. */
struct publication web(const char *guest_address)
{
	return (struct publication){
		.proto = FORWARD_TCP,
		.host = { IPADDR_V4(127, 0, 0, 1), HOST_PORT },
		.guest = { address(guest_address), GUEST_PORT },
	};
}

void publish_all(struct fixture *t, const char *source, const struct publication *items,
		 unsigned int n)
{
	assert_int_equal(publisher_set(t->publisher, source, items, n), 0);
}

void publish(struct fixture *t, struct publication p)
{
	publish_all(t, "guest:", &p, 1);
}

void withdraw(struct fixture *t)
{
	publish_all(t, "guest:", NULL, 0);
}

/* ---- clients ---- */

int connect_socket(int fd, const struct endpoint *to)
{
	struct sockaddr_storage sa;
	socklen_t len = endpoint_to_sockaddr(to, &sa);

	return connect(fd, (struct sockaddr *)&sa, len) < 0 ? -errno : 0;
}

int connect_at(const char *host, uint16_t port)
{
	struct endpoint to = { address(host), port };
	int fd = socket(ipaddr_is_v4(&to.addr) ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int r = connect_socket(fd, &to);

	if (r == 0)
		return fd;
	close(fd);
	return r;
}

int connect_to(uint16_t port)
{
	return connect_at("127.0.0.1", port);
}

void expect_refused(uint16_t port)
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

void expect_flow(struct fixture *t, const struct pair *p)
{
	assert_int_equal(send(p->client, "ping", 4, 0), 4);
	UNTIL(t->loop, has_text(p->guest, "ping"));
	assert_int_equal(send(p->guest, "pong!", 5, 0), 5);
	UNTIL(t->loop, has_text(p->client, "pong!"));
}

struct pair join(struct fixture *t, int client)
{
	struct pair p = { .client = client };

	assert_true(client >= 0);
	p.guest = accept_as_guest(t);
	expect_flow(t, &p);
	return p;
}

void pair_close(struct fixture *t, const struct pair *p)
{
	close(p->client);
	close(p->guest);
	fake_loop_settle(t->loop);
}

void expect_served(struct fixture *t, uint16_t port)
{
	struct pair p = join(t, connect_to(port));

	pair_close(t, &p);
}

/* Somebody else's, listening at 127.0.0.1. */
int occupy(const char *host, uint16_t port)
{
	return host_listen(host, &port);
}

/* ---- status ---- */

static void collect(void *arg, const char *source, const struct publication_status *status)
{
	struct listing *l = arg;

	(void)source;
	assert_true(l->n < 8);
	l->all[l->n++] = *status;
}

struct listing list_all(struct fixture *t)
{
	struct listing l = { 0 };

	publisher_each(t->publisher, collect, &l);
	return l;
}
