/* SPDX-License-Identifier: Apache-2.0 */
/* Both ends of a serial line, joined by a socket pair that keeps what nobody has
 * read, as a virtio-serial port does: either end may be taken away and made anew. */
#include "forwarder/rpc/serial_port.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "forwarder/rpc/serial_frame.h"
#include "netstack/base/loop.h"
#include "netstack/stream.h"
#include "tests/support/fake_loop.h"
#include "tests/support/patience.h"

#define BULK (300 * 1000)

struct fixture {
	struct loop *loop;
	int line[2]; /* the host's end, the guest's */
	struct serial_port *host, *guest;
	struct stream *called, *accepted;
	unsigned int n_accepted, n_ready;
	int broken;
};

static void on_ready(void *arg)
{
	struct fixture *t = arg;

	t->n_ready++;
}

static void on_accepted(void *arg, struct stream *stream)
{
	struct fixture *t = arg;

	if (t->accepted)
		t->accepted->ops->close(t->accepted);
	t->accepted = stream;
	t->n_accepted++;
	stream_set_ready(stream, on_ready, t);
}

static void on_broken(void *arg, int error)
{
	struct fixture *t = arg;

	t->broken = error;
}

static void start_host(struct fixture *t)
{
	const struct serial_port_owner owner = { .broken = on_broken, .arg = t };

	assert_int_equal(serial_port_new(t->loop, dup(t->line[0]), &owner, &t->host), 0);
}

static void start_guest(struct fixture *t)
{
	const struct serial_port_owner owner = { on_accepted, on_broken, t };

	assert_int_equal(serial_port_new(t->loop, dup(t->line[1]), &owner, &t->guest), 0);
}

static void end(struct stream **stream)
{
	if (*stream)
		(*stream)->ops->close(*stream);
	*stream = NULL;
}

static void stop_host(struct fixture *t)
{
	serial_port_free(t->host); /* before its stream: it says no goodbye */
	t->host = NULL;
	end(&t->called);
}

static void stop_guest(struct fixture *t)
{
	serial_port_free(t->guest);
	t->guest = NULL;
	end(&t->accepted);
}

static int setup(void **state)
{
	struct fixture *t = calloc(1, sizeof(*t));

	*state = t;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, t->line), 0);
	return loop_new(&t->loop);
}

static int teardown(void **state)
{
	struct fixture *t = *state;

	stop_host(t);
	stop_guest(t);
	loop_free(t->loop);
	close(t->line[0]);
	close(t->line[1]);
	free(t);
	return 0;
}

static void call(struct fixture *t)
{
	assert_int_equal(serial_port_call(t->host, &t->called), 0);
	stream_set_ready(t->called, on_ready, t);
}

static bool is_open(struct fixture *t)
{
	return t->called && t->accepted && t->called->ops->write(t->called, NULL, 0) == 0 &&
	       t->accepted->ops->write(t->accepted, NULL, 0) == 0;
}

static void connect_both(struct fixture *t)
{
	start_host(t);
	start_guest(t);
	call(t);
	UNTIL(t->loop, is_open(t));
}

static void put(struct stream *s, const char *text)
{
	const struct iovec iov = { (void *)(uintptr_t)text, strlen(text) };

	assert_int_equal(s->ops->write(s, &iov, 1), iov.iov_len);
}

static ssize_t get(struct stream *s, char *out, size_t size)
{
	const struct iovec iov = { out, size - 1 };
	ssize_t n = s->ops->read(s, &iov, 1);

	out[n < 0 ? 0 : n] = '\0';
	return n;
}

/* Everything that comes next, and nothing else. */
static void expect(struct fixture *t, struct stream *s, const char *text)
{
	char got[256];

	UNTIL(t->loop, get(s, got, sizeof(got)) != -EAGAIN);
	assert_string_equal(got, text);
}

static void exchange(struct fixture *t)
{
	put(t->called, "to the guest");
	expect(t, t->accepted, "to the guest");
	put(t->accepted, "to the host");
	expect(t, t->called, "to the host");
}

