/* SPDX-License-Identifier: Apache-2.0 */
/* The forwards of a command line, all or none, and the events they emit. */
#include "forwarder/forwards.h"

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
#include "forwarder/listen_socket.h"
#include "forwarder/options.h"
#include "forwarder/publisher.h"
#include "forwarder/rule.h"
#include "netstack/base/loop.h"
#include "netstack/stack.h"
#include "tests/support/fake_loop.h"
#include "tests/support/patience.h"

/* "forwarding tcp 127.0.0.1:1 192.168.5.15:80\n..." */
static char events[8192];
static char dialled[ADDR_TEXT_SIZE];

static void note(const char *name, const struct forward_route *route)
{
	char host[ADDR_TEXT_SIZE], guest[ADDR_TEXT_SIZE];
	size_t len = strlen(events);

	(void)snprintf(events + len, sizeof(events) - len, "%s %s %s %s\n", name,
		       forward_proto_name(route->proto), endpoint_format(&route->host, host),
		       endpoint_format(&route->guest, guest));
}

void event_forwarding(const struct forward_route *route)
{
	note("forwarding", route);
}

void event_not_forwarding(const struct forward_route *route, const char *why)
{
	(void)why;
	note("not-forwarding", route);
}

void event_stopping(const struct forward_route *route)
{
	note("stopping", route);
}

void event_failed(const struct forward_route *route, const char *error)
{
	assert_non_null(strstr(error, "in use"));
	note("failed", route);
}

void event_recovered(const struct forward_route *route)
{
	note("recovered", route);
}

static int dial_tcp(void *arg, const struct publication *publication, struct stream **out)
{
	(void)arg;
	(void)out;
	endpoint_format(&publication->guest, dialled);
	assert_int_equal(publication->via, RULE_VIA_DIRECT);
	return -ENETDOWN;
}

static int dial_udp(void *arg, const struct publication *publication,
		    const struct udp_flow_owner *owner, void *owner_arg, struct udp_flow **out)
{
	(void)arg;
	(void)publication;
	(void)owner;
	(void)owner_arg;
	(void)out;
	return -ENETDOWN;
}

#define MAX_SPECS 4

struct fixture {
	struct loop *loop;
	struct stack_config config;
	struct publisher *publisher;
	struct forward_spec specs[MAX_SPECS];
	struct options options;
	struct forwards *forwards;
};

static int setup(void **state)
{
	const struct publisher_config config = { .grace_ms = GRACE_DEFAULT_MS };
	const struct publisher_dialer dialer = { .tcp = dial_tcp, .udp = dial_udp };
	struct fixture *t = calloc(1, sizeof(*t));

	events[0] = dialled[0] = '\0';
	t->config = (struct stack_config){
		.network4 = IPADDR_V4(192, 168, 5, 0),
		.prefix4_bits = 24,
		.guest4 = IPADDR_V4(192, 168, 5, 15),
		.prefix6 = { { 0xfd } },
	};
	t->options.forwards = t->specs;
	assert_int_equal(loop_new(&t->loop), 0);
	assert_int_equal(publisher_new(t->loop, &config, &dialer, &t->publisher), 0);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *t = *state;

	forwards_free(t->forwards);
	publisher_free(t->publisher);
	loop_free(t->loop);
	free(t);
	return 0;
}

/* n ports of 127.0.0.1 in a row that were free a moment ago. */
static uint16_t free_ports(unsigned int n)
{
	for (uint16_t first = 20000; first < 32000; first = (uint16_t)(first + n)) {
		unsigned int i;

		for (i = 0; i < n; i++) {
			struct endpoint host = { IPADDR_V4(127, 0, 0, 1), (uint16_t)(first + i) };
			int tcp = listen_socket_bind(FORWARD_TCP, &host);
			int udp = listen_socket_bind(FORWARD_UDP, &host);

			close(tcp);
			close(udp);
			if (tcp < 0 || udp < 0)
				break;
		}
		if (i == n)
			return first;
	}
	fail_msg("no free ports");
	return 0;
}

__attribute__((format(printf, 2, 3))) static void add(struct fixture *t, const char *fmt, ...)
{
	char text[128], error[FORWARD_SPEC_ERROR_SIZE];
	va_list ap;

	assert_in_range(t->options.n_forwards, 0, MAX_SPECS - 1);
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	assert_int_equal(forward_spec_parse(text, &t->specs[t->options.n_forwards++], error), 0);
}

static int check(struct fixture *t)
{
	assert_int_equal(forwards_new(&t->options, &t->config, &t->forwards), 0);
	return forwards_check(t->forwards);
}

/* As when the program ends. */
static void end(struct fixture *t)
{
	forwards_free(t->forwards);
	t->forwards = NULL;
	publisher_free(t->publisher);
	t->publisher = NULL;
}

__attribute__((format(printf, 1, 2))) static void expect_events(const char *fmt, ...)
{
	char want[8192];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(want, sizeof(want), fmt, ap);
	va_end(ap);
	assert_string_equal(events, want);
	events[0] = '\0';
}

