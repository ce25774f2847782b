/* SPDX-License-Identifier: Apache-2.0 */
/* Listeners of a namespace, as the kernel tells them. The clock is the test's.
 * Each test runs twice: with the kernel's events, and without tracing, where what
 * is new is seen by asking alone. */
#include "forwarder/port_watch.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "forwarder/trace_bell.h"
#include "netstack/base/loop.h"
#include "tests/support/fake_loop.h"
#include "tests/support/inside.h"
#include "tests/support/patience.h"

struct fixture {
	bool without_tracing;
	struct loop *loop;
	struct inside guest;
	struct port_watch *watch;
	char report[4096]; /* "tcp 0.0.0.0:80, udp [::]:53" */
	unsigned int n_reports;
};

static void on_change(void *arg, const struct port_listener *all, unsigned int n)
{
	struct fixture *t = arg;
	size_t len = 0;

	t->n_reports++;
	t->report[0] = '\0';
	for (unsigned int i = 0; i < n; i++) {
		char text[ADDR_TEXT_SIZE];

		len += (size_t)snprintf(t->report + len, sizeof(t->report) - len, "%s%s %s",
					i ? ", " : "", forward_proto_name(all[i].proto),
					endpoint_format(&all[i].guest, text));
	}
}

static struct fixture *new_fixture(void)
{
	struct fixture *t = calloc(1, sizeof(*t));

	inside_start(&t->guest);
	assert_int_equal(loop_new(&t->loop), 0);
	return t;
}

static int setup(void **state)
{
	*state = new_fixture();
	return 0;
}

static int setup_without_tracing(void **state)
{
	struct fixture *t = new_fixture();

	t->without_tracing = true;
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *t = *state;

	port_watch_free(t->watch);
	loop_free(t->loop);
	inside_stop(&t->guest);
	free(t);
	return 0;
}

/* Not everybody may trace. */
static bool can_trace(void)
{
	const struct trace_bell_spec spec = { "syscalls/sys_exit_bind", "ret == 0" };
	struct trace_bell *bell;
	const char *step;

	if (trace_bell_new(&spec, &bell, &step) < 0)
		return false;
	trace_bell_free(bell);
	return true;
}

static void start(struct fixture *t, unsigned int client_age_ms)
{
	const struct port_watch_config config = {
		.netns = t->guest.pid_text,
		.client_age_ms = client_age_ms,
		.without_tracing = t->without_tracing,
		.changed = on_change,
		.arg = t,
	};

	if (t->guest.pid < 0 || (!t->without_tracing && !can_trace()))
		skip();
	assert_int_equal(port_watch_new(t->loop, &config, &t->watch), 0);
	fake_loop_settle(t->loop);
	assert_int_equal(t->n_reports, 1);
	assert_string_equal(t->report, "");
}

/* A socket of the guest. */
struct spec {
	int type;
	const char *address;
	uint16_t port;
};

static int open_inside(const void *arg)
{
	const struct spec *s = arg;
	struct endpoint local = { .port = s->port };
	struct sockaddr_storage sa;
	struct ifreq up = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	const int on = 1;
	socklen_t len;
	int fd;

	if (ipaddr_parse(s->address, &local.addr) < 0)
		return INSIDE_FAILED(EINVAL);
	len = endpoint_to_sockaddr(&local, &sa);
	fd = socket(sa.ss_family, s->type | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &up) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0 ||
	    bind(fd, (struct sockaddr *)&sa, len) < 0)
		return INSIDE_FAILED(errno);
	if (s->type == SOCK_STREAM && listen(fd, 1) < 0)
		return INSIDE_FAILED(errno);
	return fd;
}

static int open_socket(struct fixture *t, int type, const char *address, uint16_t port)
{
	const struct spec spec = { .type = type, .address = address, .port = port };
	int fd = inside_run(&t->guest, open_inside, &spec);

	assert_true(fd >= 0);
	return fd;
}

/* Waiting for an event takes real time, in which the clock is hardly moved: less
 * than until the watch asks of itself. */
