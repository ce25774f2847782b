/* SPDX-License-Identifier: Apache-2.0 */
/* Reverse forwards: what listens in the guest is a tunnel in memory, the host's
 * servers are real. */
#include "forwarder/reverse.h"

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

#include "forwarder/listen_socket.h"
#include "forwarder/ways.h"
#include "netstack/base/loop.h"
#include "tests/support/fake_loop.h"
#include "tests/support/host_socket.h"
#include "tests/support/mem_stream.h"
#include "tests/support/own_network.h"
#include "tests/support/patience.h"
#include "tests/support/published.h"

struct tunnel_listener {
	const struct tunnel_accept *accept;
	void *arg;
	char place[ADDR_TEXT_SIZE];
};

struct reverse_fixture {
	struct loop *loop;
	struct ways *ways;
	struct tunnel tunnel;
	struct tunnel_listener listener; /* the last one */
	unsigned int n_listening, n_listens;
	struct reverses *reverses;
	struct reverse_list wanted;
	struct mem_stream guest;
	int server;
	uint16_t port;
};

static struct reverse_fixture *fixture;

static int fake_listen(struct tunnel *t, const struct tunnel_place *guest,
		       const struct tunnel_accept *accept, void *arg, struct tunnel_listener **out)
{
	struct tunnel_listener *l = &fixture->listener;

	(void)t;
	*l = (struct tunnel_listener){ .accept = accept, .arg = arg };
	if (guest->path)
		(void)snprintf(l->place, sizeof(l->place), "%s", guest->path);
	else
		endpoint_format(&guest->endpoint, l->place);
	fixture->n_listening++;
	fixture->n_listens++;
	*out = l;
	return 0;
}

static void fake_unlisten(struct tunnel_listener *l)
{
	(void)l;
	fixture->n_listening--;
}

static int fake_bind_udp(struct tunnel *t, const struct endpoint *guest, int *fd)
{
	(void)t;
	*fd = listen_socket_bind(FORWARD_UDP, guest);
	return *fd < 0 ? *fd : 0;
}

static void no_free(struct tunnel *t)
{
	(void)t;
}

static const struct tunnel_ops tunnel_ops = {
	.listen = fake_listen,
	.unlisten = fake_unlisten,
	.bind_udp = fake_bind_udp,
	.free = no_free,
};

static int setup(void **state)
{
	struct reverse_fixture *f = fixture = calloc(1, sizeof(*f));

	events[0] = last_error[0] = '\0';
	assert_int_equal(loop_new(&f->loop), 0);
	assert_int_equal(ways_new(f->loop, &f->ways), 0);
	assert_int_equal(reverses_new(f->loop, f->ways, "", &f->reverses), 0);
	f->server = host_listen("127.0.0.1", &f->port);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct reverse_fixture *f = *state;

	reverses_free(f->reverses);
	assert_int_equal(f->n_listening, 0);
	ways_free(f->ways);
	loop_free(f->loop);
	close(f->server);
	free(f);
	return 0;
}

static void add_tunnel(struct reverse_fixture *f)
{
	f->tunnel = (struct tunnel){ .ops = &tunnel_ops, .name = "ssh", .state = TUNNEL_UP };
	ways_add(f->ways, RULE_VIA_SSH, &f->tunnel);
}

static void want(struct reverse_fixture *f, uint16_t guest_port)
{
	const struct reverse_forward item = {
		.guest = { IPADDR_V4(127, 0, 0, 1), guest_port },
		.host = { IPADDR_V4(127, 0, 0, 1), f->port },
		.via = RULE_VIA_AUTO,
	};

	reverse_list_add(&f->wanted, &item);
	assert_int_equal(reverses_set(f->reverses, &f->wanted), 0);
}

static void want_nothing(struct reverse_fixture *f)
{
	f->wanted.n = 0;
	assert_int_equal(reverses_set(f->reverses, &f->wanted), 0);
}

static void tell(struct reverse_fixture *f, int error)
{
	f->listener.accept->state(f->listener.arg, error);
}

static int accept_one(struct reverse_fixture *f)
{
	int fd = -1;

	mem_stream_init(&f->guest, f->loop, 0);
	mem_stream_give_room(&f->guest, 100);
	f->listener.accept->accepted(f->listener.arg, &f->guest.base);
	UNTIL(f->loop, (fd = host_accept(f->server)) >= 0);
	return fd;
}

static bool has_got(const struct reverse_fixture *f, const char *text)
{
	return f->guest.output_len == strlen(text) &&
	       memcmp(f->guest.output, text, strlen(text)) == 0;
}

static void a_connection_of_the_guest_reaches_the_host(void **state)
{
	struct reverse_fixture *f = *state;
	char got[8];
	int fd;

	add_tunnel(f);
	want(f, 9418);
	expect_events("");
	assert_string_equal(f->listener.place, "127.0.0.1:9418");
	tell(f, 0);
	assert_non_null(strstr(events, "forwarding tcp 127.0.0.1:"));
	assert_non_null(strstr(events, " 127.0.0.1:9418\n"));

	fd = accept_one(f);
	mem_stream_feed(&f->guest, "hello", 5);
	UNTIL(f->loop, recv(fd, got, sizeof(got), MSG_DONTWAIT) == 5);
	assert_int_equal(send(fd, "world", 5, 0), 5);
	UNTIL(f->loop, has_got(f, "world"));
	close(fd);
	mem_stream_eof(&f->guest);
	UNTIL(f->loop, f->guest.is_closed);
	mem_stream_deinit(&f->guest);
}