static void the_ends_meet_in_whatever_order_they_start(void **state)
{
	struct fixture *t = *state;

	start_host(t);
	call(t);
	fake_loop_settle(t->loop);
	assert_int_equal(t->called->ops->write(t->called, NULL, 0), -EAGAIN);
	start_guest(t);
	UNTIL(t->loop, is_open(t));
	assert_int_equal(t->n_accepted, 1);
	exchange(t);
}

static uint8_t pattern(size_t at)
{
	return (uint8_t)(at * 7 + at / 251);
}

struct bulk {
	struct stream *from, *to;
	size_t sent, received;
};

static bool pump(struct bulk *b)
{
	static uint8_t out[BULK], in[100000];
	struct iovec iov;
	ssize_t n = 1;

	for (size_t i = 0; i < BULK; i++)
		out[i] = pattern(i);
	while (n > 0 && b->sent < BULK) {
		iov = (struct iovec){ out + b->sent, BULK - b->sent };
		n = b->from->ops->write(b->from, &iov, 1);
		if (n > 0)
			b->sent += (size_t)n;
	}
	iov = (struct iovec){ in, sizeof(in) };
	while ((n = b->to->ops->read(b->to, &iov, 1)) > 0) {
		assert_memory_equal(in, out + b->received, (size_t)n);
		b->received += (size_t)n;
	}
	return b->received == BULK;
}

static void much_arrives_as_it_was_sent(void **state)
{
	struct fixture *t = *state;
	struct bulk down, up;

	connect_both(t);
	down = (struct bulk){ .from = t->called, .to = t->accepted };
	up = (struct bulk){ .from = t->accepted, .to = t->called };
	UNTIL(t->loop, pump(&down));
	UNTIL(t->loop, pump(&up));
	exchange(t);
}

static void who_does_not_read_holds_up_the_sender(void **state)
{
	struct fixture *t = *state;
	static const char chunk[60000];
	const struct iovec iov = { (void *)(uintptr_t)chunk, sizeof(chunk) };
	size_t sent = 0;
	char got[256];
	ssize_t n = 0;

	connect_both(t);
	while (n != -EAGAIN) {
		n = t->called->ops->write(t->called, &iov, 1);
		assert_true(n > 0 || n == -EAGAIN);
		sent += n > 0 ? (size_t)n : 0;
		fake_loop_settle(t->loop);
		assert_true(sent < 4 * 1024 * 1024);
	}
	for (size_t at = 0; at < sent; at += (size_t)n) {
		UNTIL(t->loop, (n = get(t->accepted, got, sizeof(got))) != -EAGAIN);
		assert_true(n > 0);
	}
	exchange(t);
}

static void each_direction_can_end_by_itself(void **state)
{
	struct fixture *t = *state;

	connect_both(t);
	put(t->called, "the last");
	UNTIL(t->loop, t->called->ops->write(t->called, NULL, 0) == 0);
	assert_int_equal(t->called->ops->shutdown(t->called), 0);
	expect(t, t->accepted, "the last");
	expect(t, t->accepted, ""); /* the end */
	put(t->accepted, "an answer");
	expect(t, t->called, "an answer");
	end(&t->called);
	UNTIL(t->loop, t->accepted->ops->write(t->accepted, NULL, 0) == -EPIPE);
}

static void a_session_may_follow_another(void **state)
{
	struct fixture *t = *state;

	connect_both(t);
	for (int i = 0; i < 3; i++) {
		exchange(t);
		put(t->accepted, "too late");
		end(&t->called);
		call(t);
		UNTIL(t->loop, t->n_accepted == (unsigned int)i + 2 && is_open(t));
	}
	exchange(t);
	assert_int_equal(serial_port_counters(t->guest)->sessions, 4);
	assert_true(serial_port_counters(t->host)->stale_frames >= 3);
}

