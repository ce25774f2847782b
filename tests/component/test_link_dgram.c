/* SPDX-License-Identifier: Apache-2.0 */
/* link_dgram.c with a loop whose clock the test moves. The test plays the
 * guest: QEMU, bound and not connected, or vfkit, bound and connected. */
#include "netstack/link_dgram.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "netstack/base/loop.h"
#include "tests/support/fake_loop.h"
#include "tests/support/link_probe.h"
#include "tests/support/unix_address.h"

#define MTU 65520

struct fixture {
	struct loop *loop;
	struct link_probe probe;
	char dir[32], path[64], guest_path[64], other_path[64];
	int guest, other;
	unsigned int n_received;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	f->guest = f->other = -1;
	memcpy(f->dir, "/tmp/netfwd-test-XXXXXX", 24);
	if (!mkdtemp(f->dir))
		return -1;
	(void)snprintf(f->path, sizeof(f->path), "%s/netfwd", f->dir);
	(void)snprintf(f->guest_path, sizeof(f->guest_path), "%s/guest", f->dir);
	(void)snprintf(f->other_path, sizeof(f->other_path), "%s/other", f->dir);
	return loop_new(&f->loop);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	link_free(f->probe.link);
	loop_free(f->loop);
	if (f->guest >= 0)
		close(f->guest);
	if (f->other >= 0)
		close(f->other);
	(void)unlink(f->guest_path);
	(void)unlink(f->other_path);
	(void)unlink(f->path);
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

/* ---- the guest's end ---- */

/* As QEMU does it: removes what is there, binds, does not connect. */
static int guest_bind(const char *path)
{
	(void)unlink(path);
	return unix_bound(SOCK_DGRAM, path);
}

/* 0 or -errno. */
static int guest_send(struct fixture *f, int fd, const void *data, size_t len)
{
	struct sockaddr_un sa = unix_address(f->path);
	ssize_t n = sendto(fd, data, len, 0, (struct sockaddr *)&sa, sizeof(sa));

	return n == (ssize_t)len ? 0 : -errno;
}

static int guest_send_frame(struct fixture *f, int fd, size_t len, unsigned int number)
{
	static uint8_t bytes[FRAME_MAX_SIZE];

	numbered_frame(bytes, len, number);
	return guest_send(f, fd, bytes, len);
}

static void bind_link(struct fixture *f)
{
	struct link *link;

	assert_int_equal(link_dgram_bind(f->loop, f->path, MTU, &link), 0);
	link_probe_attach(&f->probe, link);
	fake_loop_settle(f->loop);
}

/* A link with a guest that has sent frame number 0. */
static void bind_link_and_guest(struct fixture *f)
{
	bind_link(f);
	f->guest = guest_bind(f->guest_path);
	assert_int_equal(guest_send_frame(f, f->guest, 60, 0), 0);
	fake_loop_settle(f->loop);
	assert_true(f->probe.is_up);
}

static void pair_link(struct fixture *f, int type)
{
	struct link *link;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, type, 0, fds), 0);
	assert_int_equal(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
	f->guest = fds[1];
	assert_int_equal(link_dgram_from_fd(f->loop, fds[0], MTU, &link), 0);
	link_probe_attach(&f->probe, link);
	fake_loop_settle(f->loop);
	assert_true(f->probe.is_up);
}

static int send_frame(struct fixture *f, size_t len, unsigned int number)
{
	static uint8_t bytes[FRAME_MAX_SIZE];

	numbered_frame(bytes, len, number);
	return link_probe_send(&f->probe, bytes, len);
}

/* Reads up to n datagrams, which must be the frames that are next. */
static unsigned int guest_read(struct fixture *f, int fd, unsigned int n)
{
	static uint8_t bytes[FRAME_MAX_SIZE];
	unsigned int n_read = 0;
	ssize_t len;

	while (n_read < n && (len = recv(fd, bytes, sizeof(bytes), 0)) > 0) {
		assert_true(is_numbered_frame(bytes, (size_t)len, f->n_received));
		f->n_received++;
		n_read++;
	}
	return n_read;
}

