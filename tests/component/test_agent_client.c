/* SPDX-License-Identifier: Apache-2.0 */
/* The host's client and the agent: what the guest listens on, losses, restarts,
 * reverse forwards. */
#include "forwarder/agent_client.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "forwarder/agent_listeners.h"
#include "forwarder/tunnel.h"
#include "netstack/base/loop.h"
#include "netstack/stream.h"
#include "tests/support/agent_pair.h"
#include "tests/support/fake_loop.h"
#include "tests/support/host_socket.h"
#include "tests/support/own_network.h"
#include "tests/support/patience.h"

struct fixture {
	struct loop *loop;
	struct agent_pair pair;
};

static int begin(void **state, bool guest_service_only)
{
	struct fixture *t = calloc(1, sizeof(*t));

	assert_int_equal(loop_new(&t->loop), 0);
	t->pair.server_config.guest_service_only = guest_service_only;
	agent_pair_start(&t->pair, t->loop);
	*state = t;
	return 0;
}

static int setup(void **state)
{
	return begin(state, false);
}

static int setup_guest_service(void **state)
{
	return begin(state, true);
}

static int teardown(void **state)
{
	struct fixture *t = *state;

	agent_pair_stop(&t->pair);
	loop_free(t->loop);
	free(t);
	return 0;
}

static struct port_listener tcp(uint16_t port)
{
	return (struct port_listener){ FORWARD_TCP, { IPADDR_V4(127, 0, 0, 1), port } };
}

static struct port_listener udp6(uint16_t port)
{
	return (struct port_listener){ FORWARD_UDP, { { { [15] = 1 } }, port } };
}

static void set(struct fixture *t, const struct port_listener *all, unsigned int n)
{
	agent_server_set_listeners(t->pair.server, all, n);
	fake_loop_settle(t->loop);
}

static void assert_told(struct fixture *t, const struct port_listener *all, unsigned int n)
{
	assert_int_equal(t->pair.n_listeners, n);
	for (unsigned int i = 0; i < n; i++) {
		assert_int_equal(t->pair.listeners[i].proto, all[i].proto);
		assert_true(endpoint_equal(&t->pair.listeners[i].guest, &all[i].guest));
	}
}

static void listeners_are_told_at_once_and_when_they_change(void **state)
{
	struct fixture *t = *state;
	struct port_listener first[] = { tcp(80), tcp(8080) };
	struct port_listener next[] = { tcp(80), udp6(53) };

	assert_int_equal(t->pair.n_told, 0); /* nothing is known yet */
	set(t, first, 2);
	assert_told(t, first, 2);
	set(t, next, 2);
	assert_told(t, next, 2);
	assert_int_equal(t->pair.n_told, 2);
	set(t, next, 2); /* no change, no news */
	assert_int_equal(t->pair.n_told, 2);
	set(t, NULL, 0);
	assert_told(t, NULL, 0);
}

static void order_and_duplicates_of_the_agent_do_not_matter(void **state)
{
	struct fixture *t = *state;
	struct port_listener mixed[] = { udp6(53), tcp(8080), tcp(80), tcp(8080) };
	struct port_listener sorted[] = { tcp(80), tcp(8080), udp6(53) };

	set(t, mixed, 4);
	assert_told(t, sorted, 3);
}

static void range_of_ephemeral_ports_is_told(void **state)
{
	struct fixture *t = *state;
	struct port_listener all[] = { tcp(80) };

	agent_server_set_ephemeral(t->pair.server, (struct port_range){ 32768, 60999 });
	set(t, all, 1);
	assert_int_equal(agent_client_ephemeral(t->pair.client).first, 32768);
	assert_int_equal(agent_client_ephemeral(t->pair.client).last, 60999);
}

static void listeners_stay_while_the_agent_is_away(void **state)
{
	struct fixture *t = *state;
	struct port_listener before[] = { tcp(80), tcp(8080) };
	struct port_listener after[] = { tcp(80), tcp(9090) };
	unsigned int told;

	set(t, before, 2);
	told = t->pair.n_told;
	agent_pair_kill_agent(&t->pair);
	fake_loop_advance(t->loop, 60000);
	assert_int_equal(t->pair.tunnel->state, TUNNEL_DOWN);
	assert_string_not_equal(t->pair.tunnel->error, "");
	assert_int_equal(t->pair.n_told, told);

	agent_pair_start_agent(&t->pair);
	fake_loop_advance(t->loop, 1000); /* within a second of its return */
	assert_int_equal(t->pair.tunnel->state, TUNNEL_UP);
	assert_int_equal(t->pair.n_told, told); /* it does not know yet */
	set(t, before, 2);
	assert_int_equal(t->pair.n_told, told); /* it is as it was */
	set(t, after, 2);
	assert_told(t, after, 2);
	assert_int_equal(agent_client_counters(t->pair.client)->losses, 1);
	assert_int_equal(agent_client_counters(t->pair.client)->connects, 2);
}