static void expect_by_event(struct fixture *t, const char *report)
{
	for (int patience = 1; strcmp(t->report, report) != 0 && patience < 30000; patience *= 2) {
		for (int i = 0; strcmp(t->report, report) != 0 && i < patience; i++)
			(void)patience_step(t->loop, 0, report);
		fake_loop_advance(t->loop, PORT_WATCH_SETTLE_MS);
	}
	assert_string_equal(t->report, report);
}

/* What is new must be seen in less time than a user is promised. */
static void expect(struct fixture *t, const char *report)
{
	if (t->without_tracing)
		fake_loop_advance(t->loop, PORT_WATCH_POLL_MS);
	expect_by_event(t, report);
}

/* By then everything has been asked for. */
static void look_at_all(struct fixture *t)
{
	fake_loop_advance(t->loop, PORT_WATCH_SAFETY_MS);
}

static void listeners_of_all_kinds_are_reported(void **state)
{
	struct fixture *t = *state;
	unsigned int n_reports;
	int fds[5];

	start(t, PORT_WATCH_NO_CLIENTS);
	fds[0] = open_socket(t, SOCK_STREAM, "0.0.0.0", 80);
	fds[1] = open_socket(t, SOCK_STREAM, "::1", 8080);
	fds[2] = open_socket(t, SOCK_DGRAM, "127.0.0.1", 53);
	fds[3] = open_socket(t, SOCK_DGRAM, "::", 53);
	fds[4] = open_socket(t, SOCK_STREAM, "::ffff:127.0.0.1", 81);
	expect(t, "tcp [::1]:8080, tcp 0.0.0.0:80, tcp 127.0.0.1:81, "
		  "udp [::]:53, udp 127.0.0.1:53");
	n_reports = t->n_reports;
	fake_loop_advance(t->loop, 10000);
	assert_int_equal(t->n_reports, n_reports);
	for (int i = 0; i < 5; i++)
		close(fds[i]);
}

static void what_is_closed_is_seen_without_asking(void **state)
{
	struct fixture *t = *state;
	const int types[] = { SOCK_STREAM, SOCK_DGRAM };
	const char *const addresses[] = { "0.0.0.0", "::1" };
	const char *const reports[] = { "tcp 0.0.0.0:80", "tcp [::1]:80", "udp 0.0.0.0:80",
					"udp [::1]:80" };

	start(t, PORT_WATCH_NO_CLIENTS);
	for (int i = 0; i < 4; i++) {
		int fd = open_socket(t, types[i / 2], addresses[i % 2], 80);

		expect(t, reports[i]);
		close(fd);
		expect_by_event(t, "");
	}
}

static void workers_of_one_port_are_one(void **state)
{
	struct fixture *t = *state;
	int first, second;

	start(t, PORT_WATCH_NO_CLIENTS);
	first = open_socket(t, SOCK_STREAM, "0.0.0.0", 80);
	second = open_socket(t, SOCK_STREAM, "0.0.0.0", 80);
	expect(t, "tcp 0.0.0.0:80");
	close(first);
	fake_loop_advance(t->loop, 1000);
	assert_string_equal(t->report, "tcp 0.0.0.0:80");
	close(second);
	expect_by_event(t, "");
}

static void udp_clients_are_left_out(void **state)
{
	struct fixture *t = *state;
	int fd;

	start(t, PORT_WATCH_NO_CLIENTS);
	fd = open_socket(t, SOCK_DGRAM, "0.0.0.0", 0);
	look_at_all(t);
	assert_string_equal(t->report, "");
	close(fd);
}

static void udp_clients_are_reported_when_asked_for(void **state)
{
	struct fixture *t = *state;
	int fd;

	start(t, 0);
	fd = open_socket(t, SOCK_DGRAM, "0.0.0.0", 0);
	look_at_all(t);
	assert_int_equal(strncmp(t->report, "udp 0.0.0.0:", 12), 0);
	close(fd);
}

