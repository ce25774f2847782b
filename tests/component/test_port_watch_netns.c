/* SPDX-License-Identifier: Apache-2.0 */
/* Listeners of a namespace, as the kernel tells them. The clock is the test's:
 * what is new is seen by asking, what is gone at once. */
#include "forwarder/port_watch_netns.h"

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

#include "netstack/base/loop.h"
#include "tests/support/fake_loop.h"
#include "tests/support/inside.h"
#include "tests/support/patience.h"

struct fixture {
	struct loop *loop;
	struct inside guest;
	struct port_watch_netns *watch;
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

static int setup(void **state)
{
	struct fixture *t = calloc(1, sizeof(*t));

	*state = t;
	inside_start(&t->guest);
	return loop_new(&t->loop);
}

static int teardown(void **state)
{
	struct fixture *t = *state;

	port_watch_netns_free(t->watch);
	loop_free(t->loop);
	inside_stop(&t->guest);
	free(t);
	return 0;
}

static void start(struct fixture *t, bool with_ephemeral_udp)
{
	const struct port_watch_netns_config config = {
		.netns = t->guest.pid_text,
		.with_ephemeral_udp = with_ephemeral_udp,
		.changed = on_change,
		.arg = t,
	};

	if (t->guest.pid < 0)
		skip();
	assert_int_equal(port_watch_netns_new(t->loop, &config, &t->watch), 0);
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

/* What is new must be seen in less time than a user is promised. */
static void look(struct fixture *t)
{
	fake_loop_advance(t->loop, PORT_WATCH_SLOW_MS);
}

static void listeners_of_all_kinds_are_reported(void **state)
{
	struct fixture *t = *state;
	int fds[5];

	start(t, false);
	fds[0] = open_socket(t, SOCK_STREAM, "0.0.0.0", 80);
	fds[1] = open_socket(t, SOCK_STREAM, "::1", 8080);
	fds[2] = open_socket(t, SOCK_DGRAM, "127.0.0.1", 53);
	fds[3] = open_socket(t, SOCK_DGRAM, "::", 53);
	fds[4] = open_socket(t, SOCK_STREAM, "::ffff:127.0.0.1", 81);
	look(t);
	assert_string_equal(t->report, "tcp [::1]:8080, tcp 0.0.0.0:80, tcp 127.0.0.1:81, "
				       "udp [::]:53, udp 127.0.0.1:53");
	assert_int_equal(t->n_reports, 2);
	fake_loop_advance(t->loop, 10000);
	assert_int_equal(t->n_reports, 2);
	for (int i = 0; i < 5; i++)
		close(fds[i]);
}

static void what_is_closed_is_seen_without_asking(void **state)
{
	struct fixture *t = *state;
	const int types[] = { SOCK_STREAM, SOCK_DGRAM };
	const char *const addresses[] = { "0.0.0.0", "::1" };

	start(t, false);
	for (int i = 0; i < 4; i++) {
		int fd = open_socket(t, types[i / 2], addresses[i % 2], 80);

		look(t);
		assert_string_not_equal(t->report, "");
		close(fd);
		UNTIL(t->loop, t->report[0] == '\0'); /* the clock stands still */
	}
}

static void workers_of_one_port_are_one(void **state)
{
	struct fixture *t = *state;
	int first, second;

	start(t, false);
	first = open_socket(t, SOCK_STREAM, "0.0.0.0", 80);
	second = open_socket(t, SOCK_STREAM, "0.0.0.0", 80);
	look(t);
	assert_string_equal(t->report, "tcp 0.0.0.0:80");
	close(first);
	fake_loop_advance(t->loop, 1000);
	assert_string_equal(t->report, "tcp 0.0.0.0:80");
	close(second);
	UNTIL(t->loop, t->report[0] == '\0');
}

static void udp_clients_are_left_out(void **state)
{
	struct fixture *t = *state;
	int fd;

	start(t, false);
	fd = open_socket(t, SOCK_DGRAM, "0.0.0.0", 0);
	look(t);
	assert_string_equal(t->report, "");
	close(fd);
}

static void udp_clients_are_reported_when_asked_for(void **state)
{
	struct fixture *t = *state;
	int fd;

	start(t, true);
	fd = open_socket(t, SOCK_DGRAM, "0.0.0.0", 0);
	look(t);
	assert_int_equal(strncmp(t->report, "udp 0.0.0.0:", 12), 0);
	close(fd);
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

	start(t, false);
	server = open_socket(t, SOCK_DGRAM, "0.0.0.0", 5201);
	look(t);
	assert_int_equal(connect_udp(server, 999), 0);
	client = open_socket(t, SOCK_DGRAM, "0.0.0.0", 999);
	assert_int_equal(connect_udp(client, 5201), 0); /* before it was ever seen */
	fake_loop_advance(t->loop, 1000);
	assert_string_equal(t->report, "udp 0.0.0.0:5201");
	assert_int_equal(t->n_reports, 2);
	close(client);
	close(server);
	UNTIL(t->loop, t->report[0] == '\0');
}

static void restarts_between_two_looks_are_no_change(void **state)
{
	struct fixture *t = *state;
	int fd;

	start(t, false);
	fd = open_socket(t, SOCK_STREAM, "0.0.0.0", 80);
	look(t);
	for (int i = 0; i < 20; i++) {
		close(fd);
		fd = open_socket(t, SOCK_STREAM, "0.0.0.0", 80);
		look(t);
		assert_string_equal(t->report, "tcp 0.0.0.0:80");
	}
	assert_int_equal(t->n_reports, 2);
	close(fd);
}

static void a_namespace_that_is_none_is_an_error(void **state)
{
	struct fixture *t = *state;
	const struct port_watch_netns_config config = { .netns = "/dev/null",
							.changed = on_change,
							.arg = t };

	assert_true(port_watch_netns_new(t->loop, &config, &t->watch) < 0);
	assert_null(t->watch);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(listeners_of_all_kinds_are_reported),
		TEST(what_is_closed_is_seen_without_asking),
		TEST(workers_of_one_port_are_one),
		TEST(udp_clients_are_left_out),
		TEST(udp_clients_are_reported_when_asked_for),
		TEST(a_udp_server_that_gets_a_peer_stays),
		TEST(restarts_between_two_looks_are_no_change),
		TEST(a_namespace_that_is_none_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