static int listen_on(uint16_t port)
{
	struct endpoint host = { IPADDR_V4(127, 0, 0, 1), port };
	int fd = listen_socket_bind(FORWARD_TCP, &host);

	assert_true(fd >= 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static int connect_to(uint16_t port)
{
	struct endpoint host = { IPADDR_V4(127, 0, 0, 1), port };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_storage sa;
	socklen_t len = endpoint_to_sockaddr(&host, &sa);

	if (connect(fd, (struct sockaddr *)&sa, len) == 0)
		return fd;
	close(fd);
	return -errno;
}

static void every_port_is_opened_and_closed_with_its_event(void **state)
{
	struct fixture *t = *state;
	unsigned int port = free_ports(3);

	add(t, "tcp:%u-%u:80-81", port, port + 1);
	add(t, "udp:%u:192.168.5.16:53", port + 2);
	assert_int_equal(check(t), 0);
	expect_events("%s", ""); /* it can be opened, it is not yet */
	assert_int_equal(connect_to((uint16_t)port), -ECONNREFUSED);

	assert_int_equal(forwards_publish(t->forwards, t->publisher), 0);
	expect_events("forwarding tcp 127.0.0.1:%u 192.168.5.15:80\n"
		      "forwarding tcp 127.0.0.1:%u 192.168.5.15:81\n"
		      "forwarding udp 127.0.0.1:%u 192.168.5.16:53\n",
		      port, port + 1, port + 2);

	end(t);
	assert_non_null(strstr(events, "stopping tcp"));
	assert_non_null(strstr(events, "192.168.5.15:81\n"));
	assert_non_null(strstr(events, "stopping udp"));
	assert_int_equal(connect_to((uint16_t)port), -ECONNREFUSED);
}

static void connections_are_dialled_to_their_own_guest_port(void **state)
{
	struct fixture *t = *state;
	unsigned int port = free_ports(2);
	int fd;

	add(t, "tcp:%u-%u:80-81", port, port + 1);
	assert_int_equal(check(t), 0);
	assert_int_equal(forwards_publish(t->forwards, t->publisher), 0);
	fd = connect_to((uint16_t)(port + 1));
	assert_true(fd >= 0);
	UNTIL(t->loop, dialled[0]);
	assert_string_equal(dialled, "192.168.5.15:81");
	close(fd);
}

static void all_failures_are_told_and_nothing_is_opened(void **state)
{
	struct fixture *t = *state;
	unsigned int port = free_ports(4);
	int first = listen_on((uint16_t)port), third = listen_on((uint16_t)(port + 2));

	add(t, "tcp:%u-%u:80-83", port, port + 3);
	assert_int_equal(check(t), -EADDRINUSE);
	expect_events("failed tcp 127.0.0.1:%u 192.168.5.15:80\n"
		      "failed tcp 127.0.0.1:%u 192.168.5.15:82\n",
		      port, port + 2);
	assert_int_equal(connect_to((uint16_t)(port + 1)), -ECONNREFUSED);

	end(t);
	expect_events("not-forwarding tcp 127.0.0.1:%u 192.168.5.15:81\n"
		      "not-forwarding tcp 127.0.0.1:%u 192.168.5.15:83\n",
		      port + 1, port + 3);
	close(first);
	close(third);
}

static void a_port_that_is_lost_after_the_check_fails(void **state)
{
	struct fixture *t = *state;
	unsigned int port = free_ports(1);
	int fd;

	add(t, "tcp:%u:80", port);
	assert_int_equal(check(t), 0);
	fd = listen_on((uint16_t)port);
	assert_int_equal(forwards_publish(t->forwards, t->publisher), -EADDRINUSE);
	expect_events("failed tcp 127.0.0.1:%u 192.168.5.15:80\n", port);
	close(fd);
}

static void a_guest_address_outside_the_networks_is_refused(void **state)
{
	struct fixture *t = *state;
	unsigned int port = free_ports(1);

	add(t, "tcp:%u:[fd00::1]:80", port);
	assert_int_equal(check(t), 0);
	forwards_free(t->forwards);
	add(t, "tcp:%u:192.168.6.15:80", port);
	assert_int_equal(check(t), -EINVAL);
	forwards_free(t->forwards);
	t->options.n_forwards = 0;
	add(t, "tcp:%u:[fd01::1]:80", port);
	assert_int_equal(check(t), -EINVAL);
}

static void more_ports_than_there_can_be_are_refused(void **state)
{
	struct fixture *t = *state;

	add(t, "tcp:20000-24095:20000-24095");
	add(t, "tcp:25000:25000");
	assert_int_equal(forwards_new(&t->options, &t->config, &t->forwards), -ENOSPC);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_port_is_opened_and_closed_with_its_event),
		TEST(connections_are_dialled_to_their_own_guest_port),
		TEST(all_failures_are_told_and_nothing_is_opened),
		TEST(a_port_that_is_lost_after_the_check_fails),
		TEST(a_guest_address_outside_the_networks_is_refused),
		TEST(more_ports_than_there_can_be_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