static void old_udp_clients_are_reported_when_asked_for(void **state)
{
	struct fixture *t = *state;
	int fd;

	start(t, 3000);
	fd = open_socket(t, SOCK_DGRAM, "0.0.0.0", 0);
	fake_loop_advance(t->loop, 2900);
	assert_string_equal(t->report, "");
	fake_loop_advance(t->loop, 1200);
	assert_int_equal(strncmp(t->report, "udp 0.0.0.0:", 12), 0);
	close(fd);
	look_at_all(t);
	assert_string_equal(t->report, "");
}

static int connect_udp(int fd, uint16_t port)
{
	const struct sockaddr_in peer = { .sin_family = AF_INET,
					  .sin_port = htons(port),
					  .sin_addr = { htonl(INADDR_LOOPBACK) } };

	return connect(fd, (const struct sockaddr *)&peer, sizeof(peer));
}

static void a_udp_server_that_gets_a_peer_stays(void **state)
{
	struct fixture *t = *state;
	int server, client;

	start(t, PORT_WATCH_NO_CLIENTS);
	server = open_socket(t, SOCK_DGRAM, "0.0.0.0", 5201);
	expect(t, "udp 0.0.0.0:5201");
	assert_int_equal(connect_udp(server, 999), 0);
	client = open_socket(t, SOCK_DGRAM, "0.0.0.0", 999);
	assert_int_equal(connect_udp(client, 5201), 0); /* before it was ever seen */
	fake_loop_advance(t->loop, 1000);
	assert_string_equal(t->report, "udp 0.0.0.0:5201");
	assert_int_equal(t->n_reports, 2);
	close(client);
	close(server);
	expect_by_event(t, "");
}

static void restarts_between_two_looks_are_no_change(void **state)
{
	struct fixture *t = *state;
	int fd;

	start(t, PORT_WATCH_NO_CLIENTS);
	fd = open_socket(t, SOCK_STREAM, "0.0.0.0", 80);
	expect(t, "tcp 0.0.0.0:80");
	for (int i = 0; i < 20; i++) {
		close(fd);
		fd = open_socket(t, SOCK_STREAM, "0.0.0.0", 80);
		look_at_all(t);
		assert_string_equal(t->report, "tcp 0.0.0.0:80");
	}
	assert_int_equal(t->n_reports, 2);
	close(fd);
}

/* As many as a test has the patience for; each is a wake-up. */
static void a_storm_of_clients_costs_no_listener(void **state)
{
	struct fixture *t = *state;
	int fd;

	start(t, PORT_WATCH_NO_CLIENTS);
	for (int i = 0; i < 500; i++) {
		close(open_socket(t, SOCK_DGRAM, "0.0.0.0", 0));
		fake_loop_settle(t->loop);
	}
	fd = open_socket(t, SOCK_DGRAM, "0.0.0.0", 53);
	look_at_all(t); /* it was put off, but not longer than that */
	assert_string_equal(t->report, "udp 0.0.0.0:53");
	assert_int_equal(t->n_reports, 2);
	close(fd);
	look_at_all(t);
	assert_string_equal(t->report, "");
}

static void a_namespace_that_is_none_is_an_error(void **state)
{
	struct fixture *t = *state;
	const struct port_watch_config config = { .netns = "/dev/null",
						  .changed = on_change,
						  .arg = t };

	assert_true(port_watch_new(t->loop, &config, &t->watch) < 0);
	assert_null(t->watch);
}

#define TEST(name)                                                                      \
	cmocka_unit_test_setup_teardown(name, setup, teardown),                         \
	{                                                                               \
#name " (without tracing)", name, setup_without_tracing, teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(listeners_of_all_kinds_are_reported),
		TEST(what_is_closed_is_seen_without_asking),
		TEST(workers_of_one_port_are_one),
		TEST(udp_clients_are_left_out),
		TEST(udp_clients_are_reported_when_asked_for),
		TEST(old_udp_clients_are_reported_when_asked_for),
		TEST(a_udp_server_that_gets_a_peer_stays),
		TEST(restarts_between_two_looks_are_no_change),
		TEST(a_storm_of_clients_costs_no_listener),
		TEST(a_namespace_that_is_none_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
