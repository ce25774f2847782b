/* SPDX-License-Identifier: Apache-2.0 */
/* TCP from a port of the host, through the agent, to a server in "the guest": what
 * a connection may expect of a way that it does not see. Every test runs in
 * netfwd's dialect, by raw flows, and in Lima's dialect where that can do it. */
#include "forwarder/tunnel_grpc.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "forwarder/tcp_forward.h"
#include "netstack/base/loop.h"
#include "netstack/stream.h"
#include "tests/support/agent_pair.h"
#include "tests/support/fake_loop.h"
#include "tests/support/host_socket.h"
#include "tests/support/own_network.h"
#include "tests/support/patience.h"

#define BIG (8U * 1024 * 1024)

struct fixture {
	struct loop *loop;
	struct agent_pair pair;
	struct agent_pair_forward forward;
	int listener; /* the server in the guest */
	uint16_t guest_port;
};

static int begin(void **state, struct agent_pair pair)
{
	struct fixture *t = calloc(1, sizeof(*t));

	assert_int_equal(loop_new(&t->loop), 0);
	t->pair = pair;
	agent_pair_start(&t->pair, t->loop);
	t->listener = host_listen("127.0.0.1", &t->guest_port);
	agent_pair_forward_tcp(&t->pair, t->guest_port, &t->forward);
	*state = t;
	return 0;
}

static int setup(void **state)
{
	return begin(state, (struct agent_pair){ 0 });
}

static int setup_narrow(void **state)
{
	return begin(state, (struct agent_pair){ .is_narrow = true });
}

static int setup_guest_service(void **state)
{
	return begin(state, (struct agent_pair){ .server_config.guest_service_only = true });
}

static int setup_raw(void **state)
{
	return begin(state, (struct agent_pair){ .is_raw = true });
}

static int teardown(void **state)
{
	struct fixture *t = *state;

	agent_pair_forward_stop(&t->forward);
	agent_pair_stop(&t->pair);
	if (t->listener >= 0)
		close(t->listener);
	loop_free(t->loop);
	free(t);
	return 0;
}

static int connect_to(uint16_t port)
{
	struct sockaddr_in sin = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_true(connect(fd, (struct sockaddr *)&sin, sizeof(sin)) == 0 || errno == EINPROGRESS);
	return fd;
}

static bool has_accepted(struct fixture *t, int *server)
{
	*server = host_accept(t->listener);
	return *server >= 0;
}