/* What an end leaves on the line that is taken away while it sends. */
static void leave_half_a_frame(int fd, size_t keep)
{
	static uint8_t frame[SERIAL_FRAME_MAX];
	const struct serial_frame header = { .type = SERIAL_DATA,
					     .tag = 4711,
					     .len = SERIAL_PAYLOAD_MAX };
	size_t size = serial_frame_wrap(&header, frame);

	assert_true(keep < size);
	assert_int_equal(write(fd, frame, keep), (int)keep);
}

static void a_host_that_stopped_in_a_frame_can_be_replaced(void **state)
{
	const size_t cuts[] = { 1, 31, 32, 40, 30000, SERIAL_FRAME_MAX - 1 };
	struct fixture *t = *state;

	connect_both(t);
	for (size_t i = 0; i < 6; i++) {
		put(t->accepted, "for the host before");
		stop_host(t);
		leave_half_a_frame(t->line[0], cuts[i]);
		start_host(t);
		call(t);
		UNTIL(t->loop, t->n_accepted == (unsigned int)i + 2 && is_open(t));
		exchange(t);
	}
}

static void a_guest_that_stopped_in_a_frame_can_be_replaced(void **state)
{
	const size_t cuts[] = { 1, 31, 32, 40, 30000, SERIAL_FRAME_MAX - 1 };
	struct fixture *t = *state;

	connect_both(t);
	for (size_t i = 0; i < 6; i++) {
		put(t->called, "for the guest before");
		stop_guest(t);
		leave_half_a_frame(t->line[1], cuts[i]);
		start_guest(t);
		UNTIL(t->loop, t->called->error == -ECONNRESET); /* at once, by its hello */
		end(&t->called);
		call(t);
		UNTIL(t->loop, t->n_accepted == (unsigned int)i + 2 && is_open(t));
		exchange(t);
	}
}

static void noise_does_no_harm(void **state)
{
	struct fixture *t = *state;
	uint32_t x = 1;
	uint8_t noise[50000];

	for (size_t i = 0; i < sizeof(noise); i++) {
		x = x * 1664525 + 1013904223;
		noise[i] = (uint8_t)(x >> 24);
	}
	assert_int_equal(write(t->line[0], noise, sizeof(noise)), (int)sizeof(noise));
	assert_int_equal(write(t->line[1], noise, sizeof(noise)), (int)sizeof(noise));
	connect_both(t);
	exchange(t);
	assert_true(serial_port_counters(t->guest)->bytes_skipped >= sizeof(noise) - 64);
}

static void a_line_that_ends_is_told_to_the_host(void **state)
{
	struct fixture *t = *state;

	connect_both(t);
	stop_guest(t);
	close(t->line[1]);
	t->line[1] = -1;
	UNTIL(t->loop, t->broken != 0);
	assert_int_equal(t->broken, -ECONNRESET);
	assert_int_equal(t->called->error, -ECONNRESET);
	assert_true(serial_port_call(t->host, &t->called) < 0);
}

static void ready_is_called_when_something_has_come(void **state)
{
	struct fixture *t = *state;
	char got[16];

	connect_both(t);
	fake_loop_settle(t->loop);
	t->accepted->ops->want(t->accepted, STREAM_READ);
	assert_int_equal(get(t->accepted, got, sizeof(got)), -EAGAIN);
	t->n_ready = 0;
	put(t->called, "x");
	UNTIL(t->loop, t->n_ready > 0);
	expect(t, t->accepted, "x");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_ends_meet_in_whatever_order_they_start),
		TEST(much_arrives_as_it_was_sent),
		TEST(who_does_not_read_holds_up_the_sender),
		TEST(each_direction_can_end_by_itself),
		TEST(a_session_may_follow_another),
		TEST(a_host_that_stopped_in_a_frame_can_be_replaced),
		TEST(a_guest_that_stopped_in_a_frame_can_be_replaced),
		TEST(noise_does_no_harm),
		TEST(a_line_that_ends_is_told_to_the_host),
		TEST(ready_is_called_when_something_has_come),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
