/* SPDX-License-Identifier: Apache-2.0 */
/* link_stream.c with the real loop; the test plays QEMU on the other end of the
 * socket. */
#include "netstack/link_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "netstack/base/loop.h"
#include "netstack/framing.h"
#include "tests/support/link_probe.h"
#include "tests/support/run_until.h"
#include "tests/support/unix_address.h"

#define MTU 65520

struct fixture {
	struct loop *loop;
	struct link_probe probe;
	char dir[32], path[64];
	int guest; /* our end */

	/* bytes on their way to the link */
	uint8_t *to_link;
	size_t to_link_len, to_link_done, chunk;
	/* bytes that came from it */
	uint8_t *from_link;
	size_t from_link_len;
	unsigned int n_received;

	unsigned int wanted; /* for the conditions below */
	struct buffer *held[64];
	const uint8_t *held_at[64];
	size_t held_len[64];
	unsigned int n_held;
};

#define STORE_SIZE (8U << 20)

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	f->guest = -1;
	f->to_link = malloc(STORE_SIZE);
	f->from_link = malloc(STORE_SIZE);
	memcpy(f->dir, "/tmp/netfwd-test-XXXXXX", 24);
	if (!mkdtemp(f->dir))
		return -1;
	(void)snprintf(f->path, sizeof(f->path), "%s/sock", f->dir);
	return loop_new(&f->loop);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	link_free(f->probe.link);
	loop_free(f->loop);
	if (f->guest >= 0)
		close(f->guest);
	(void)unlink(f->path);
	(void)rmdir(f->dir);
	free(f->to_link);
	free(f->from_link);
	free(f);
	return 0;
}

/* ---- the guest's end ---- */

static void listen_link(struct fixture *f)
{
	struct link *link;

	assert_int_equal(link_stream_listen(f->loop, f->path, MTU, &link), 0);
	assert_int_equal(link->caps.mtu, MTU);
	assert_false(link->caps.csum || link->caps.tso);
	link_probe_attach(&f->probe, link);
}

static bool is_up(void *arg)
{
	struct fixture *f = arg;

	return f->probe.is_up;
}

static bool is_down(void *arg)
{
	struct fixture *f = arg;

	return !f->probe.is_up;
}

static void connect_guest(struct fixture *f)
{
	f->guest = unix_connected(SOCK_STREAM | SOCK_NONBLOCK, f->path);
	run_until(f->loop, is_up, f);
}

/* A link on one end of a socket pair. */
static void pair_link_unannounced(struct fixture *f)
{
	struct link *link;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
	f->guest = fds[1];
	assert_int_equal(link_stream_from_fd(f->loop, fds[0], MTU, &link), 0);
	link_probe_attach(&f->probe, link);
}

static void pair_link(struct fixture *f)
{
	pair_link_unannounced(f);
	run_until(f->loop, is_up, f);
}

static void queue_frame(struct fixture *f, size_t len, unsigned int number)
{
	uint8_t *at = f->to_link + f->to_link_len;

	assert_true(f->to_link_len + FRAMING_HEADER_SIZE + len <= STORE_SIZE);
	framing_put_header(at, len);
	numbered_frame(at + FRAMING_HEADER_SIZE, len, number);
	f->to_link_len += FRAMING_HEADER_SIZE + len;
}

static void queue_length(struct fixture *f, uint32_t len)
{
	framing_put_header(f->to_link + f->to_link_len, len);
	f->to_link_len += FRAMING_HEADER_SIZE;
}

/* Writes one chunk; true when all frames wanted have come up. */
static bool write_chunk(void *arg)
{
	struct fixture *f = arg;
	size_t rest = f->to_link_len - f->to_link_done;
	size_t len = rest < f->chunk ? rest : f->chunk;

	if (len > 0) {
		ssize_t n = send(f->guest, f->to_link + f->to_link_done, len, MSG_NOSIGNAL);

		if (n > 0)
			f->to_link_done += (size_t)n;
		loop_do_not_sleep(f->loop);
	}
	return f->probe.n_frames == f->wanted;
}

static void write_until_frames(struct fixture *f, size_t chunk, unsigned int n_frames)
{
	f->chunk = chunk;
	f->wanted = n_frames;
	run_until(f->loop, write_chunk, f);
}

