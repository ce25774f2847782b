/* SPDX-License-Identifier: Apache-2.0 */
/* TCP forwards over real loopback sockets; the guest is a socket too. */
#include "forwarder/tcp_forward.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "netstack/base/loop.h"
#include "netstack/stream_fd.h"
#include "tests/support/fake_loop.h"
#include "tests/support/patience.h"

struct fixture {
	struct loop *loop;
	struct tcp_forward *forward;
	int guest_listener; /* what dial() connects to */
	struct endpoint guest;
	int dial_result;
};

static int dial(void *arg, struct stream **out)
{
	struct fixture *t = arg;
	struct sockaddr_storage sa;
	socklen_t len = endpoint_to_sockaddr(&t->guest, &sa);
	int fd;

	if (t->dial_result < 0)
		return t->dial_result;
	fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&sa, len) < 0 && errno != EINPROGRESS) {
		close(fd);
		return -errno;
	}
	return stream_fd_new(t->loop, fd, true, out);
}

static void serve(struct fixture *t, const struct endpoint *host)
{
	const struct tcp_dialer dialer = { .dial = dial, .arg = t };

	assert_int_equal(tcp_forward_new(t->loop, host, &dialer, &t->forward), 0);
	assert_int_equal(tcp_forward_start(t->forward), 0);
}

static const struct endpoint any_port4 = { IPADDR_V4(127, 0, 0, 1), 0 };
static const struct endpoint any_port6 = { { { [15] = 1 } }, 0 };

static void listen_as_guest(struct fixture *t)
{
	struct sockaddr_storage sa;
	socklen_t len = endpoint_to_sockaddr(&any_port4, &sa);

	t->guest_listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(t->guest_listener, (struct sockaddr *)&sa, len), 0);
	assert_int_equal(listen(t->guest_listener, 16), 0);
	assert_int_equal(getsockname(t->guest_listener, (struct sockaddr *)&sa, &len), 0);
	assert_int_equal(endpoint_from_sockaddr(&sa, &t->guest), 0);
}

static int setup(void **state)
{
	struct fixture *t = calloc(1, sizeof(*t));

	assert_int_equal(loop_new(&t->loop), 0);
	listen_as_guest(t);
	serve(t, &any_port4);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *t = *state;

	tcp_forward_free(t->forward);
	if (t->guest_listener >= 0)
		close(t->guest_listener);
	loop_free(t->loop);
	free(t);
	return 0;
}

static const struct tcp_forward_counters *counters(struct fixture *t)
{
	static struct tcp_forward_counters now;

	now = tcp_forward_count(t->forward);
	return &now;
}

static int try_connect(int fd, const struct endpoint *to)
{
	struct sockaddr_storage sa;
	socklen_t len = endpoint_to_sockaddr(to, &sa);

	return connect(fd, (struct sockaddr *)&sa, len) < 0 ? -errno : 0;
}

/* Connected to the forward; the kernel does that without it. */
static int client(struct fixture *t)
{
	const struct endpoint *to = tcp_forward_host(t->forward);
	int family = ipaddr_is_v4(&to->addr) ? AF_INET : AF_INET6;
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(try_connect(fd, to), 0);
	return fd;
}