/* ---- from the guest ---- */

static const size_t sizes[] = { ETH_HEADER_SIZE, 60, 1514, 65534, 90, FRAME_MAX_SIZE, 9014 };
#define N_SIZES (sizeof(sizes) / sizeof(sizes[0]))

static void the_first_sender_is_the_guest(void **state)
{
	struct fixture *f = *state;

	bind_link(f);
	assert_false(f->probe.is_up);
	assert_int_equal(send_frame(f, 60, 0), -ENETDOWN);

	f->guest = guest_bind(f->guest_path);
	assert_int_equal(guest_send_frame(f, f->guest, 60, 0), 0);
	fake_loop_settle(f->loop);

	assert_true(f->probe.is_up);
	assert_int_equal(f->probe.n_frames, 1);
	assert_int_equal(f->probe.n_bad, 0);
}

static void the_vfkit_hello_is_no_frame(void **state)
{
	struct fixture *f = *state;

	bind_link(f);
	f->guest = guest_bind(f->guest_path);
	assert_int_equal(guest_send(f, f->guest, "VFKT", 4), 0);
	fake_loop_settle(f->loop);

	assert_true(f->probe.is_up);
	assert_int_equal(f->probe.n_frames, 0);
	assert_int_equal(f->probe.link->counters.rx_runt, 0);
	assert_int_equal(send_frame(f, 60, 0), 0);
	link_flush(f->probe.link);
	assert_int_equal(guest_read(f, f->guest, 2), 1);
}

static void frames_of_all_sizes_arrive_in_order(void **state)
{
	struct fixture *f = *state;
	unsigned int n = 1;

	bind_link_and_guest(f);
	while (n < 1000) {
		int r = guest_send_frame(f, f->guest, sizes[n % N_SIZES], n);

		if (r == 0)
			n++;
		else
			assert_int_equal(r, -EAGAIN);
		if (r < 0 || n % 40 == 0)
			fake_loop_settle(f->loop);
	}
	fake_loop_settle(f->loop);

	assert_int_equal(f->probe.n_frames, 1000);
	assert_int_equal(f->probe.n_bad, 0);
	assert_true(f->probe.n_batches < 500);
}

/* Connected to it, its datagrams do not count against max_dgram_qlen. */
static void a_guest_may_send_a_burst(void **state)
{
	struct fixture *f = *state;

	bind_link_and_guest(f);
	for (unsigned int i = 1; i < 60; i++)
		assert_int_equal(guest_send_frame(f, f->guest, 100, i), 0);
	fake_loop_settle(f->loop);

	assert_int_equal(f->probe.n_frames, 60);
	assert_true(f->probe.n_batches <= 1 + 3);
}

static void bad_sizes_are_counted_and_harmless(void **state)
{
	static uint8_t bytes[FRAME_MAX_SIZE + 100];
	struct fixture *f = *state;

	bind_link(f);
	f->guest = guest_bind(f->guest_path);
	assert_int_equal(guest_send(f, f->guest, bytes, 0), 0);
	assert_int_equal(guest_send(f, f->guest, "VFKX", 4), 0);
	assert_int_equal(guest_send(f, f->guest, bytes, ETH_HEADER_SIZE - 1), 0);
	assert_int_equal(guest_send(f, f->guest, bytes, FRAME_MAX_SIZE + 1), 0);
	fake_loop_settle(f->loop);
	assert_false(f->probe.is_up);
	assert_int_equal(guest_send_frame(f, f->guest, 60, 0), 0);
	assert_int_equal(guest_send(f, f->guest, bytes, FRAME_MAX_SIZE + 100), 0);
	assert_int_equal(guest_send_frame(f, f->guest, 60, 1), 0);
	fake_loop_settle(f->loop);

	assert_int_equal(f->probe.n_frames, 2);
	assert_int_equal(f->probe.n_bad, 0);
	assert_int_equal(f->probe.link->counters.rx_runt, 3);
	assert_int_equal(f->probe.link->counters.rx_oversized, 2);
}