/* Reads what there is; checks the frames against their numbers. */
static void read_frames(struct fixture *f)
{
	struct framing_window w = { f->from_link, f->from_link_len };
	struct iovec frame;
	ssize_t n;

	while ((n = recv(f->guest, f->from_link + f->from_link_len, STORE_SIZE - f->from_link_len,
			 0)) > 0)
		f->from_link_len += (size_t)n;
	w.len = f->from_link_len;
	while (framing_next(&w, &frame) == FRAMING_FRAME) {
		assert_true(is_numbered_frame(frame.iov_base, frame.iov_len, f->n_received));
		f->n_received++;
	}
	memmove(f->from_link, w.data, w.len);
	f->from_link_len = w.len;
}

static bool read_until_wanted(void *arg)
{
	struct fixture *f = arg;

	read_frames(f);
	return f->n_received == f->wanted;
}

static int send_frame(struct fixture *f, size_t len, unsigned int number)
{
	static uint8_t bytes[FRAME_MAX_SIZE];

	numbered_frame(bytes, len, number);
	return link_probe_send(&f->probe, bytes, len);
}

/* ---- from the guest ---- */

static const size_t sizes[] = { ETH_HEADER_SIZE, 60, 1514, 65534, 90, FRAME_MAX_SIZE, 9014 };
#define N_SIZES (sizeof(sizes) / sizeof(sizes[0]))

static void frames_arrive_whole_however_they_are_cut(void **state)
{
	static const size_t chunks[] = { 3, 1000, 4096, 70000, 300000 };
	struct fixture *f = *state;
	unsigned int number = 0;

	pair_link(f);
	for (size_t c = 0; c < sizeof(chunks) / sizeof(chunks[0]); c++) {
		unsigned int n = chunks[c] < 100 ? 3 : 5 * N_SIZES;

		f->to_link_len = f->to_link_done = 0;
		for (unsigned int i = 0; i < n; i++)
			queue_frame(f, sizes[i % N_SIZES], number++);
		write_until_frames(f, chunks[c], number);
	}

	assert_int_equal(f->probe.n_bad, 0);
	assert_int_equal(f->probe.link->counters.rx_frames, number);
}

static void a_batch_has_many_frames(void **state)
{
	struct fixture *f = *state;

	pair_link(f);
	for (unsigned int i = 0; i < 100; i++)
		queue_frame(f, 60, i);
	write_until_frames(f, STORE_SIZE, 100);
	run_a_little(f->loop);

	assert_int_equal(f->probe.n_bad, 0);
	assert_true(f->probe.n_batches >= 1);
	assert_true(f->probe.n_batches <= 2);
}

static void hold(struct link_probe *probe, struct frame *frame)
{
	struct fixture *f = container_of(probe, struct fixture, probe);

	if (f->n_held == 64)
		return;
	assert_non_null(frame->owner);
	f->held[f->n_held] = buffer_ref(frame->owner);
	f->held_at[f->n_held] = frame->refs[0].iov_base;
	f->held_len[f->n_held] = frame->refs[0].iov_len;
	f->n_held++;
}

static void a_held_frame_stays_as_it_was(void **state)
{
	struct fixture *f = *state;

	pair_link(f);
	f->probe.on_frame = hold;
	for (unsigned int i = 0; i < 100; i++)
		queue_frame(f, sizes[i % N_SIZES], i);

	write_until_frames(f, 50000, 100);

	assert_int_equal(f->n_held, 64);
	for (unsigned int i = 0; i < 64; i++) {
		assert_true(is_numbered_frame(f->held_at[i], f->held_len[i], i));
		buffer_unref(f->held[i]);
	}
}

/* Many small frames, each in a read of its own, share buffers. */
static void held_small_frames_do_not_pin_a_buffer_each(void **state)
{
	struct fixture *f = *state;
	struct buffer *first;
	unsigned int n_same = 0;

	pair_link(f);
	f->probe.on_frame = hold;
	for (unsigned int i = 0; i < 64; i++)
		queue_frame(f, 60, i);
	write_until_frames(f, 64, 64);

	first = f->held[0];
	for (unsigned int i = 0; i < 64; i++)
		n_same += f->held[i] == first;
	assert_int_equal(n_same, 64);
	for (unsigned int i = 0; i < 64; i++)
		buffer_unref(f->held[i]);
}

static void impossible_lengths_drop_only_that_guest(void **state)
{
	static const uint32_t lengths[] = { FRAME_MAX_SIZE + 1, UINT32_MAX };
	struct fixture *f = *state;
	char byte;

	listen_link(f);
	for (unsigned int i = 0; i < 2; i++) {
		connect_guest(f);
		f->to_link_len = f->to_link_done = 0;
		queue_frame(f, 100, i);
		queue_length(f, lengths[i]);
		write_until_frames(f, STORE_SIZE, i + 1);
		run_until(f->loop, is_down, f);
		assert_int_equal(recv(f->guest, &byte, 1, 0), 0);
		close(f->guest);
		f->guest = -1;
	}

	assert_int_equal(f->probe.n_bad, 0);
	assert_int_equal(f->probe.n_ups, 2);
	assert_int_equal(f->probe.n_downs, 2);
	assert_int_equal(f->probe.link->counters.rx_oversized, 2);
}

