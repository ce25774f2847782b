/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of a publication on the host: busy ports, ::1, UDP, paths, and the
 * way to the guest. */
#include "forwarder/publisher.h"

#include <errno.h>
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

#include "forwarder/listen_socket.h"
#include "tests/support/fake_loop.h"
#include "tests/support/host_socket.h"
#include "tests/support/own_network.h"
#include "tests/support/patience.h"
#include "tests/support/published.h"

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
	fake_loop_advance(t->loop, 2UL * RETRY_MAX_MS);
	expect_events("");
}

static void a_port_lost_in_the_grace_period_is_failed(void **state)
{
	struct fixture *t = *state;
	struct publication wide = web("0.0.0.0");

	wide.host.addr = address("0.0.0.0");
	publish(t, web("0.0.0.0"));
	withdraw(t);
	publish_all(t, "control", &wide, 1); /* of our own, and more than the other */
	publish(t, web("0.0.0.0"));
	expect_events("forwarding tcp 127.0.0.1:8080 0.0.0.0:80\n"
		      "stopping tcp 127.0.0.1:8080 0.0.0.0:80\n"
		      "forwarding tcp 0.0.0.0:8080 0.0.0.0:80\n"
		      "failed tcp 127.0.0.1:8080 0.0.0.0:80\n");
	publish_all(t, "control", NULL, 0);
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
	expect_events("forwarding tcp 127.0.0.1:8080 0.0.0.0:80\n"
		      "not-forwarding tcp [::1]:8080 0.0.0.0:80\n");
	assert_non_null(strstr(last_error, "[::1]:8080"));
	assert_false(list_all(t).all[0].is_also_open);
	expect_served(t, HOST_PORT);
	close(other);
	fake_loop_advance(t->loop, 2UL * RETRY_MIN_MS);
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
	publish_all(t, "guest:", &p, 1);
	publish_all(t, "config", &q, 1);
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
	publish_all(t, "guest:", p, 2);
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
	publish_all(t, "guest:", p, 2);
	publish_all(t, "guest:", p, 1);
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
	publish_all(t, "guest:", items, MANY);
	assert_int_equal(publisher_left_out(t->publisher, "guest:"),
			 MANY - PUBLISHER_MAX_PER_SOURCE);
	expect_served(t, HOST_PORT);
	withdraw(t);
	expect_refused(HOST_PORT);
	free(items);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, publisher_setup, publisher_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
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