static void a_host_that_refuses_resets_the_guest(void **state)
{
	struct reverse_fixture *f = *state;

	add_tunnel(f);
	want(f, 9418);
	tell(f, 0);
	close(f->server);
	mem_stream_init(&f->guest, f->loop, 0);
	f->listener.accept->accepted(f->listener.arg, &f->guest.base);
	UNTIL(f->loop, f->guest.is_reset);
	mem_stream_deinit(&f->guest);
	f->server = -1;
}

static void what_cannot_be_had_is_tried_again_and_told_once(void **state)
{
	struct reverse_fixture *f = *state;

	add_tunnel(f);
	want(f, 9418);
	tell(f, -EADDRINUSE);
	assert_non_null(strstr(events, "failed tcp"));
	assert_non_null(strstr(last_error, "another program of the guest"));
	events[0] = '\0';
	fake_loop_advance(f->loop, RETRY_MIN_MS);
	assert_int_equal(f->n_listens, 2);
	tell(f, -EADDRINUSE);
	expect_events("");
	fake_loop_advance(f->loop, RETRY_MIN_MS);
	assert_int_equal(f->n_listens, 2); /* the second wait is longer */
	fake_loop_advance(f->loop, RETRY_MIN_MS);
	assert_int_equal(f->n_listens, 3);
	tell(f, 0);
	assert_non_null(strstr(events, "recovered tcp"));
	assert_non_null(strstr(events, "forwarding tcp"));
}

static void without_a_way_it_waits_for_one(void **state)
{
	struct reverse_fixture *f = *state;

	want(f, 9418);
	assert_non_null(strstr(events, "failed tcp"));
	add_tunnel(f);
	reverses_retry(f->reverses);
	fake_loop_settle(f->loop);
	assert_int_equal(f->n_listens, 1);
	tell(f, 0);
	assert_non_null(strstr(events, "recovered tcp"));
}

static void a_lost_tunnel_that_comes_back_is_recovered(void **state)
{
	struct reverse_fixture *f = *state;

	add_tunnel(f);
	want(f, 9418);
	tell(f, 0);
	events[0] = '\0';
	tell(f, -ENOTCONN);
	assert_non_null(strstr(events, "stopping tcp"));
	assert_non_null(strstr(events, "failed tcp"));
	events[0] = '\0';
	tell(f, 0); /* the tunnel has opened it again by itself */
	assert_non_null(strstr(events, "recovered tcp"));
	fake_loop_advance(f->loop, 10 * RETRY_MAX_MS);
	assert_int_equal(f->n_listens, 1);
}

static void what_is_not_wanted_any_more_ends_but_its_connections_do_not(void **state)
{
	struct reverse_fixture *f = *state;
	char got[8];
	int fd;

	add_tunnel(f);
	want(f, 9418);
	tell(f, 0);
	fd = accept_one(f);
	events[0] = '\0';
	want_nothing(f);
	assert_int_equal(f->n_listening, 0);
	assert_non_null(strstr(events, "stopping tcp"));
	mem_stream_feed(&f->guest, "hello", 5);
	UNTIL(f->loop, recv(fd, got, sizeof(got), MSG_DONTWAIT) == 5);
	mem_stream_eof(&f->guest);
	close(fd);
	UNTIL(f->loop, f->guest.is_closed || f->guest.is_reset);
	mem_stream_deinit(&f->guest);
}

static void the_same_again_changes_nothing(void **state)
{
	struct reverse_fixture *f = *state;

	add_tunnel(f);
	want(f, 9418);
	tell(f, 0);
	events[0] = '\0';
	want(f, 9419); /* and the first one again */
	assert_int_equal(f->n_listens, 2);
	expect_events("");
}

static void datagrams_of_the_guest_reach_the_host_and_back(void **state)
{
	struct reverse_fixture *f = *state;
	struct endpoint server = { IPADDR_V4(127, 0, 0, 1), 5300 };
	const struct reverse_forward item = {
		.proto = FORWARD_UDP,
		.guest = { IPADDR_V4(127, 0, 0, 1), 5301 },
		.host = server,
		.via = RULE_VIA_SSH,
	};
	int host = listen_socket_bind(FORWARD_UDP, &server);
	int client = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	char got[8];

	add_tunnel(f);
	reverse_list_add(&f->wanted, &item);
	assert_int_equal(reverses_set(f->reverses, &f->wanted), 0);
	expect_events("forwarding udp 127.0.0.1:5300 127.0.0.1:5301\n");
	assert_int_equal(connect_socket(client, &item.guest), 0);
	assert_int_equal(send(client, "ping", 4, 0), 4);
	UNTIL(f->loop, recvfrom(host, got, sizeof(got), 0, (struct sockaddr *)&sa, &len) == 4);
	assert_int_equal(sendto(host, "pong!", 5, 0, (struct sockaddr *)&sa, len), 5);
	UNTIL(f->loop, recv(client, got, sizeof(got), 0) == 5);
	close(client);
	close(host);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_connection_of_the_guest_reaches_the_host),
		TEST(a_host_that_refuses_resets_the_guest),
		TEST(what_cannot_be_had_is_tried_again_and_told_once),
		TEST(without_a_way_it_waits_for_one),
		TEST(a_lost_tunnel_that_comes_back_is_recovered),
		TEST(what_is_not_wanted_any_more_ends_but_its_connections_do_not),
		TEST(the_same_again_changes_nothing),
		TEST(datagrams_of_the_guest_reach_the_host_and_back),
	};

	own_network_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