/* A client of the forward, and the server's end of its connection. */
static void open_both(struct fixture *t, int *client, int *server)
{
	*client = connect_to(t->forward.port);
	UNTIL(t->loop, has_accepted(t, server));
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Everything that has come so far; -1 with errno when the connection broke. */
struct heard {
	int fd;
	char text[4096];
	size_t len;
	bool has_ended;
	int error;
};

static bool hear(struct heard *h)
{
	ssize_t n = recv(h->fd, h->text + h->len, sizeof(h->text) - 1 - h->len, 0);

	if (n > 0)
		h->len += (size_t)n;
	else if (n == 0)
		h->has_ended = true;
	else if (errno != EAGAIN)
		h->error = errno;
	h->text[h->len] = '\0';
	return n > 0;
}

static bool has_heard(struct heard *h, const char *text)
{
	(void)hear(h);
	return strcmp(h->text, text) == 0;
}

static bool ends(struct heard *h)
{
	(void)hear(h);
	return h->has_ended || h->error;
}

static void server_may_speak_first(void **state)
{
	struct fixture *t = *state;
	int client, server;

	open_both(t, &client, &server);
	say(server, "220 hello");

	struct heard h = { .fd = client };
	UNTIL(t->loop, has_heard(&h, "220 hello"));
	close(client);
	close(server);
}

static void reply_comes_after_the_client_has_shut_its_direction(void **state)
{
	struct fixture *t = *state;
	int client, server;

	open_both(t, &client, &server);
	say(client, "5byte");
	shutdown(client, SHUT_WR);

	struct heard s = { .fd = server };
	UNTIL(t->loop, ends(&s));
	assert_string_equal(s.text, "5byte");
	assert_true(s.has_ended);
	say(server, "OK 5");
	close(server);

	struct heard c = { .fd = client };
	UNTIL(t->loop, ends(&c));
	assert_string_equal(c.text, "OK 5");
	assert_true(c.has_ended);
	close(client);
}

/* An upload that goes on after the server has said all it had to say. */
static void upload_goes_on_after_the_server_has_shut_its_direction(void **state)
{
	struct fixture *t = *state;
	int client, server;
	size_t sent = 0, got = 0;
	static char block[65536];

	open_both(t, &client, &server);
	say(server, "bye");
	shutdown(server, SHUT_WR);
	struct heard c = { .fd = client };
	UNTIL(t->loop, ends(&c));
	assert_string_equal(c.text, "bye");

	while (got < 1024 * 1024) {
		ssize_t n =
			sent < 1024 * 1024 ? send(client, block, sizeof(block), MSG_NOSIGNAL) : 0;

		sent += n > 0 ? (size_t)n : 0;
		fake_loop_settle(t->loop);
		n = recv(server, block, sizeof(block), 0);
		got += n > 0 ? (size_t)n : 0;
	}
	close(client);
	struct heard s = { .fd = server };
	UNTIL(t->loop, ends(&s));
	assert_true(s.has_ended);
	close(server);
}

static void idle_connection_that_the_server_closes_is_closed(void **state)
{
	struct fixture *t = *state;
	unsigned int before = host_descriptors();

	for (int i = 0; i < 100; i++) {
		int client, server;

		open_both(t, &client, &server);
		close(server);
		struct heard c = { .fd = client };
		UNTIL(t->loop, ends(&c));
		assert_true(c.has_ended);
		close(client);
	}
	UNTIL(t->loop, host_descriptors() == before);
}

static void reset_of_the_server_is_a_reset_of_the_client(void **state)
{
	struct fixture *t = *state;
	struct linger abort_on_close = { 1, 0 };
	int client, server;

	open_both(t, &client, &server);
	setsockopt(server, SOL_SOCKET, SO_LINGER, &abort_on_close, sizeof(abort_on_close));
	close(server);

	struct heard c = { .fd = client };
	UNTIL(t->loop, ends(&c));
	assert_int_equal(c.error, ECONNRESET);
	close(client);
}

static void reset_of_the_client_is_a_reset_of_the_server(void **state)
{
	struct fixture *t = *state;
	struct linger abort_on_close = { 1, 0 };
	int client, server;

	open_both(t, &client, &server);
	setsockopt(client, SOL_SOCKET, SO_LINGER, &abort_on_close, sizeof(abort_on_close));
	close(client);

	struct heard s = { .fd = server };
	UNTIL(t->loop, ends(&s));
	assert_int_equal(s.error, ECONNRESET);
	close(server);
}

static void refused_port_of_the_guest_resets_the_client(void **state)
{
	struct fixture *t = *state;

	close(t->listener);
	t->listener = -1;
	struct heard c = { .fd = connect_to(t->forward.port) };
	UNTIL(t->loop, ends(&c));
	assert_int_equal(c.error, ECONNRESET);
	assert_int_equal(agent_server_counters(t->pair.server)->dials_failed, 1);
	close(c.fd);
}

static uint8_t pattern(size_t at)
{
	return (uint8_t)(at * 7 + at / 251);
}

struct transfer {
	int from, to;
	size_t sent, got;
	bool is_wrong;
};

/* Some bytes on, if they go. */
static void move(struct transfer *x)
{
	static uint8_t block[50000];
	size_t len = BIG - x->sent < sizeof(block) ? BIG - x->sent : sizeof(block);
	ssize_t n;

	for (size_t i = 0; i < len; i++)
		block[i] = pattern(x->sent + i);
	n = len ? send(x->from, block, len, MSG_NOSIGNAL) : 0;
	x->sent += n > 0 ? (size_t)n : 0;
	n = recv(x->to, block, sizeof(block), 0);
	for (ssize_t i = 0; i < n; i++)
		x->is_wrong |= block[i] != pattern(x->got + (size_t)i);
	x->got += n > 0 ? (size_t)n : 0;
}

static void many_bytes_arrive_as_they_were_sent_both_ways_at_once(void **state)
{
	struct fixture *t = *state;
	int client, server;

	open_both(t, &client, &server);
	struct transfer up = { client, server, 0, 0, false };
	struct transfer down = { server, client, 0, 0, false };
	while (up.got < BIG || down.got < BIG) {
		move(&up);
		move(&down);
		fake_loop_settle(t->loop);
	}
	assert_false(up.is_wrong);
	assert_false(down.is_wrong);
	close(client);
	close(server);
}

/* More than every buffer on the way takes, so that only its window can stop it. */
static size_t fill(struct fixture *t, int fd)
{
	static char block[65536];
	size_t sent = 0;
	ssize_t n;

	for (int quiet = 0; quiet < 20; quiet++) {
		n = send(fd, block, sizeof(block), MSG_NOSIGNAL);
		if (n > 0) {
			sent += (size_t)n;
			quiet = 0;
		}
		fake_loop_settle(t->loop);
	}
	return sent;
}

static void reader_that_stops_holds_up_its_own_connection_only(void **state)
{
	struct fixture *t = *state;
	int paused[2], busy[2];
	size_t held;

	open_both(t, &paused[0], &paused[1]);
	held = fill(t, paused[1]);
	assert_true(held > 65536);
	assert_true(held < 32U * 1024 * 1024);

	open_both(t, &busy[0], &busy[1]);
	struct transfer down = { busy[1], busy[0], 0, 0, false };
	while (down.got < BIG) {
		move(&down);
		fake_loop_settle(t->loop);
	}
	assert_false(down.is_wrong);
	for (int i = 0; i < 2; i++) {
		close(paused[i]);
		close(busy[i]);
	}
}

#define MANY 3000

struct many {
	int clients[MANY], servers[MANY];
	int n_accepted, n_heard;
};

/* Each call takes what is there: a look at all of them would cost the loop more
 * than the connections do. */
static bool have_accepted(struct fixture *t, struct many *m)
{
	while (m->n_accepted < MANY && has_accepted(t, &m->servers[m->n_accepted]))
		say(m->servers[m->n_accepted++], "x");
	return m->n_accepted == MANY;
}

static bool have_heard(struct many *m)
{
	char c;

	while (m->n_heard < MANY && recv(m->clients[m->n_heard], &c, 1, 0) == 1)
		m->n_heard++;
	return m->n_heard == MANY;
}

static void three_thousand_connections_at_once(void **state)
{
	struct fixture *t = *state;
	static struct many m;

	m = (struct many){ 0 };
	for (int i = 0; i < MANY; i++)
		m.clients[i] = connect_to(t->forward.port);
	UNTIL(t->loop, have_accepted(t, &m));
	UNTIL(t->loop, have_heard(&m));
	for (int i = 0; i < MANY; i++) {
		close(m.clients[i]);
		close(m.servers[i]);
	}
	UNTIL(t->loop, tcp_forward_n_connections(t->forward.tcp) == 0);
}

static void unix_socket_of_the_guest_is_dialled(void **state)
{
	struct fixture *t = *state;
	char path[] = "/tmp/netfwd-test-XXXXXX";
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct tunnel *tunnel = t->pair.tunnel;
	struct stream *s;
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0), server = -1;

	assert_non_null(mkdtemp(path));
	(void)snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/s", path);
	assert_int_equal(bind(listener, (struct sockaddr *)&sun, sizeof(sun)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(
		tunnel->ops->dial(tunnel, &(struct tunnel_place){ .path = sun.sun_path }, &s), 0);
	UNTIL(t->loop, s->ops->write(s, NULL, 0) != -EAGAIN);
	assert_int_equal(s->ops->write(s, NULL, 0), 0);
	server = host_accept(listener);
	assert_true(server >= 0);
	s->ops->close(s);
	close(server);
	close(listener);

	unlink(sun.sun_path);
	assert_int_equal(
		tunnel->ops->dial(tunnel, &(struct tunnel_place){ .path = sun.sun_path }, &s), 0);
	UNTIL(t->loop, s->ops->write(s, NULL, 0) != -EAGAIN);
	assert_int_equal(s->ops->write(s, NULL, 0), -ENOENT);
	s->ops->reset(s);
	rmdir(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define OWN(test)                                               \
	cmocka_unit_test_setup_teardown(test, setup, teardown), \
		{ #test " by raw flows", test, setup_raw, teardown, NULL }
#define ALL(test)                                                                   \
	OWN(test),                                                                  \
	{                                                                           \
#test " in GuestService", test, setup_guest_service, teardown, NULL \
	}
		ALL(server_may_speak_first),
		ALL(reply_comes_after_the_client_has_shut_its_direction),
		OWN(upload_goes_on_after_the_server_has_shut_its_direction),
		ALL(idle_connection_that_the_server_closes_is_closed),
		ALL(reset_of_the_server_is_a_reset_of_the_client),
		ALL(reset_of_the_client_is_a_reset_of_the_server),
		ALL(refused_port_of_the_guest_resets_the_client),
		ALL(many_bytes_arrive_as_they_were_sent_both_ways_at_once),
		{ "many_bytes_arrive_over_a_transport_that_is_often_full",
		  many_bytes_arrive_as_they_were_sent_both_ways_at_once, setup_narrow, teardown,
		  NULL },
		ALL(reader_that_stops_holds_up_its_own_connection_only),
		ALL(three_thousand_connections_at_once),
		OWN(unix_socket_of_the_guest_is_dialled),
	};

	own_network_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