/* ---- to the guest ---- */

static void frames_of_a_batch_leave_at_flush(void **state)
{
	struct fixture *f = *state;

	pair_link(f);
	for (unsigned int i = 0; i < 5; i++)
		assert_int_equal(send_frame(f, 100, i), 0);
	read_frames(f);
	assert_int_equal(f->n_received, 0);

	link_flush(f->probe.link);
	read_frames(f);

	assert_int_equal(f->n_received, 5);
	assert_int_equal(f->probe.link->counters.tx_frames, 5);
	assert_int_equal(f->probe.link->counters.tx_bytes, 500);
}

static bool read_until_writable(void *arg)
{
	struct fixture *f = arg;

	read_frames(f);
	return f->probe.n_writable > 0;
}

/* The guest stops reading; later it goes on. Nothing may be lost, and the link
 * says when to go on. */
static void fill_and_drain(struct fixture *f, const size_t *lens, size_t n_lens)
{
	unsigned int n = 0;
	int r;

	while ((r = send_frame(f, lens[n % n_lens], n)) == 0) {
		link_flush(f->probe.link);
		n++;
		assert_true(n < 1000000);
	}
	assert_int_equal(r, -EAGAIN);
	assert_int_equal(f->probe.link->counters.tx_blocked, 1);
	assert_int_equal(f->probe.link->counters.tx_frames, n);
	run_a_little(f->loop);
	assert_int_equal(f->probe.n_writable, 0);

	run_until(f->loop, read_until_writable, f);
	assert_int_equal(send_frame(f, 60, n++), 0);
	link_flush(f->probe.link);
	f->wanted = n;
	run_until(f->loop, read_until_wanted, f);

	assert_int_equal(f->probe.n_writable, 1);
	assert_int_equal(f->probe.link->counters.tx_dropped, 0);
}

static void a_guest_that_stops_reading_loses_nothing(void **state)
{
	struct fixture *f = *state;

	pair_link(f);
	fill_and_drain(f, sizes + 1, N_SIZES - 1);
}

static void a_link_may_be_full_before_it_is_announced(void **state)
{
	static const size_t len = 1514;
	struct fixture *f = *state;

	pair_link_unannounced(f);
	fill_and_drain(f, &len, 1);
	assert_true(f->probe.is_up);
}

static void short_frames_are_padded(void **state)
{
	static const uint8_t zeros[ETH_MIN_SIZE - 42];
	uint8_t bytes[128];
	struct fixture *f = *state;

	pair_link(f);
	assert_int_equal(send_frame(f, 42, 0), 0);
	link_flush(f->probe.link);

	assert_int_equal(recv(f->guest, bytes, sizeof(bytes), 0), 4 + ETH_MIN_SIZE);
	assert_int_equal(get_be32(bytes), ETH_MIN_SIZE);
	assert_true(is_numbered_frame(bytes + 4, 42, 0));
	assert_memory_equal(bytes + 4 + 42, zeros, sizeof(zeros));
}

/* ---- guests that come and go ---- */

static void without_a_guest_nothing_is_taken(void **state)
{
	struct fixture *f = *state;

	listen_link(f);

	assert_int_equal(send_frame(f, 60, 0), -ENETDOWN);
	assert_int_equal(f->probe.link->counters.tx_dropped, 1);
	link_flush(f->probe.link);
}

/* What was queued for one guest, and half a frame of its own, are not seen by
 * the next one. */
static void a_guest_may_come_back(void **state)
{
	struct fixture *f = *state;

	listen_link(f);
	for (unsigned int i = 0; i < 3; i++) {
		connect_guest(f);
		f->to_link_len = f->to_link_done = 0;
		f->from_link_len = 0;
		queue_frame(f, 200, i);
		queue_frame(f, 200, i + 1);
		f->to_link_len -= 50;
		write_until_frames(f, STORE_SIZE, i + 1);
		while (send_frame(f, 65534, f->n_received) == 0)
			link_flush(f->probe.link);
		close(f->guest);
		f->guest = -1;
		run_until(f->loop, is_down, f);
	}
	connect_guest(f);
	f->n_received = 0;
	assert_int_equal(send_frame(f, 60, 0), 0);
	link_flush(f->probe.link);
	f->wanted = 1;
	run_until(f->loop, read_until_wanted, f);

	assert_int_equal(f->probe.n_bad, 0);
	assert_int_equal(f->probe.n_ups, 4);
	assert_int_equal(f->probe.n_downs, 3);
}