static void tries_do_not_come_without_a_pause(void **state)
{
	struct fixture *t = *state;
	unsigned int before;

	agent_pair_kill_agent(&t->pair);
	fake_loop_settle(t->loop);
	before = t->pair.n_connects;
	fake_loop_advance(t->loop, 60000);
	assert_in_range(t->pair.n_connects - before, 60, 200);
}

static void dial_waits_for_an_agent_that_comes_back(void **state)
{
	struct fixture *t = *state;
	struct tunnel *tunnel = t->pair.tunnel;
	struct tunnel_place place = { .endpoint.addr = IPADDR_V4(127, 0, 0, 1) };
	int listener = host_listen("127.0.0.1", &place.endpoint.port), server;
	struct stream *s;

	agent_pair_kill_agent(&t->pair);
	fake_loop_settle(t->loop);
	assert_int_equal(tunnel->state, TUNNEL_CONNECTING);
	assert_int_equal(tunnel->ops->dial(tunnel, &place, &s), 0);
	fake_loop_advance(t->loop, 1000);
	assert_int_equal(s->ops->write(s, NULL, 0), -EAGAIN);

	agent_pair_start_agent(&t->pair);
	fake_loop_advance(t->loop, 1000);
	UNTIL(t->loop, s->ops->write(s, NULL, 0) == 0);
	server = host_accept(listener);
	assert_true(server >= 0);
	s->ops->close(s);
	close(server);
	close(listener);
}

static void dial_does_not_wait_for_ever(void **state)
{
	struct fixture *t = *state;
	struct tunnel *tunnel = t->pair.tunnel;
	struct tunnel_place place = { .endpoint = { IPADDR_V4(127, 0, 0, 1), 1 } };
	struct stream *s, *given_up;

	agent_pair_kill_agent(&t->pair);
	fake_loop_settle(t->loop);
	assert_int_equal(tunnel->ops->dial(tunnel, &place, &s), 0);
	assert_int_equal(tunnel->ops->dial(tunnel, &place, &given_up), 0);
	given_up->ops->reset(given_up);
	fake_loop_advance(t->loop, 3000);
	assert_int_equal(s->ops->write(s, NULL, 0), -ETIMEDOUT);
	s->ops->reset(s);

	fake_loop_advance(t->loop, 10000);
	assert_int_equal(tunnel->state, TUNNEL_DOWN);
	assert_int_equal(tunnel->ops->dial(tunnel, &place, &s), -ENOTCONN);
}

static void agent_that_does_not_answer_any_more_is_given_up(void **state)
{
	struct fixture *t = *state;
	int stopped = t->pair.server_fd, other = dup(stopped);
	int pair[2];

	/* the agent is stopped: its descriptor is one that nobody reads */
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_true(dup2(pair[0], stopped) >= 0);
	fake_loop_advance(t->loop, 14000);
	assert_int_equal(t->pair.tunnel->state, TUNNEL_UP);
	fake_loop_advance(t->loop, 12000);
	assert_int_equal(agent_client_counters(t->pair.client)->losses, 1);
	assert_int_equal(t->pair.tunnel->state, TUNNEL_UP); /* by a new connection */
	close(pair[0]);
	close(pair[1]);
	close(other);
}

static void quiet_connection_stays(void **state)
{
	struct fixture *t = *state;

	fake_loop_advance(t->loop, 600000);
	assert_int_equal(t->pair.tunnel->state, TUNNEL_UP);
	assert_int_equal(agent_client_counters(t->pair.client)->losses, 0);
}

static void lying_agent_is_bounded(void **state)
{
	struct fixture *t = *state;
	unsigned int n = 100000;
	struct port_listener *all = calloc(n, sizeof(*all));

	for (unsigned int i = 0; i < n; i++)
		all[i] = (struct port_listener){ FORWARD_TCP,
						 { IPADDR_V4(10, 0, (uint8_t)(i / 60000), 1),
						   (uint16_t)(1 + i % 60000) } };
	set(t, all, n);
	assert_int_equal(t->pair.n_listeners, AGENT_LISTENERS_MAX);
	assert_true(agent_client_counters(t->pair.client)->listeners_refused > 0);
	set(t, all, 1);
	assert_told(t, all, 1);
	free(all);
}

/* --- reverse forwards --- */

