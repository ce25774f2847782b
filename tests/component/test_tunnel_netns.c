/* SPDX-License-Identifier: Apache-2.0 */
/* Connections, flows and listeners inside another network namespace, over sockets
 * that were made there. */
#include "forwarder/tunnel_netns.h"

#include <errno.h>
#include <net/if.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "forwarder/tunnel.h"
#include "netstack/base/loop.h"
#include "netstack/stream.h"
#include "tests/support/fake_loop.h"
#include "tests/support/host_socket.h"
#include "tests/support/inside.h"
#include "tests/support/patience.h"
#include "tests/support/unix_address.h"

#define PORT 80 /* the namespace is the test's own */

struct fixture {
	struct loop *loop;
	struct inside guest;
	struct tunnel *tunnel;
	struct stream *accepted;
	int listen_state; /* 1: not told */
	char received[64];
	unsigned int n_refused, n_changes;
	char directory[64];
};

/* ---- inside ---- */

static int set_loopback_up(const void *arg)
{
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	(void)arg;
	return ioctl(fd, SIOCSIFFLAGS, &ifr) < 0 ? INSIDE_FAILED(errno) : INSIDE_NOTHING;
}

struct server {
	int type;
	const char *address;
};

static int open_server(const void *arg)
{
	const struct server *server = arg;
	struct endpoint e = { .port = PORT };
	struct sockaddr_storage sa;
	socklen_t len;
	int fd;

	if (ipaddr_parse(server->address, &e.addr) < 0)
		return INSIDE_FAILED(EINVAL);
	len = endpoint_to_sockaddr(&e, &sa);
	fd = socket(sa.ss_family, server->type | SOCK_NONBLOCK, 0);
	if (bind(fd, (struct sockaddr *)&sa, len) < 0)
		return INSIDE_FAILED(errno);
	if (server->type == SOCK_STREAM && listen(fd, 512) < 0)
		return INSIDE_FAILED(errno);
	return fd;
}

static int connect_inside(const void *arg)
{
	const struct server *server = arg;
	struct endpoint e = { .port = PORT };
	struct sockaddr_storage sa;
	socklen_t len;
	int fd;

	if (ipaddr_parse(server->address, &e.addr) < 0)
		return INSIDE_FAILED(EINVAL);
	len = endpoint_to_sockaddr(&e, &sa);
	fd = socket(sa.ss_family, server->type, 0);
	return connect(fd, (struct sockaddr *)&sa, len) < 0 ? INSIDE_FAILED(errno) : fd;
}

static int serve(struct fixture *f, int type, const char *address)
{
	const struct server server = { type, address };
	int fd = inside_run(&f->guest, open_server, &server);

	assert_true(fd >= 0);
	return fd;
}

/* ---- the fixture ---- */

static void on_changed(void *arg)
{
	struct fixture *f = arg;

	f->n_changes++;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	f->listen_state = 1;
	inside_start(&f->guest);
	if (f->guest.pid < 0)
		return 0;
	(void)snprintf(f->directory, sizeof(f->directory), "/tmp/netfwd-test-%d", (int)getpid());
	assert_int_equal(mkdir(f->directory, 0700), 0);
	assert_int_equal(inside_run(&f->guest, set_loopback_up, NULL), INSIDE_NOTHING);
	assert_int_equal(loop_new(&f->loop), 0);
	assert_int_equal(tunnel_netns_new(f->loop, f->guest.pid_text, &f->tunnel), 0);
	f->tunnel->changed = on_changed;
	f->tunnel->changed_arg = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->accepted)
		f->accepted->ops->reset(f->accepted);
	if (f->tunnel)
		f->tunnel->ops->free(f->tunnel);
	if (f->loop)
		loop_free(f->loop);
	(void)rmdir(f->directory);
	inside_stop(&f->guest);
	free(f);
	return 0;
}

static struct fixture *fixture_of(void **state)
{
	struct fixture *f = *state;

	if (f->guest.pid < 0)
		skip(); /* this machine makes no namespaces for us */
	return f;
}

static struct tunnel_place place(const char *address)
{
	struct tunnel_place p = { .endpoint.port = PORT };

	assert_int_equal(ipaddr_parse(address, &p.endpoint.addr), 0);
	return p;
}

/* What is ready goes on being so. */
static void on_ready(void *arg)
{
	struct stream *s = arg;

	s->ops->want(s, 0);
}

static struct stream *dial(struct fixture *f, struct tunnel_place to)
{
	struct stream *s;

	assert_int_equal(f->tunnel->ops->dial(f->tunnel, &to, &s), 0);
	stream_set_ready(s, on_ready, s);
	s->ops->want(s, STREAM_WRITE);
	return s;
}

static ssize_t write_text(struct stream *s, const char *text)
{
	struct iovec iov = { (void *)(uintptr_t)text, strlen(text) };

	return s->ops->write(s, &iov, 1);
}

static bool has_failed(struct stream *s, int error)
{
	return s->ops->write(s, NULL, 0) == error;
}