static bool second_is_closed(void *arg)
{
	char byte;

	return recv(*(int *)arg, &byte, 1, 0) == 0;
}

static void a_second_guest_is_sent_away(void **state)
{
	struct fixture *f = *state;
	int second;

	listen_link(f);
	connect_guest(f);
	second = unix_connected(SOCK_STREAM | SOCK_NONBLOCK, f->path);
	run_until(f->loop, second_is_closed, &second);
	close(second);

	queue_frame(f, 100, 0);
	write_until_frames(f, STORE_SIZE, 1);
	assert_int_equal(f->probe.n_ups, 1);
	assert_int_equal(f->probe.n_downs, 0);
}

/* The owner learns of it after the flush() that found out. */
static void a_guest_that_left_is_noticed_by_send(void **state)
{
	struct fixture *f = *state;

	pair_link(f);
	close(f->guest);
	f->guest = -1;

	assert_int_equal(send_frame(f, 60, 0), 0);
	f->probe.is_in_send = true;
	link_flush(f->probe.link);
	f->probe.is_in_send = false;
	assert_int_equal(send_frame(f, 60, 1), -ENETDOWN);
	run_until(f->loop, is_down, f);

	assert_int_equal(send_frame(f, 60, 1), -ENETDOWN);
	assert_int_equal(f->probe.link->counters.tx_dropped, 2);
	run_a_little(f->loop);
	assert_int_equal(f->probe.n_ups, 1);
}

static void send_back(struct link_probe *probe, struct frame *frame)
{
	(void)frame;
	(void)link_send(probe->link, frame);
	link_flush(probe->link);
}

static void a_guest_may_be_lost_in_the_middle_of_a_batch(void **state)
{
	struct fixture *f = *state;

	pair_link(f);
	f->probe.on_frame = send_back;
	for (unsigned int i = 0; i < 10; i++)
		queue_frame(f, 100, i);
	assert_int_equal(send(f->guest, f->to_link, f->to_link_len, 0), f->to_link_len);
	close(f->guest);
	f->guest = -1;

	run_until(f->loop, is_down, f);

	assert_true(f->probe.n_frames >= 1);
	assert_int_equal(f->probe.n_bad, 0);
}

static void another_kind_of_descriptor_is_refused(void **state)
{
	struct fixture *f = *state;
	struct link *link;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds), 0);
	assert_int_equal(link_stream_from_fd(f->loop, fds[0], MTU, &link), -EPROTOTYPE);
	assert_int_equal(fcntl(fds[0], F_GETFD), -1); /* closed */
	close(fds[1]);

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(link_stream_from_fd(f->loop, fds[0], MTU, &link), -ENOTSOCK);
	close(fds[1]);
}

/* The rest is unix_socket.c's. */
static void the_socket_file_goes_away_with_the_link(void **state)
{
	struct fixture *f = *state;
	struct link *link;

	listen_link(f);
	assert_int_equal(link_stream_listen(f->loop, f->path, MTU, &link), -EADDRINUSE);
	run_a_little(f->loop); /* the probe has come and gone */
	connect_guest(f);

	link_free(f->probe.link);
	f->probe.link = NULL;
	assert_int_equal(access(f->path, F_OK), -1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(frames_arrive_whole_however_they_are_cut),
		TEST(a_batch_has_many_frames),
		TEST(a_held_frame_stays_as_it_was),
		TEST(held_small_frames_do_not_pin_a_buffer_each),
		TEST(impossible_lengths_drop_only_that_guest),
		TEST(frames_of_a_batch_leave_at_flush),
		TEST(a_guest_that_stops_reading_loses_nothing),
		TEST(a_link_may_be_full_before_it_is_announced),
		TEST(short_frames_are_padded),
		TEST(without_a_guest_nothing_is_taken),
		TEST(a_guest_may_come_back),
		TEST(a_second_guest_is_sent_away),
		TEST(a_guest_that_left_is_noticed_by_send),
		TEST(a_guest_may_be_lost_in_the_middle_of_a_batch),
		TEST(another_kind_of_descriptor_is_refused),
		TEST(the_socket_file_goes_away_with_the_link),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