struct reverse {
	struct tunnel_listener *listener;
	struct stream *accepted;
	unsigned int n_accepted, n_states;
	int state;
};

static void on_accepted(void *arg, struct stream *guest)
{
	struct reverse *r = arg;

	r->n_accepted++;
	r->accepted = guest;
}

static void on_state(void *arg, int error)
{
	struct reverse *r = arg;

	r->n_states++;
	r->state = error;
}

static const struct tunnel_accept accept_ops = { .accepted = on_accepted, .state = on_state };

static void listen_there(struct fixture *t, const char *path, struct reverse *r)
{
	struct tunnel *tunnel = t->pair.tunnel;
	struct tunnel_place place = { .path = path };

	*r = (struct reverse){ .state = 1 };
	assert_int_equal(tunnel->ops->listen(tunnel, &place, &accept_ops, r, &r->listener), 0);
	assert_int_equal(r->n_states, 0);
	fake_loop_advance(t->loop, 1);
}

static int connect_path(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	(void)snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	assert_int_equal(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	return fd;
}

static void talk(struct fixture *t, struct reverse *r, const char *path)
{
	struct iovec iov = { (char[]){ "hello" }, 5 };
	char text[8] = "";
	int client = connect_path(path);
	unsigned int before = r->n_accepted;

	UNTIL(t->loop, r->n_accepted == before + 1);
	UNTIL(t->loop, r->accepted->ops->write(r->accepted, &iov, 1) == 5);
	UNTIL(t->loop, recv(client, text, 5, 0) == 5);
	assert_string_equal(text, "hello");
	r->accepted->ops->close(r->accepted);
	close(client);
}

static void reverse_forward_brings_connections_and_survives_the_agent(void **state)
{
	struct fixture *t = *state;
	char path[64], dir[] = "/tmp/netfwd-test-XXXXXX";
	struct reverse r;

	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/s", dir);
	listen_there(t, path, &r);
	assert_int_equal(r.state, 0);
	talk(t, &r, path);
	talk(t, &r, path);

	agent_pair_kill_agent(&t->pair);
	fake_loop_settle(t->loop);
	assert_int_equal(r.state, -ENOTCONN);
	assert_string_not_equal(t->pair.tunnel->error, "");
	agent_pair_start_agent(&t->pair);
	fake_loop_advance(t->loop, 2000);
	assert_int_equal(r.state, 0);
	assert_string_equal(t->pair.tunnel->error, "");
	talk(t, &r, path);

	t->pair.tunnel->ops->unlisten(r.listener);
	fake_loop_settle(t->loop);
	assert_int_not_equal(access(path, F_OK), 0);
	rmdir(dir);
}

static void reverse_forward_says_why_not_and_tries_again(void **state)
{
	struct fixture *t = *state;
	char path[64], dir[] = "/tmp/netfwd-test-XXXXXX";
	struct reverse r;

	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/none/s", dir);
	listen_there(t, path, &r);
	assert_int_equal(r.state, -ENOENT);
	path[strlen(dir) + 5] = '\0';
	assert_int_equal(mkdir(path, 0700), 0);
	fake_loop_advance(t->loop, 1000);
	assert_int_equal(r.state, 0);
	t->pair.tunnel->ops->unlisten(r.listener);
	fake_loop_settle(t->loop);
	rmdir(path);
	rmdir(dir);
}

static void agent_of_lima_has_no_reverse_forwards(void **state)
{
	struct fixture *t = *state;
	struct reverse r;

	listen_there(t, "/tmp/x", &r);
	assert_int_equal(r.state, -EOPNOTSUPP);
	t->pair.tunnel->ops->unlisten(r.listener);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define BOTH(test)                                                                  \
	TEST(test),                                                                 \
	{                                                                           \
#test " in GuestService", test, setup_guest_service, teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(listeners_are_told_at_once_and_when_they_change),
		BOTH(order_and_duplicates_of_the_agent_do_not_matter),
		TEST(range_of_ephemeral_ports_is_told),
		TEST(listeners_stay_while_the_agent_is_away),
		TEST(tries_do_not_come_without_a_pause),
		BOTH(dial_waits_for_an_agent_that_comes_back),
		TEST(dial_does_not_wait_for_ever),
		TEST(agent_that_does_not_answer_any_more_is_given_up),
		BOTH(quiet_connection_stays),
		BOTH(lying_agent_is_bounded),
		TEST(reverse_forward_brings_connections_and_survives_the_agent),
		TEST(reverse_forward_says_why_not_and_tries_again),
		cmocka_unit_test_setup_teardown(agent_of_lima_has_no_reverse_forwards,
						setup_guest_service, teardown),
	};

	own_network_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
