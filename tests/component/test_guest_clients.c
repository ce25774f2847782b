/* SPDX-License-Identifier: Apache-2.0 */
/* Clients in the guest whose datagrams wait for a host that is slow, or does not come. */
#include "forwarder/agent/guest_clients.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "forwarder/udp_forward.h"
#include "netstack/base/loop.h"
#include "netstack/stream_fd.h"
#include "tests/support/fake_loop.h"
#include "tests/support/own_network.h"
#include "tests/support/patience.h"

struct fixture {
	struct loop *loop;
	struct udp_hub *hub;
	struct guest_clients *all;
	uint64_t n_announced;
	int answer; /* of announce() */
};

static const struct endpoint at = { IPADDR_V4(127, 0, 0, 1), 5301 };
static uint8_t bytes[65536];

static int on_announce(void *arg, uint64_t *id)
{
	struct fixture *f = arg;

	if (f->answer == 0)
		*id = ++f->n_announced;
	return f->answer;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const struct guest_clients_owner owner = { on_announce, f };

	assert_int_equal(loop_new(&f->loop), 0);
	assert_int_equal(udp_hub_new(f->loop, &f->hub), 0);
	assert_int_equal(guest_clients_new(f->loop, f->hub, &at, &owner, &f->all), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	guest_clients_free(f->all);
	udp_hub_free(f->hub);
	loop_free(f->loop);
	free(f);
	return 0;
}

static int open_client(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	struct sockaddr_storage sa;
	socklen_t len = endpoint_to_sockaddr(&at, &sa);

	assert_int_equal(connect(fd, (struct sockaddr *)&sa, len), 0);
	return fd;
}

static void send_one(struct fixture *f, int client, size_t len)
{
	assert_int_equal(send(client, bytes, len, 0), len);
	fake_loop_settle(f->loop);
}

/* What the host gets when it comes for that client; its end of the raw flow. */
static int take(struct fixture *f, uint64_t id)
{
	struct stream *stream;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	assert_int_equal(stream_fd_new(f->loop, fds[0], false, &stream), 0);
	assert_int_equal(guest_client_raw(guest_clients_find(f->all, id), stream), 0);
	return fds[1];
}

static size_t read_all(struct fixture *f, int fd)
{
	size_t total = 0;
	ssize_t n;

	for (int quiet = 0; quiet < 2;) {
		n = recv(fd, bytes, sizeof(bytes), 0);
		quiet = n > 0 ? 0 : quiet + 1;
		total += n > 0 ? (size_t)n : 0;
		fake_loop_settle(f->loop);
	}
	return total;
}

static void only_so_much_of_a_client_waits(void **state)
{
	struct fixture *f = *state;
	int client = open_client(), host;

	for (int i = 0; i < 5; i++)
		send_one(f, client, 60000);
	assert_int_equal(f->n_announced, 1);
	host = take(f, 1);
	assert_int_equal(read_all(f, host), 2 * (2 + 60000));
	assert_null(guest_clients_find(f->all, 1));
	send_one(f, client, 10);
	assert_int_equal(read_all(f, host), 2 + 10);
	close(client);
	close(host);
}

static void only_so_many_clients_wait_and_the_longest_waiting_goes_first(void **state)
{
	struct fixture *f = *state;
	int clients[GUEST_CLIENTS_WAITING_MAX + 1];

	for (unsigned int i = 0; i <= GUEST_CLIENTS_WAITING_MAX; i++) {
		clients[i] = open_client();
		send_one(f, clients[i], 1);
	}
	assert_null(guest_clients_find(f->all, 1));
	assert_non_null(guest_clients_find(f->all, 2));
	assert_non_null(guest_clients_find(f->all, GUEST_CLIENTS_WAITING_MAX + 1));
	/* it is announced again when it sends again */
	send_one(f, clients[0], 1);
	assert_non_null(guest_clients_find(f->all, GUEST_CLIENTS_WAITING_MAX + 2));
	assert_null(guest_clients_find(f->all, 2));
	for (unsigned int i = 0; i <= GUEST_CLIENTS_WAITING_MAX; i++)
		close(clients[i]);
}

static void a_client_that_nobody_came_for_is_announced_again(void **state)
{
	struct fixture *f = *state;
	int client = open_client(), host;

	send_one(f, client, 1000);
	fake_loop_advance(f->loop, GUEST_CLIENTS_PATIENCE_MS - 1);
	send_one(f, client, 1);
	assert_int_equal(f->n_announced, 1);
	fake_loop_advance(f->loop, 1);
	send_one(f, client, 1);
	assert_int_equal(f->n_announced, 2);
	assert_null(guest_clients_find(f->all, 1));
	host = take(f, 2); /* what was meant for the first time is old */
	assert_int_equal(read_all(f, host), 2 + 1);
	close(client);
	close(host);
}

static void a_client_that_cannot_be_announced_is_tried_at_its_next_datagram(void **state)
{
	struct fixture *f = *state;
	int client = open_client();

	f->answer = -EAGAIN;
	send_one(f, client, 1);
	assert_null(guest_clients_find(f->all, 0));
	f->answer = 0;
	send_one(f, client, 1);
	assert_non_null(guest_clients_find(f->all, 1));
	close(client);
}

static void a_flow_that_the_host_ends_is_made_anew_by_the_next_datagram(void **state)
{
	struct fixture *f = *state;
	int client = open_client(), host;

	send_one(f, client, 1);
	host = take(f, 1);
	assert_int_equal(read_all(f, host), 2 + 1);
	close(host);
	fake_loop_settle(f->loop);
	send_one(f, client, 5);
	assert_int_equal(f->n_announced, 2);
	host = take(f, 2);
	assert_int_equal(read_all(f, host), 2 + 5);
	close(client);
	close(host);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(only_so_much_of_a_client_waits),
		TEST(only_so_many_clients_wait_and_the_longest_waiting_goes_first),
		TEST(a_client_that_nobody_came_for_is_announced_again),
		TEST(a_client_that_cannot_be_announced_is_tried_at_its_next_datagram),
		TEST(a_flow_that_the_host_ends_is_made_anew_by_the_next_datagram),
	};

	own_network_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