static void a_sender_without_an_address_is_refused(void **state)
{
	struct fixture *f = *state;

	bind_link(f);
	f->other = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(guest_send_frame(f, f->other, 60, 0), 0);
	fake_loop_settle(f->loop);

	assert_false(f->probe.is_up);
	assert_int_equal(f->probe.n_frames, 0);
	assert_int_equal(f->probe.link->counters.rx_refused, 1);
}

static void a_second_sender_is_turned_away(void **state)
{
	struct fixture *f = *state;

	bind_link(f);
	f->guest = guest_bind(f->guest_path);
	f->other = guest_bind(f->other_path);
	assert_int_equal(guest_send_frame(f, f->guest, 60, 0), 0);
	assert_int_equal(guest_send_frame(f, f->other, 60, 77), 0); /* not connected yet */
	fake_loop_settle(f->loop);
	assert_int_equal(guest_send_frame(f, f->other, 60, 77), -EPERM);
	assert_int_equal(guest_send_frame(f, f->guest, 60, 1), 0);
	fake_loop_settle(f->loop);

	assert_int_equal(f->probe.n_frames, 2);
	assert_int_equal(f->probe.n_bad, 0);
	assert_int_equal(f->probe.n_ups, 1);
	assert_int_equal(f->probe.link->counters.rx_refused, 1);
}

static struct buffer *held[100];
static unsigned int n_held;

static void hold(struct link_probe *probe, struct frame *frame)
{
	(void)probe;
	held[n_held++] = buffer_ref(frame->owner);
}

static void a_held_frame_stays_as_it_was(void **state)
{
	struct fixture *f = *state;

	pair_link(f, SOCK_DGRAM);
	f->probe.on_frame = hold;
	n_held = 0;
	for (unsigned int i = 0; i < 100; i++) {
		static uint8_t bytes[1000];

		numbered_frame(bytes, sizeof(bytes), i);
		assert_int_equal(send(f->guest, bytes, sizeof(bytes), 0), sizeof(bytes));
		if (i % 10 == 9)
			fake_loop_settle(f->loop);
	}

	assert_int_equal(n_held, 100);
	for (unsigned int i = 0; i < 100; i++) {
		assert_true(is_numbered_frame(held[i]->data, 1000, i));
		buffer_unref(held[i]);
	}
}

/* ---- to the guest ---- */

/* The guest stops reading; later it goes on, one datagram at a time. */
static void fill_and_drain(struct fixture *f, int guest)
{
	unsigned int n = 0;
	int r;

	while ((r = send_frame(f, n % 5 ? 1514 : 65534, n)) == 0) {
		link_flush(f->probe.link);
		n++;
		assert_true(n < 100000);
	}
	assert_int_equal(r, -EAGAIN);
	assert_int_equal(f->probe.link->counters.tx_frames, n);
	fake_loop_settle(f->loop); /* would not settle if it span */
	fake_loop_advance(f->loop, 50);
	assert_int_equal(f->probe.n_writable, 0);

	while (f->n_received < n) {
		assert_int_equal(guest_read(f, guest, 1), 1);
		fake_loop_settle(f->loop);
		fake_loop_advance(f->loop, 10);
	}
	assert_int_equal(guest_read(f, guest, 1), 0);
	assert_int_equal(f->probe.n_writable, 1);
	assert_int_equal(f->probe.link->counters.tx_dropped, 0);
}

static void a_guest_that_stops_reading_loses_nothing(void **state)
{
	struct fixture *f = *state;

	bind_link_and_guest(f);
	fill_and_drain(f, f->guest);
}

