/* SPDX-License-Identifier: Apache-2.0 */
/* What is published, over real sockets: who has which port, and for how long. */
#include "forwarder/publisher.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "forwarder/listen_socket.h"
#include "tests/support/fake_loop.h"
#include "tests/support/host_socket.h"
#include "tests/support/own_network.h"
#include "tests/support/published.h"

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

	publish_all(t, "guest:", twice, 2);
	publish_all(t, "guest:", twice, 1);
	publish_all(t, "guest:", twice, 2);
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
	fake_loop_advance(t->loop, 10UL * GRACE_DEFAULT_MS);
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
		fake_loop_advance(t->loop, i % 3UL * (GRACE_DEFAULT_MS / 2 + 1));
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

	publish_all(t, "guest:", both, 2);
	expect_events("forwarding tcp 127.0.0.1:8080 0.0.0.0:80\n");
	publish_all(t, "guest:", &both[1], 1);
	fake_loop_advance(t->loop, 2UL * GRACE_DEFAULT_MS);
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
	fake_loop_advance(t->loop, 2UL * GRACE_DEFAULT_MS);
	expect_events("");
	pair_close(t, &p);
}

static void sources_add_up(void **state)
{
	struct fixture *t = *state;
	struct publication p = web("0.0.0.0");

	publish_all(t, "config", &p, 1);
	publish_all(t, "control", &p, 1);
	assert_int_equal(list_all(t).n, 2);
	assert_true(list_all(t).all[1].is_shared);
	publish_all(t, "config", NULL, 0);
	fake_loop_advance(t->loop, 2UL * GRACE_DEFAULT_MS);
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
	publish_all(t, "guest:anna", &a, 1);
	publish_all(t, "guest:bert", &b, 1);
	expect_events("forwarding tcp 127.0.0.1:8080 0.0.0.0:80\n"
		      "failed tcp 127.0.0.1:8080 [::]:80\n");
	assert_non_null(strstr(last_error, "anna"));
	assert_int_equal(list_all(t).all[1].state, PUBLICATION_WAITING);
	expect_served(t, HOST_PORT);
	assert_string_equal(t->dialled.guest_name, "anna");

	publish_all(t, "guest:anna", NULL, 0);
	expect_events(""); /* may be a restart */
	publish_all(t, "guest:anna", &a, 1);
	expect_served(t, HOST_PORT);
	assert_string_equal(t->dialled.guest_name, "anna");
	publish_all(t, "guest:anna", NULL, 0);
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
	publisher_start(t, true);
	(void)snprintf(b[0].guest_name, sizeof(b[0].guest_name), "bert");
	(void)snprintf(b[1].guest_name, sizeof(b[1].guest_name), "bert");
	publish_all(t, "guest:anna", &a, 1);
	publish_all(t, "guest:bert", &b[0], 1);
	expect_events("forwarding tcp 127.0.0.1:8080 0.0.0.0:80\n"
		      "forwarding tcp 127.0.0.1:8082 0.0.0.0:80\n");
	publish_all(t, "guest:bert", b, 2); /* the other half comes a little later */
	expect_events("");
	assert_int_equal(list_all(t).all[2].host.port, HOST_PORT + 2);
	expect_served(t, HOST_PORT + 2);
	assert_string_equal(t->dialled.guest_name, "bert");
	expect_served(t, HOST_PORT);
	assert_string_equal(t->dialled.guest_name, "");
	close(taken);
}

static void by_option_another_program_leads_to_the_next_free_port_too(void **state)
{
	struct fixture *t = *state;
	struct publication p = web("0.0.0.0");
	int stranger = occupy("127.0.0.1", HOST_PORT);

	publisher_free(t->publisher);
	publisher_start(t, true);
	publish(t, p);
	expect_events("forwarding tcp 127.0.0.1:8081 0.0.0.0:80\n");
	expect_served(t, HOST_PORT + 1);
	publish(t, p);
	expect_events(""); /* the same again */
	assert_int_equal(list_all(t).all[0].host.port, HOST_PORT + 1);
	withdraw(t);
	fake_loop_advance(t->loop, GRACE_DEFAULT_MS);
	expect_events("stopping tcp 127.0.0.1:8081 0.0.0.0:80\n");

	p.keeps_port = true;
	publish(t, p);
	expect_events("failed tcp 127.0.0.1:8080 0.0.0.0:80\n");
	close(stranger);
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

	publish_all(t, "config", &p, 1);
	open = join(t, connect_to(HOST_PORT));
	p.host.addr = address("0.0.0.0"); /* needs the port of the one before */
	publish_all(t, "config", &p, 1);
	expect_served(t, HOST_PORT);
	expect_flow(t, &open);
	p.host.port++;
	publish_all(t, "config", &p, 1);
	expect_served(t, HOST_PORT + 1);
	fake_loop_advance(t->loop, 2UL * GRACE_DEFAULT_MS);
	expect_refused(HOST_PORT);
	expect_flow(t, &open);
	publish_all(t, "config", NULL, 0);
	fake_loop_advance(t->loop, 2UL * GRACE_DEFAULT_MS);
	expect_flow(t, &open);
	pair_close(t, &open);
	expect_events("forwarding tcp 127.0.0.1:8080 0.0.0.0:80\n"
		      "stopping tcp 127.0.0.1:8080 0.0.0.0:80\n"
		      "forwarding tcp 0.0.0.0:8080 0.0.0.0:80\n"
		      "forwarding tcp 0.0.0.0:8081 0.0.0.0:80\n"
		      "stopping tcp 0.0.0.0:8080 0.0.0.0:80\n"
		      "stopping tcp 0.0.0.0:8081 0.0.0.0:80\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, publisher_setup, publisher_teardown)

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
		TEST(by_option_another_program_leads_to_the_next_free_port_too),
		TEST(a_reload_gives_the_port_to_another_guest_port_at_once),
		TEST(a_reload_drops_no_connection),
	};

	own_network_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