static void expect_bytes(struct fixture *f, struct stream *s, int fd)
{
	char got[8];
	struct iovec iov = { got, sizeof(got) };

	UNTIL(f->loop, write_text(s, "hello") == 5);
	UNTIL(f->loop, recv(fd, got, sizeof(got), MSG_DONTWAIT) == 5);
	assert_memory_equal(got, "hello", 5);
	assert_int_equal(send(fd, "world", 5, 0), 5);
	s->ops->want(s, STREAM_READ);
	UNTIL(f->loop, s->ops->read(s, &iov, 1) == 5);
	assert_memory_equal(got, "world", 5);
}

/* ---- tcp ---- */

static void expect_tcp(struct fixture *f, const char *listens, const char *dialled)
{
	int listener = serve(f, SOCK_STREAM, listens), fd = -1;
	struct stream *s = dial(f, place(dialled));

	UNTIL(f->loop, (fd = host_accept(listener)) >= 0);
	expect_bytes(f, s, fd);
	s->ops->close(s);
	close(fd);
	close(listener);
}

static void every_address_of_the_guest_is_reached(void **state)
{
	struct fixture *f = fixture_of(state);

	expect_tcp(f, "127.0.0.1", "127.0.0.1");
	expect_tcp(f, "0.0.0.0", "0.0.0.0");
	expect_tcp(f, "::1", "::1");
	expect_tcp(f, "::", "::");
}

static void a_refusal_is_told_by_the_stream(void **state)
{
	struct fixture *f = fixture_of(state);
	struct stream *s = dial(f, place("127.0.0.1"));

	UNTIL(f->loop, has_failed(s, -ECONNREFUSED));
	s->ops->reset(s);
}

static void a_burst_waits_for_sockets(void **state)
{
	enum { N = 300 };
	struct fixture *f = fixture_of(state);
	int listener = serve(f, SOCK_STREAM, "0.0.0.0"), n = 0;
	struct stream *all[N];
	int fds[N];

	for (int i = 0; i < N; i++)
		all[i] = dial(f, place("127.0.0.1"));
	all[N / 2]->ops->reset(all[N / 2]); /* a client that does not want to wait */
	while (n < N - 1)
		UNTIL(f->loop, (fds[n] = host_accept(listener)) >= 0 && ++n > 0);
	for (int i = 0; i < N; i++) {
		if (i == N / 2)
			continue;
		UNTIL(f->loop, has_failed(all[i], 0));
		all[i]->ops->close(all[i]);
	}
	while (n > 0)
		close(fds[--n]);
	close(listener);
}

static void the_store_is_full_again_in_the_end(void **state)
{
	struct fixture *f = fixture_of(state);
	unsigned int before = host_descriptors();

	for (int i = 0; i < 100; i++) {
		struct stream *s = dial(f, place("127.0.0.1"));

		UNTIL(f->loop, has_failed(s, -ECONNREFUSED));
		s->ops->reset(s);
	}
	UNTIL(f->loop, host_descriptors() == before);
}

/* ---- udp ---- */

static void on_datagram(void *arg, const struct iovec *iov, int n)
{
	struct fixture *f = arg;

	assert_int_equal(n, 1);
	assert_true(iov->iov_len < sizeof(f->received));
	memcpy(f->received, iov->iov_base, iov->iov_len);
}

static void on_refused(void *arg)
{
	struct fixture *f = arg;

	f->n_refused++;
}

static const struct udp_flow_owner flow_owner = { on_datagram, on_refused, NULL };

static void datagrams_go_both_ways_and_a_refusal_is_told(void **state)
{
	struct fixture *f = fixture_of(state);
	int server = serve(f, SOCK_DGRAM, "127.0.0.1");
	struct tunnel_place to = place("127.0.0.1");
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	struct udp_flow *flow;
	char got[8];

	assert_int_equal(f->tunnel->ops->open_udp(f->tunnel, &to.endpoint, &flow_owner, f, &flow),
			 0);
	assert_int_equal(udp_flow_send(flow, "ping", 4), 0);
	assert_int_equal(recvfrom(server, got, sizeof(got), 0, (struct sockaddr *)&sa, &len), 4);
	assert_int_equal(sendto(server, "pong", 5, 0, (struct sockaddr *)&sa, len), 5);
	UNTIL(f->loop, strcmp(f->received, "pong") == 0);
	close(server);
	assert_int_equal(udp_flow_send(flow, "ping", 4), 0);
	UNTIL(f->loop, f->n_refused == 1);
	assert_int_equal(udp_flow_send(flow, "", 0), 0);
	udp_flow_free(flow);
}

/* ---- the other direction ---- */

static void on_accepted(void *arg, struct stream *guest)
{
	struct fixture *f = arg;

	assert_null(f->accepted);
	f->accepted = guest;
	stream_set_ready(guest, on_ready, guest);
}

static void on_state(void *arg, int error)
{
	struct fixture *f = arg;

	f->listen_state = error;
}

static const struct tunnel_accept accept_owner = { .accepted = on_accepted, .state = on_state };

static struct tunnel_listener *listen_in_guest(struct fixture *f, struct tunnel_place at)
{
	struct tunnel_listener *l;

