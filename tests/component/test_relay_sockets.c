/* SPDX-License-Identifier: Apache-2.0 */
/* A relay between sockets of the kernel: what is much goes through a pipe, and
 * nobody notices. */
#include "netstack/relay.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "netstack/base/loop.h"
#include "netstack/stream.h"
#include "netstack/stream_fd.h"
#include "netstack/stream_late.h"
#include "tests/support/fake_loop.h"
#include "tests/support/host_socket.h"
#include "tests/support/patience.h"

#define SIZE (4U << 20) /* many times what is copied, and what a pipe holds */
#define PIPE_DESCRIPTORS 2U

struct fixture {
	struct loop *loop;
	int client, server; /* the far ends */
	struct relay *relay;
	struct relay_result result;
	unsigned int n_done;
	unsigned int n_descriptors; /* before anything was moved */
	size_t sent, received;
};

static uint8_t pattern[SIZE], got[SIZE];

static void on_done(void *arg, const struct relay_result *result)
{
	struct fixture *f = arg;

	f->relay = NULL;
	f->result = *result;
	f->n_done++;
}

static struct stream *near_end(struct fixture *f, int *far)
{
	struct stream *s;
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends),
			 0);
	*far = ends[1];
	assert_int_equal(stream_fd_new(f->loop, ends[0], false, &s), 0);
	return s;
}

static void not_dropped(void *arg)
{
	(void)arg;
	fail();
}

/* The server's end comes late, as it does where several ways are tried. */
static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct stream_late *late;
	struct stream *ends[2];

	for (size_t i = 0; i < SIZE; i++)
		pattern[i] = (uint8_t)(i * 7 + i / 251);
	memset(got, 0, sizeof(got));
	assert_int_equal(loop_new(&f->loop), 0);
	assert_int_equal(stream_late_new(not_dropped, NULL, &late), 0);
	ends[0] = near_end(f, &f->client);
	ends[1] = stream_late_stream(late);
	assert_int_equal(relay_new(f->loop, ends, on_done, f, &f->relay), 0);
	fake_loop_settle(f->loop);
	stream_late_become(late, near_end(f, &f->server));
	f->n_descriptors = host_descriptors();
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	relay_free(f->relay);
	close(f->client);
	close(f->server);
	loop_free(f->loop);
	free(f);
	return 0;
}

static void send_some(struct fixture *f, int fd)
{
	ssize_t n = send(fd, pattern + f->sent, SIZE - f->sent, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n > 0)
		f->sent += (size_t)n;
}

static bool receive_some(struct fixture *f, int fd)
{
	ssize_t n = recv(fd, got + f->received, SIZE - f->received, MSG_DONTWAIT);

	if (n > 0)
		f->received += (size_t)n;
	return n >= 0 || errno == EAGAIN;
}

static bool carry(struct fixture *f, int from, int to)
{
	send_some(f, from);
	fake_loop_settle(f->loop);
	(void)receive_some(f, to);
	return f->received == SIZE;
}

static void expect_carried(struct fixture *f, int from, int to)
{
	f->sent = f->received = 0;
	while (!carry(f, from, to))
		;
	assert_memory_equal(got, pattern, SIZE);
}

static void much_goes_through_a_pipe_whole_and_in_order(void **state)
{
	struct fixture *f = *state;

	expect_carried(f, f->client, f->server);
	assert_int_equal(host_descriptors(), f->n_descriptors + PIPE_DESCRIPTORS);
	expect_carried(f, f->server, f->client);
	assert_int_equal(host_descriptors(), f->n_descriptors + 2 * PIPE_DESCRIPTORS);
	assert_int_equal(relay_bytes(f->relay, RELAY_A_TO_B), SIZE);
	assert_int_equal(relay_bytes(f->relay, RELAY_B_TO_A), SIZE);
}

static void little_needs_no_pipe(void **state)
{
	struct fixture *f = *state;
	char text[8];

	for (int i = 0; i < 100; i++) {
		assert_int_equal(send(f->client, "ping", 4, 0), 4);
		UNTIL(f->loop, recv(f->server, text, sizeof(text), MSG_DONTWAIT) == 4);
	}
	assert_int_equal(host_descriptors(), f->n_descriptors);
}

static void a_reader_that_stops_stops_its_sender(void **state)
{
	struct fixture *f = *state;
	size_t before;

	do {
		before = f->sent;
		send_some(f, f->client);
		fake_loop_settle(f->loop);
	} while (f->sent > before);
	assert_true(f->sent < SIZE); /* sockets and a pipe are full */
	while (!carry(f, f->client, f->server))
		;
	assert_memory_equal(got, pattern, SIZE);
}

static void the_end_comes_after_all_bytes_and_leaves_no_pipe(void **state)
{
	struct fixture *f = *state;
	char byte;

	while (f->sent < SIZE) {
		send_some(f, f->client);
		fake_loop_settle(f->loop);
		(void)receive_some(f, f->server);
	}
	assert_int_equal(shutdown(f->client, SHUT_WR), 0);
	while (f->received < SIZE) {
		fake_loop_settle(f->loop);
		(void)receive_some(f, f->server);
	}
	UNTIL(f->loop, recv(f->server, &byte, 1, MSG_DONTWAIT) == 0);
	assert_memory_equal(got, pattern, SIZE);
	assert_int_equal(send(f->server, "!", 1, 0), 1); /* the other half is open */
	UNTIL(f->loop, recv(f->client, &byte, 1, MSG_DONTWAIT) == 1);
	assert_int_equal(shutdown(f->server, SHUT_WR), 0);
	UNTIL(f->loop, f->n_done == 1);
	assert_int_equal(f->result.end, RELAY_END_CLOSED);
	assert_int_equal(f->result.a_to_b_bytes, SIZE);
	assert_int_equal(f->result.b_to_a_bytes, 1);
	assert_int_equal(host_descriptors(), f->n_descriptors - 2);
}

static void a_server_that_goes_in_the_middle_ends_both(void **state)
{
	struct fixture *f = *state;

	while (f->received < SIZE / 2) {
		send_some(f, f->client);
		fake_loop_settle(f->loop);
		(void)receive_some(f, f->server);
	}
	send_some(f, f->client);
	close(f->server);
	f->server = -1;
	UNTIL(f->loop, f->n_done == 1);
	assert_int_equal(f->result.end, RELAY_END_B_BROKE);
}

static void without_a_descriptor_left_it_copies(void **state)
{
	struct fixture *f = *state;
	struct rlimit before, now;
	int next = dup(f->client);

	close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	now = before;
	now.rlim_cur = (rlim_t)next + 1; /* one more, and a pipe has two */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
	expect_carried(f, f->client, f->server);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(host_descriptors(), f->n_descriptors);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(much_goes_through_a_pipe_whole_and_in_order),
		TEST(little_needs_no_pipe),
		TEST(a_reader_that_stops_stops_its_sender),
		TEST(the_end_comes_after_all_bytes_and_leaves_no_pipe),
		TEST(a_server_that_goes_in_the_middle_ends_both),
		TEST(without_a_descriptor_left_it_copies),
	};

	(void)signal(SIGPIPE, SIG_IGN); /* as in the program: splice(2) cannot be told not to */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