static bool is_ready(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static ssize_t receive(struct fixture *t, int fd, void *data, size_t size)
{
	UNTIL(t->loop, is_ready(fd));
	return recv(fd, data, size, MSG_DONTWAIT);
}

/* The guest's end of the connection that was forwarded next. */
static int accept_as_guest(struct fixture *t)
{
	int fd;

	UNTIL(t->loop, is_ready(t->guest_listener));
	fd = accept4(t->guest_listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static void expect_text(struct fixture *t, int fd, const char *text)
{
	char got[64];

	assert_int_equal(receive(t, fd, got, sizeof(got)), (ssize_t)strlen(text));
	assert_memory_equal(got, text, strlen(text));
}

static void expect_end(struct fixture *t, int fd)
{
	char got[1];

	assert_int_equal(receive(t, fd, got, sizeof(got)), 0);
}

static void expect_reset(struct fixture *t, int fd)
{
	char got[1];

	assert_int_equal(receive(t, fd, got, sizeof(got)), -1);
	assert_int_equal(errno, ECONNRESET);
}

static void check_conversation(struct fixture *t)
{
	int fd = client(t), guest = accept_as_guest(t);

	assert_int_equal(send(fd, "question", 8, 0), 8);
	expect_text(t, guest, "question");
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	expect_end(t, guest);
	assert_int_equal(send(guest, "answer", 6, 0), 6);
	expect_text(t, fd, "answer");
	close(guest);
	expect_end(t, fd);
	close(fd);

	UNTIL(t->loop, tcp_forward_n_connections(t->forward) == 0);
	assert_int_equal(counters(t)->closed, 1);
	assert_int_equal(counters(t)->to_guest_bytes, 8);
	assert_int_equal(counters(t)->to_host_bytes, 6);
}

static void a_client_that_has_closed_its_half_still_gets_the_answer(void **state)
{
	check_conversation(*state);
}

static void ipv6_works_the_same(void **state)
{
	struct fixture *t = *state;

	tcp_forward_free(t->forward);
	serve(t, &any_port6);
	check_conversation(t);
}

static void a_failed_dial_resets_the_client(void **state)
{
	struct fixture *t = *state;
	int fd;

	t->dial_result = -ENETDOWN;
	fd = client(t);
	expect_reset(t, fd);
	assert_int_equal(counters(t)->dial_failed, 1);
	assert_int_equal(tcp_forward_n_connections(t->forward), 0);
	close(fd);
}

static void a_guest_that_refuses_resets_the_client(void **state)
{
	struct fixture *t = *state;
	int fd;

	close(t->guest_listener);
	t->guest_listener = -1;
	fd = client(t);
	expect_reset(t, fd);
	assert_int_equal(counters(t)->refused, 1);
	assert_int_equal(counters(t)->closed, 0);
	close(fd);
}

static void a_guest_that_resets_resets_the_client(void **state)
{
	const struct linger at_once = { .l_onoff = 1 };
	struct fixture *t = *state;
	int fd = client(t), guest = accept_as_guest(t);

	assert_int_equal(setsockopt(guest, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), 0);
	close(guest);
	expect_reset(t, fd);
	assert_int_equal(counters(t)->broken, 1);
	close(fd);
}

static void the_back_end_is_chosen_at_each_dial(void **state)
{
	struct fixture *t = *state;
	int first = client(t), second;
	int first_listener, guest = accept_as_guest(t);

	first_listener = t->guest_listener;
	listen_as_guest(t); /* the guest moves; the forward is not told */
	close(first_listener);
	second = client(t);
	close(accept_as_guest(t));
	expect_end(t, second);

	assert_int_equal(send(first, "still", 5, 0), 5);
	expect_text(t, guest, "still");
	close(first);
	close(second);
	close(guest);
}

static void nobody_can_connect_before_start(void **state)
{
	struct fixture *t = *state;
	const struct tcp_dialer dialer = { .dial = dial, .arg = t };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	tcp_forward_free(t->forward);
	assert_int_equal(tcp_forward_new(t->loop, &any_port4, &dialer, &t->forward), 0);
	assert_int_equal(try_connect(fd, tcp_forward_host(t->forward)), -ECONNREFUSED);
	assert_int_equal(tcp_forward_start(t->forward), 0);
	assert_int_equal(try_connect(fd, tcp_forward_host(t->forward)), 0);
	close(fd);
}

static void stop_gives_the_port_back_and_keeps_connections(void **state)
{
	struct fixture *t = *state;
	struct tcp_forward *stopped = t->forward;
	struct endpoint host = *tcp_forward_host(stopped);
	int fd = client(t), guest = accept_as_guest(t);
	int late = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	tcp_forward_stop(stopped);
	assert_int_equal(try_connect(late, &host), -ECONNREFUSED);
	close(late);
	serve(t, &host);

	assert_int_equal(send(fd, "on", 2, 0), 2);
	expect_text(t, guest, "on");
	assert_int_equal(tcp_forward_n_connections(stopped), 1);
	tcp_forward_free(stopped);
	expect_reset(t, fd);
	expect_reset(t, guest);
	close(fd);
	close(guest);
}

static void a_port_in_use_is_an_error(void **state)
{
	struct fixture *t = *state;
	const struct tcp_dialer dialer = { .dial = dial, .arg = t };
	struct tcp_forward *second = NULL;

	assert_int_equal(tcp_forward_new(t->loop, tcp_forward_host(t->forward), &dialer, &second),
			 -EADDRINUSE);
	assert_null(second);
}

static int n_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* The next descriptor is the first that is too many. */
static void allow_no_more_descriptors(struct rlimit *before)
{
	struct rlimit now;
	int next = open("/dev/null", O_RDONLY | O_CLOEXEC);

	close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, before), 0);
	now = *before;
	now.rlim_cur = (rlim_t)next;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
}

static void out_of_descriptors_it_waits_without_spinning(void **state)
{
	struct fixture *t = *state;
	int fd = client(t), guest;
	struct rlimit before;

	allow_no_more_descriptors(&before);
	UNTIL(t->loop, counters(t)->accept_pauses == 1);
	fake_loop_settle(t->loop); /* aborts if the loop does not get to sleep */
	assert_int_equal(counters(t)->accept_pauses, 1);
	fake_loop_advance(t->loop, 1000);
	assert_in_range(counters(t)->accept_pauses, 5, 50);
	assert_int_equal(counters(t)->accepted, 0);

	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	fake_loop_advance(t->loop, 1000);
	guest = accept_as_guest(t);
	assert_int_equal(send(fd, "late", 4, 0), 4);
	expect_text(t, guest, "late");
	close(fd);
	close(guest);
}

static void connections_leave_nothing_behind(void **state)
{
	struct fixture *t = *state;
	int before = n_descriptors();

	for (int round = 0; round < 20; round++) {
		int fds[10], guests[10];

		for (int i = 0; i < 10; i++)
			fds[i] = client(t);
		for (int i = 0; i < 10; i++)
			guests[i] = accept_as_guest(t);
		assert_int_equal(tcp_forward_n_connections(t->forward), 10);
		for (int i = 0; i < 10; i++) {
			close(fds[i]);
			close(guests[i]);
		}
		UNTIL(t->loop, tcp_forward_n_connections(t->forward) == 0);
	}
	assert_int_equal(counters(t)->accepted, 200);
	assert_int_equal(counters(t)->closed + counters(t)->broken, 200);
	assert_int_equal(n_descriptors(), before);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_client_that_has_closed_its_half_still_gets_the_answer),
		TEST(ipv6_works_the_same),
		TEST(a_failed_dial_resets_the_client),
		TEST(a_guest_that_refuses_resets_the_client),
		TEST(a_guest_that_resets_resets_the_client),
		TEST(the_back_end_is_chosen_at_each_dial),
		TEST(nobody_can_connect_before_start),
		TEST(stop_gives_the_port_back_and_keeps_connections),
		TEST(a_port_in_use_is_an_error),
		TEST(out_of_descriptors_it_waits_without_spinning),
		TEST(connections_leave_nothing_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