	f->listen_state = 1;
	assert_int_equal(f->tunnel->ops->listen(f->tunnel, &at, &accept_owner, f, &l), 0);
	assert_int_equal(f->listen_state, 1);
	UNTIL(f->loop, f->listen_state != 1);
	return l;
}

static void the_guest_connects_to_what_listens_for_it(void **state)
{
	const struct server client = { SOCK_STREAM, "127.0.0.1" };
	struct fixture *f = fixture_of(state);
	struct tunnel_listener *l = listen_in_guest(f, place("127.0.0.1"));
	int fd;

	assert_int_equal(f->listen_state, 0);
	fd = inside_run(&f->guest, connect_inside, &client);
	assert_true(fd >= 0);
	UNTIL(f->loop, f->accepted);
	expect_bytes(f, f->accepted, fd);
	close(fd);
	f->tunnel->ops->unlisten(l);
	assert_int_equal(inside_run(&f->guest, connect_inside, &client),
			 INSIDE_FAILED(ECONNREFUSED));
}

static void a_port_that_is_taken_in_the_guest_is_told(void **state)
{
	struct fixture *f = fixture_of(state);
	int taken = serve(f, SOCK_STREAM, "0.0.0.0");
	struct tunnel_listener *l = listen_in_guest(f, place("127.0.0.1"));

	assert_int_equal(f->listen_state, -EADDRINUSE);
	f->tunnel->ops->unlisten(l);
	close(taken);
}

static void a_udp_port_of_the_guest_is_bound(void **state)
{
	const struct server client = { SOCK_DGRAM, "127.0.0.1" };
	struct fixture *f = fixture_of(state);
	struct tunnel_place at = place("127.0.0.1");
	int server, fd;
	char got[8];

	assert_int_equal(f->tunnel->ops->bind_udp(f->tunnel, &at.endpoint, &server), 0);
	fd = inside_run(&f->guest, connect_inside, &client);
	assert_int_equal(send(fd, "ping", 4, 0), 4);
	assert_int_equal(recv(server, got, sizeof(got), 0), 4);
	close(fd);
	close(server);
}

/* ---- unix sockets ---- */

static void unix_sockets_are_found_where_the_guest_sees_them(void **state)
{
	struct fixture *f = fixture_of(state);
	char path[128];
	struct tunnel_place at = { .path = path };
	struct tunnel_listener *l;
	struct sockaddr_un sa;
	struct stream *s;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/socket", f->directory);
	s = dial(f, at);
	assert_true(has_failed(s, -ENOENT));
	s->ops->reset(s);

	l = listen_in_guest(f, at);
	assert_int_equal(f->listen_state, 0);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	sa = unix_address(path);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	UNTIL(f->loop, f->accepted);
	expect_bytes(f, f->accepted, fd);
	f->accepted->ops->reset(f->accepted);
	f->accepted = NULL;
	close(fd);

	s = dial(f, at);
	UNTIL(f->loop, f->accepted);
	s->ops->reset(s);
	f->tunnel->ops->unlisten(l);
	assert_int_equal(access(path, F_OK), -1);
}

/* ---- the end ---- */

static pid_t child_of_this_process(void)
{
	char path[64];
	pid_t first = -1, pid;
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	file = fopen(path, "re");
	assert_non_null(file);
	while (fscanf(file, "%d", &pid) == 1) /* the youngest comes last */
		first = pid;
	(void)fclose(file);
	return first;
}

static void without_its_child_the_tunnel_has_failed(void **state)
{
	struct fixture *f = fixture_of(state);
	struct tunnel_place to = place("127.0.0.1");
	struct stream *s;
	int r;

	assert_int_equal(kill(child_of_this_process(), SIGKILL), 0);
	UNTIL(f->loop, f->tunnel->state == TUNNEL_FAILED);
	assert_int_equal(f->n_changes, 1);
	assert_non_null(strstr(f->tunnel->error, "has ended"));
	while ((r = f->tunnel->ops->dial(f->tunnel, &to, &s)) == 0)
		s->ops->reset(s); /* what is left in store */
	assert_int_equal(r, -ENOTCONN);
}

static void a_namespace_that_is_none_is_an_error(void **state)
{
	struct tunnel *t;
	struct loop *loop;

	(void)state;
	assert_int_equal(loop_new(&loop), 0);
	assert_int_equal(tunnel_netns_new(loop, "/nowhere", &t), -ENOENT);
	loop_free(loop);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_address_of_the_guest_is_reached),
		TEST(a_refusal_is_told_by_the_stream),
		TEST(a_burst_waits_for_sockets),
		TEST(the_store_is_full_again_in_the_end),
		TEST(datagrams_go_both_ways_and_a_refusal_is_told),
		TEST(the_guest_connects_to_what_listens_for_it),
		TEST(a_port_that_is_taken_in_the_guest_is_told),
		TEST(a_udp_port_of_the_guest_is_bound),
		TEST(unix_sockets_are_found_where_the_guest_sees_them),
		TEST(without_its_child_the_tunnel_has_failed),
		cmocka_unit_test(a_namespace_that_is_none_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
