/* SPDX-License-Identifier: Apache-2.0 */
/* Many guests of one stream socket on one segment, with the real loop; the test
 * plays their NICs. */
#include "netstack/link_listener.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "netstack/base/loop.h"
#include "netstack/framing.h"
#include "netstack/segment.h"
#include "tests/support/run_until.h"
#include "tests/support/unix_address.h"

#define N_GUESTS 64
#define FRAME_SIZE 60U

struct fixture {
	struct loop *loop;
	struct segment *segment;
	struct link_listener *listener;
	char dir[32], path[64];
	int guests[N_GUESTS];
	unsigned int received[N_GUESTS]; /* bytes */
	unsigned int n_up, wanted_up;
	unsigned int wanted; /* bytes for each guest */
	unsigned int to_host;
};

static void on_receive(void *arg, struct frame *frame)
{
	struct fixture *f = arg;

	(void)frame;
	f->to_host++;
}

static void ignore(void *arg)
{
	(void)arg;
}

static bool owns_nothing(void *arg, const struct mac *mac)
{
	(void)arg;
	(void)mac;
	return false;
}

static const struct segment_host host = {
	.receive = on_receive,
	.batch_done = ignore,
	.writable = ignore,
	.owns = owns_nothing,
};

static void on_guest(void *arg, struct link *link)
{
	struct fixture *f = arg;

	assert_true(link->is_transient);
	assert_int_equal(segment_add(f->segment, link, SEGMENT_GUEST), 0);
}

static int setup(void **state)
{
	static struct fixture f;
	struct link_listener_config config = {
		.path = f.path, .mtu = 1500, .guest = on_guest, .arg = &f
	};

	memset(&f, 0, sizeof(f));
	*state = &f;
	for (int i = 0; i < N_GUESTS; i++)
		f.guests[i] = -1;
	strcpy(f.dir, "/tmp/netfwd-test-XXXXXX");
	if (!mkdtemp(f.dir) || loop_new(&f.loop) < 0)
		return -1;
	(void)snprintf(f.path, sizeof(f.path), "%s/sock", f.dir);
	if (segment_new(f.loop, &host, &f, &f.segment) < 0)
		return -1;
	return link_listener_new(f.loop, &config, &f.listener);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	link_listener_free(f->listener);
	segment_free(f->segment);
	loop_free(f->loop);
	for (int i = 0; i < N_GUESTS; i++) {
		if (f->guests[i] >= 0)
			close(f->guests[i]);
	}
	assert_int_equal(access(f->path, F_OK), -1); /* the socket's file has gone */
	return rmdir(f->dir);
}

