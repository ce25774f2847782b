/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/mem_stream.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "netstack/base/iov.h"

#define RESERVATION_SIZE 5000U /* in two pieces */

static void check(bool holds, const char *what)
{
	if (holds)
		return;
	(void)fprintf(stderr, "mem_stream: %s\n", what);
	abort();
}

static struct mem_stream *from_stream(struct stream *base)
{
	struct mem_stream *s = (struct mem_stream *)base;

	check(!s->is_closed && !s->is_reset, "used after its end");
	return s;
}

static void *grown(void *memory, size_t len)
{
	memory = realloc(memory, len);
	check(memory != NULL, "out of memory");
	return memory;
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* What a read may have now, as its result. */
static ssize_t readable(struct mem_stream *s)
{
	size_t left = s->input_len - s->input_at;

	if (s->base.error)
		return s->base.error;
	if (left && !s->is_connecting)
		return (ssize_t)least(left, s->max_read);
	if (s->has_eof && !s->is_connecting)
		return 0;
	s->waits_to_read = true;
	return -EAGAIN;
}

static ssize_t writable(struct mem_stream *s)
{
	if (s->write_error)
		s->base.error = s->write_error;
	if (s->base.error)
		return s->base.error;
	check(s->n_shutdowns == 0, "written to after its shutdown");
	if (s->takes_no_more)
		return -EPIPE;
	if (s->room && !s->is_connecting)
		return (ssize_t)least(s->room, s->max_write);
	s->waits_to_write = true;
	return -EAGAIN;
}

static void take(struct mem_stream *s, const uint8_t *data, size_t len)
{
	if (s->output_len + len > s->output_capacity) {
		s->output_capacity = 2 * (s->output_len + len);
		s->output = grown(s->output, s->output_capacity);
	}
	memcpy(s->output + s->output_len, data, len);
	s->output_len += len;
	s->room -= len;
}

static ssize_t mem_stream_read(struct stream *base, const struct iovec *iov, int n)
{
	struct mem_stream *s = from_stream(base);
	ssize_t r = readable(s);
	struct iovec from = { s->input + s->input_at, r > 0 ? (size_t)r : 0 };

	s->n_reads++;
	s->peeked = -1;
	if (r <= 0)
		return r;
	r = (ssize_t)iov_copy(iov, n, &from, 1);
	s->input_at += (size_t)r;
	return r;
}

static ssize_t mem_stream_write(struct stream *base, const struct iovec *iov, int n)
{
	struct mem_stream *s = from_stream(base);
	ssize_t r = writable(s);
	size_t len;

	check(s->reserved < 0, "written to between reserve and commit");
	if (r < 0 && (n > 0 || s->is_connecting || s->base.error))
		return r;
	if (n == 0)
		return 0;
	len = (size_t)r;
	r = 0;
	for (int i = 0; i < n && len; i++) {
		size_t some = least(iov[i].iov_len, len);

		take(s, iov[i].iov_base, some);
		len -= some;
		r += (ssize_t)some;
	}
	check(r > 0, "nothing was to be written");
	return r;
}

/* In pieces of 1, 2, 3... bytes: as scattered as can be. */
static ssize_t mem_stream_peek(struct stream *base, struct iovec *iov, int n, int *n_filled)
{
	struct mem_stream *s = from_stream(base);
	ssize_t r = readable(s), filled = 0;

	s->peeked = -1;
	*n_filled = 0;
	if (r <= 0)
		return r;
	while (*n_filled < n && filled < r) {
		size_t len = least((size_t)*n_filled + 1, (size_t)(r - filled));

		iov[(*n_filled)++] = (struct iovec){ s->input + s->input_at + filled, len };
		filled += (ssize_t)len;
	}
	s->peeked = filled;
	return filled;
}

static void mem_stream_consume(struct stream *base, size_t len)
{
	struct mem_stream *s = from_stream(base);

	check((ssize_t)len <= s->peeked, "more was consumed than peeked");
	s->input_at += len;
	s->peeked = -1;
}

static ssize_t mem_stream_reserve(struct stream *base, struct iovec *iov, int n, int *n_filled)
{
	struct mem_stream *s = from_stream(base);
	ssize_t r = writable(s);
	size_t len, first;

	check(s->reserved < 0, "reserved twice");
	*n_filled = 0;
	if (r < 0)
		return r;
	len = least((size_t)r, RESERVATION_SIZE);
	first = n > 1 ? len / 3 : len;
	s->reservation = grown(NULL, len);
	if (first)
		iov[(*n_filled)++] = (struct iovec){ s->reservation, first };
	if (len > first)
		iov[(*n_filled)++] = (struct iovec){ s->reservation + first, len - first };
	s->reserved = (ssize_t)len;
	return s->reserved;
}

static int mem_stream_commit(struct stream *base, size_t len)
{
	struct mem_stream *s = from_stream(base);

	check(s->reserved >= 0, "committed without reserve");
	check((ssize_t)len <= s->reserved, "more was committed than reserved");
	take(s, s->reservation, len);
	free(s->reservation);
	s->reservation = NULL;
	s->reserved = -1;
	return 0;
}

static void mem_stream_want(struct stream *base, unsigned int events)
{
	from_stream(base)->wanted = events;
}

static int mem_stream_shutdown(struct stream *base)
{
	struct mem_stream *s = from_stream(base);

	s->n_shutdowns++;
	return s->shutdown_error;
}

static void mem_stream_close(struct stream *base)
{
	from_stream(base)->is_closed = true;
}

static void mem_stream_reset(struct stream *base)
{
	from_stream(base)->is_reset = true;
}

/* --- the test's side ------------------------------------------------------ */

static void on_notify(void *arg)
{
	struct mem_stream *s = arg;

	if (!s->is_closed && !s->is_reset && s->base.ready)
		s->base.ready(s->base.ready_arg);
}

static void notify(struct mem_stream *s, bool *waits)
{
	if (*waits)
		loop_defer(s->loop, &s->notify);
	*waits = false;
}

void mem_stream_feed(struct mem_stream *s, const void *data, size_t len)
{
	s->input = grown(s->input, s->input_len + len + 1);
	memcpy(s->input + s->input_len, data, len);
	s->input_len += len;
	notify(s, &s->waits_to_read);
}

void mem_stream_eof(struct mem_stream *s)
{
	s->has_eof = true;
	notify(s, &s->waits_to_read);
}

void mem_stream_give_room(struct mem_stream *s, size_t len)
{
	s->room += len;
	notify(s, &s->waits_to_write);
}

void mem_stream_connected(struct mem_stream *s)
{
	s->is_connecting = false;
	notify(s, &s->waits_to_read);
	notify(s, &s->waits_to_write);
}

void mem_stream_break(struct mem_stream *s, int error)
{
	s->base.error = error;
	loop_defer(s->loop, &s->notify);
}

void mem_stream_break_writing(struct mem_stream *s, int error)
{
	s->write_error = error;
	notify(s, &s->waits_to_write);
}

void mem_stream_init(struct mem_stream *s, struct loop *loop, unsigned int abilities)
{
	*s = (struct mem_stream){
		.ops = {
			.read = mem_stream_read,
			.write = mem_stream_write,
			.want = mem_stream_want,
			.shutdown = mem_stream_shutdown,
			.close = mem_stream_close,
			.reset = mem_stream_reset,
		},
		.loop = loop,
		.max_read = SIZE_MAX / 2,
		.max_write = SIZE_MAX / 2,
		.room = SIZE_MAX / 2,
		.input = grown(NULL, 1),
		.output = grown(NULL, 1),
		.peeked = -1,
		.reserved = -1,
	};
	if (abilities & MEM_STREAM_PEEK) {
		s->ops.peek = mem_stream_peek;
		s->ops.consume = mem_stream_consume;
	}
	if (abilities & MEM_STREAM_RESERVE) {
		s->ops.reserve = mem_stream_reserve;
		s->ops.commit = mem_stream_commit;
	}
	s->base.ops = &s->ops;
	loop_deferred_init(&s->notify, on_notify, s);
}

void mem_stream_deinit(struct mem_stream *s)
{
	loop_cancel_deferred(&s->notify);
	free(s->input);
	free(s->output);
	free(s->reservation);
}
