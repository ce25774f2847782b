/* SPDX-License-Identifier: Apache-2.0 */
/* The forwards of a command line, all or none, and the events they emit. The
 * stack is faked: what it is asked to dial is written down. */
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
	assert_string_equal(why, "netfwd did not start");
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

int stack_dial_tcp(struct stack *stack, const struct endpoint *guest, struct stream **out)
{
	(void)stack;
	(void)out;
	endpoint_format(guest, dialled);
	return -ENETDOWN;
}

int stack_udp_open(struct stack *stack, const struct endpoint *guest,
		   const struct udp_flow_owner *owner, void *arg, struct udp_flow **out)
{
	(void)stack;
	(void)owner;
	(void)arg;
	(void)out;
	endpoint_format(guest, dialled);
	return -ENETDOWN;
}

struct fixture {
	struct loop *loop;
	struct stack_config config;
	struct forwards *forwards;
};

static int setup(void **state)
{
	struct fixture *t = calloc(1, sizeof(*t));

	events[0] = dialled[0] = '\0';
	t->config = (struct stack_config){
		.network4 = IPADDR_V4(192, 168, 5, 0),
		.prefix4_bits = 24,
		.guest4 = IPADDR_V4(192, 168, 5, 15),
		.prefix6 = { { 0xfd } },
	};
	assert_int_equal(loop_new(&t->loop), 0);
	assert_int_equal(forwards_new(t->loop, NULL, &t->config, &t->forwards), 0);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *t = *state;

	forwards_free(t->forwards);
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

__attribute__((format(printf, 2, 3))) static int add(struct fixture *t, const char *fmt, ...)
{
	char text[128], error[FORWARD_SPEC_ERROR_SIZE];
	struct forward_spec spec;
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	assert_int_equal(forward_spec_parse(text, &spec, error), 0);
	return forwards_add(t->forwards, &spec);
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

	assert_int_equal(add(t, "tcp:%u-%u:80-81", port, port + 1), 0);
	assert_int_equal(add(t, "udp:%u:192.168.5.16:53", port + 2), 0);
	expect_events("%s", ""); /* bound is not open */
	assert_int_equal(connect_to((uint16_t)port), -ECONNREFUSED);

	assert_int_equal(forwards_start(t->forwards), 0);
	expect_events("forwarding tcp 127.0.0.1:%u 192.168.5.15:80\n"
		      "forwarding tcp 127.0.0.1:%u 192.168.5.15:81\n"
		      "forwarding udp 127.0.0.1:%u 192.168.5.16:53\n",
		      port, port + 1, port + 2);

	forwards_free(t->forwards);
	t->forwards = NULL;
	expect_events("stopping tcp 127.0.0.1:%u 192.168.5.15:80\n"
		      "stopping tcp 127.0.0.1:%u 192.168.5.15:81\n"
		      "stopping udp 127.0.0.1:%u 192.168.5.16:53\n",
		      port, port + 1, port + 2);
	assert_int_equal(connect_to((uint16_t)port), -ECONNREFUSED);
}

static void connections_are_dialled_to_their_own_guest_port(void **state)
{
	struct fixture *t = *state;
	unsigned int port = free_ports(2);
	int fd;

	assert_int_equal(add(t, "tcp:%u-%u:80-81", port, port + 1), 0);
	assert_int_equal(forwards_start(t->forwards), 0);
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

	assert_int_equal(add(t, "tcp:%u-%u:80-83", port, port + 3), -EADDRINUSE);
	expect_events("failed tcp 127.0.0.1:%u 192.168.5.15:80\n"
		      "failed tcp 127.0.0.1:%u 192.168.5.15:82\n",
		      port, port + 2);
	assert_int_equal(connect_to((uint16_t)(port + 1)), -ECONNREFUSED);

	forwards_free(t->forwards);
	t->forwards = NULL;
	expect_events("not-forwarding tcp 127.0.0.1:%u 192.168.5.15:81\n"
		      "not-forwarding tcp 127.0.0.1:%u 192.168.5.15:83\n",
		      port + 1, port + 3);
	close(first);
	close(third);
}

/* Bound by both, but only one can listen: seen no sooner than at the start. */
static void a_port_that_is_lost_between_bind_and_listen_fails(void **state)
{
	struct fixture *t = *state;
	unsigned int port = free_ports(1);
	int fd;

	assert_int_equal(add(t, "tcp:%u:80", port), 0);
	fd = listen_on((uint16_t)port);
	assert_int_equal(forwards_start(t->forwards), -EADDRINUSE);
	expect_events("failed tcp 127.0.0.1:%u 192.168.5.15:80\n", port);
	close(fd);
}

static void a_guest_address_outside_the_networks_is_refused(void **state)
{
	struct fixture *t = *state;
	unsigned int port = free_ports(1);

	assert_int_equal(add(t, "tcp:%u:192.168.6.15:80", port), -EINVAL);
	assert_int_equal(add(t, "tcp:%u:[fd01::1]:80", port), -EINVAL);
	assert_int_equal(add(t, "tcp:%u:[fd00::1]:80", port), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_port_is_opened_and_closed_with_its_event),
		TEST(connections_are_dialled_to_their_own_guest_port),
		TEST(all_failures_are_told_and_nothing_is_opened),
		TEST(a_port_that_is_lost_between_bind_and_listen_fails),
		TEST(a_guest_address_outside_the_networks_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