static void nor_does_one_that_is_connected_to_us(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un sa = unix_address(f->path);

	bind_link(f);
	f->guest = guest_bind(f->guest_path);
	assert_int_equal(connect(f->guest, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(send(f->guest, "VFKT", 4, 0), 4);
	fake_loop_settle(f->loop);
	assert_true(f->probe.is_up);

	fill_and_drain(f, f->guest);
}

static void nor_does_one_on_a_socket_pair(void **state)
{
	static const int types[] = { SOCK_DGRAM, SOCK_SEQPACKET };
	struct fixture *f = *state;

	for (int i = 0; i < 2; i++) {
		pair_link(f, types[i]);
		fill_and_drain(f, f->guest);
		link_free(f->probe.link);
		f->probe.link = NULL;
		close(f->guest);
		f->guest = -1;
		f->n_received = 0;
	}
}

static void frames_of_a_batch_leave_at_flush(void **state)
{
	struct fixture *f = *state;

	pair_link(f, SOCK_DGRAM);
	for (unsigned int i = 0; i < 5; i++)
		assert_int_equal(send_frame(f, 100, i), 0);
	assert_int_equal(guest_read(f, f->guest, 10), 0);
	link_flush(f->probe.link);

	assert_int_equal(guest_read(f, f->guest, 10), 5);
}

static void short_frames_are_padded(void **state)
{
	struct fixture *f = *state;
	uint8_t bytes[128];

	pair_link(f, SOCK_DGRAM);
	assert_int_equal(send_frame(f, 42, 0), 0);
	link_flush(f->probe.link);

	assert_int_equal(recv(f->guest, bytes, sizeof(bytes), 0), ETH_MIN_SIZE);
	assert_true(is_numbered_frame(bytes, 42, 0));
}

/* ---- guests that come and go ---- */

static void a_guest_that_left_is_noticed_by_a_send(void **state)
{
	struct fixture *f = *state;

	bind_link_and_guest(f);
	close(f->guest);
	f->guest = -1;

	assert_int_equal(send_frame(f, 60, 0), 0);
	f->probe.is_in_send = true;
	link_flush(f->probe.link);
	f->probe.is_in_send = false;
	assert_int_equal(send_frame(f, 60, 0), -ENETDOWN);
	assert_true(f->probe.is_up);
	fake_loop_settle(f->loop);
	assert_false(f->probe.is_up);

	f->guest = guest_bind(f->guest_path);
	assert_int_equal(guest_send_frame(f, f->guest, 60, 1), 0);
	fake_loop_settle(f->loop);
	assert_true(f->probe.is_up);
	assert_int_equal(f->probe.n_frames, 2);
}

/* Killed, its file left behind, and nothing to send to it. */
static void a_guest_that_died_in_silence_is_noticed_in_time(void **state)
{
	struct fixture *f = *state;

	bind_link_and_guest(f);
	fake_loop_advance(f->loop, 10000);
	assert_true(f->probe.is_up);
	close(f->guest);
	f->guest = -1;

	fake_loop_advance(f->loop, 1000);

	assert_false(f->probe.is_up);
	assert_int_equal(f->probe.n_downs, 1);
}

/* QEMU started again within that second: its first datagrams are refused by
 * the kernel, and it tries again (DHCP does). */
static void a_successor_on_the_same_path_takes_over(void **state)
{
	struct fixture *f = *state;

	bind_link_and_guest(f);
	close(f->guest);
	f->guest = guest_bind(f->guest_path);
	assert_int_equal(guest_send_frame(f, f->guest, 60, 1), -EPERM);
	fake_loop_advance(f->loop, 1000);
	assert_false(f->probe.is_up);

	assert_int_equal(guest_send_frame(f, f->guest, 60, 1), 0);
	fake_loop_settle(f->loop);

	assert_true(f->probe.is_up);
	assert_int_equal(f->probe.n_ups, 2);
	assert_int_equal(f->probe.n_frames, 2);
	assert_int_equal(f->probe.n_bad, 0);
}

static void a_guest_at_another_path_may_follow(void **state)
{
	struct fixture *f = *state;

	bind_link_and_guest(f);
	close(f->guest);
	f->guest = -1;
	fake_loop_advance(f->loop, 1000);
	f->other = guest_bind(f->other_path);
	assert_int_equal(guest_send_frame(f, f->other, 60, 1), 0);
	fake_loop_settle(f->loop);
	assert_true(f->probe.is_up);

	assert_int_equal(send_frame(f, 60, 0), 0);
	link_flush(f->probe.link);
	assert_int_equal(guest_read(f, f->other, 2), 1);
}

/* Frames that were queued for the last guest are not for the next one. */
static void a_new_guest_gets_nothing_of_the_old_one(void **state)
{
	struct fixture *f = *state;

	bind_link_and_guest(f);
	while (send_frame(f, 1514, 999) == 0)
		link_flush(f->probe.link);
	close(f->guest);
	fake_loop_settle(f->loop);
	fake_loop_advance(f->loop, 1000);
	f->guest = guest_bind(f->guest_path);
	assert_int_equal(guest_send_frame(f, f->guest, 60, 1), 0);
	fake_loop_settle(f->loop);

	assert_int_equal(send_frame(f, 60, 0), 0);
	link_flush(f->probe.link);
	assert_int_equal(guest_read(f, f->guest, 2), 1);
	assert_int_equal(f->probe.n_downs, 1);
	assert_int_equal(f->probe.n_ups, 2);
}

static void a_closed_seqpacket_pair_stays_down(void **state)
{
	struct fixture *f = *state;

	pair_link(f, SOCK_SEQPACKET);
	close(f->guest);
	f->guest = -1;
	fake_loop_settle(f->loop);

	assert_false(f->probe.is_up);
	assert_int_equal(send_frame(f, 60, 0), -ENETDOWN);
}

static void a_closed_datagram_pair_is_noticed_by_a_send(void **state)
{
	struct fixture *f = *state;

	pair_link(f, SOCK_DGRAM);
	close(f->guest);
	f->guest = -1;
	assert_int_equal(send_frame(f, 60, 0), 0);
	link_flush(f->probe.link);
	fake_loop_settle(f->loop);

	assert_false(f->probe.is_up);
	assert_int_equal(send_frame(f, 60, 0), -ENETDOWN);
}

static void another_kind_of_descriptor_is_refused(void **state)
{
	struct fixture *f = *state;
	struct link *link;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(link_dgram_from_fd(f->loop, fds[0], MTU, &link), -EPROTOTYPE);
	assert_int_equal(fcntl(fds[0], F_GETFD), -1); /* closed */
	close(fds[1]);
}

/* The rest is unix_socket.c's. */
static void the_socket_file_goes_away_with_the_link(void **state)
{
	struct fixture *f = *state;
	struct link *link;

	bind_link(f);
	assert_int_equal(link_dgram_bind(f->loop, f->path, MTU, &link), -EADDRINUSE);
	link_free(f->probe.link);
	f->probe.link = NULL;
	assert_int_equal(access(f->path, F_OK), -1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_first_sender_is_the_guest),
		TEST(the_vfkit_hello_is_no_frame),
		TEST(frames_of_all_sizes_arrive_in_order),
		TEST(a_guest_may_send_a_burst),
		TEST(bad_sizes_are_counted_and_harmless),
		TEST(a_sender_without_an_address_is_refused),
		TEST(a_second_sender_is_turned_away),
		TEST(a_held_frame_stays_as_it_was),
		TEST(a_guest_that_stops_reading_loses_nothing),
		TEST(nor_does_one_that_is_connected_to_us),
		TEST(nor_does_one_on_a_socket_pair),
		TEST(frames_of_a_batch_leave_at_flush),
		TEST(short_frames_are_padded),
		TEST(a_guest_that_left_is_noticed_by_a_send),
		TEST(a_guest_that_died_in_silence_is_noticed_in_time),
		TEST(a_successor_on_the_same_path_takes_over),
		TEST(a_guest_at_another_path_may_follow),
		TEST(a_new_guest_gets_nothing_of_the_old_one),
		TEST(a_closed_seqpacket_pair_stays_down),
		TEST(a_closed_datagram_pair_is_noticed_by_a_send),
		TEST(another_kind_of_descriptor_is_refused),
		TEST(the_socket_file_goes_away_with_the_link),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