static void join(struct fixture *f, int guest)
{
	struct sockaddr_un sa = unix_address(f->path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	f->guests[guest] = fd;
}

static void say(struct fixture *f, int from, int to)
{
	uint8_t bytes[FRAMING_HEADER_SIZE + FRAME_SIZE] = { 0 };
	uint8_t *frame = bytes + FRAMING_HEADER_SIZE;

	framing_put_header(bytes, FRAME_SIZE);
	if (to < 0)
		memset(frame, 255, 6);
	else
		memcpy(frame, (uint8_t[]){ 2, 0, 0, 0, 0, (uint8_t)to }, 6);
	memcpy(frame + 6, (uint8_t[]){ 2, 0, 0, 0, 0, (uint8_t)from }, 6);
	assert_int_equal(send(f->guests[from], bytes, sizeof(bytes), 0), sizeof(bytes));
}

static void count_up(void *arg, const struct link *link)
{
	struct fixture *f = arg;

	(void)link;
	f->n_up++;
}

static bool has_links(void *arg)
{
	struct fixture *f = arg;

	f->n_up = 0;
	segment_for_each(f->segment, count_up, f);
	return f->n_up == f->wanted_up;
}

static bool all_have_received(void *arg)
{
	struct fixture *f = arg;
	bool is_done = true;

	for (int i = 0; i < N_GUESTS; i++) {
		uint8_t bytes[4096];
		ssize_t n = f->guests[i] < 0 ? -1 : recv(f->guests[i], bytes, sizeof(bytes), 0);

		if (n > 0)
			f->received[i] += (unsigned int)n;
		is_done &= f->guests[i] < 0 || f->received[i] >= f->wanted;
	}
	return is_done;
}

static void join_all(struct fixture *f)
{
	for (int i = 0; i < N_GUESTS; i++)
		join(f, i);
	f->wanted_up = N_GUESTS;
	run_until(f->loop, has_links, f);
}

static void many_guests_join_at_once_and_reach_each_other(void **state)
{
	struct fixture *f = *state;

	join_all(f);
	for (int i = 0; i < N_GUESTS; i++)
		say(f, i, -1);
	f->wanted = (N_GUESTS - 1) * (FRAMING_HEADER_SIZE + FRAME_SIZE);
	run_until(f->loop, all_have_received, f);
	assert_int_equal(f->to_host, N_GUESTS);
	for (int i = 0; i < N_GUESTS; i++)
		assert_int_equal(f->received[i], f->wanted);
	/* and now each to its neighbour alone */
	for (int i = 0; i < N_GUESTS; i++)
		say(f, i, (i + 1) % N_GUESTS);
	f->wanted += FRAMING_HEADER_SIZE + FRAME_SIZE;
	run_until(f->loop, all_have_received, f);
	run_a_little(f->loop);
	(void)all_have_received(f);
	for (int i = 0; i < N_GUESTS; i++)
		assert_int_equal(f->received[i], f->wanted);
}

static void guests_come_and_go(void **state)
{
	struct fixture *f = *state;

	join_all(f);
	for (int i = 0; i < N_GUESTS; i += 2) {
		close(f->guests[i]);
		f->guests[i] = -1;
	}
	f->wanted_up = N_GUESTS / 2;
	run_until(f->loop, has_links, f);
	for (int i = 0; i < N_GUESTS; i += 2)
		join(f, i);
	f->wanted_up = N_GUESTS;
	run_until(f->loop, has_links, f);
	say(f, 0, -1);
	say(f, 1, -1);
	f->wanted = FRAMING_HEADER_SIZE + FRAME_SIZE;
	run_until(f->loop, all_have_received, f);
}

/* A length that no frame has ends the connection it came from, and no other. */
static void a_guest_that_breaks_the_framing_loses_its_link(void **state)
{
	struct fixture *f = *state;
	uint8_t lie[4] = { 255, 255, 255, 255 };

	join_all(f);
	assert_int_equal(send(f->guests[3], lie, sizeof(lie), 0), sizeof(lie));
	f->wanted_up = N_GUESTS - 1;
	run_until(f->loop, has_links, f);
	close(f->guests[3]);
	f->guests[3] = -1;
	say(f, 0, -1);
	say(f, 1, -1);
	f->wanted = FRAMING_HEADER_SIZE + FRAME_SIZE;
	run_until(f->loop, all_have_received, f);
}

/* One that reads nothing: the others lose nothing. */
static void a_stopped_guest_stops_nobody(void **state)
{
	struct fixture *f = *state;
	unsigned int per_round = FRAMING_HEADER_SIZE + FRAME_SIZE;

	join_all(f);
	for (int i = 0; i < 3; i++)
		say(f, i, -1);
	f->wanted = 2 * per_round;
	run_until(f->loop, all_have_received, f);
	/* more than the queue of guest 0 and its socket hold, which is never read */
	int stopped = f->guests[0];

	f->guests[0] = -1;
	for (unsigned int round = 0; round < 400; round++) {
		for (unsigned int i = 0; i < 100; i++)
			say(f, 1, 0);
		say(f, 1, 2);
		f->wanted = 0;
		f->received[2] = 0;
		run_a_little(f->loop);
		while (f->received[2] < per_round) {
			run_a_little(f->loop);
			(void)all_have_received(f);
		}
	}
	assert_true(segment_counters(f->segment)->congested > 0);
	f->guests[0] = stopped;
}

static void a_path_in_use_is_refused(void **state)
{
	struct fixture *f = *state;
	const struct link_listener_config config = { .path = f->path, .guest = on_guest, .arg = f };
	struct link_listener *second;

	assert_int_equal(link_listener_new(f->loop, &config, &second), -EADDRINUSE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(many_guests_join_at_once_and_reach_each_other),
		TEST(guests_come_and_go),
		TEST(a_guest_that_breaks_the_framing_loses_its_link),
		TEST(a_stopped_guest_stops_nobody),
		TEST(a_path_in_use_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
