/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/relay.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "netstack/base/loop.h"
#include "netstack/relay_pipe.h"
#include "netstack/stream.h"

/* Iterations of one direction before the others on the loop get their turn. */
#define MAX_MOVES 32
#define PEEK_REFS 256
#define RESERVE_REFS 64
#define COPY_SIZE (128U * 1024U)
/* What a read may take once so much has been copied that system calls count. */
#define BULK_SIZE (512U * 1024U)
#define BULK_AFTER (4UL * 1024 * 1024)
/* Bytes of a direction before it gets a pipe, which most connections never need. */
#define SPLICE_AFTER (256UL * 1024UL)

/* What one step or the whole of pump() came to. */
enum pump {
	PUMP_MOVED,
	PUMP_SOURCE_EMPTY,
	PUMP_SINK_FULL,
	PUMP_ENDED,	   /* end of stream read, and everything before it written */
	PUMP_SOURCE_BROKE, /* the error is in direction.error */
	PUMP_SINK_BROKE,
};

struct direction {
	struct stream *from, *to;
	uint64_t bytes;
	enum pump status;
	int error;
	/* what was read and the sink did not take; copying pairs only */
	uint8_t *rest;
	size_t rest_start, rest_len;
	struct relay_pipe pipe; /* pairs of sockets only */
};

struct relay {
	struct loop *loop;
	struct stream *a, *b;
	struct direction a_to_b, b_to_a;
	struct loop_deferred go_on; /* the start, and after MAX_MOVES */
	relay_done_fn *done;
	void *arg;
};

static enum pump source_said(struct direction *d, ssize_t r)
{
	if (r == -EAGAIN)
		return PUMP_SOURCE_EMPTY;
	if (r == 0)
		return PUMP_ENDED;
	d->error = (int)r;
	return PUMP_SOURCE_BROKE;
}

static enum pump sink_said(struct direction *d, ssize_t r)
{
	if (r == -EAGAIN)
		return PUMP_SINK_FULL;
	d->error = (int)r;
	return PUMP_SINK_BROKE;
}

/* The source has the bytes in memory. */
static enum pump move_peeked(struct direction *d)
{
	struct iovec iov[PEEK_REFS];
	int n;
	ssize_t r = d->from->ops->peek(d->from, iov, PEEK_REFS, &n);

	if (r <= 0)
		return source_said(d, r);
	r = d->to->ops->write(d->to, iov, n);
	if (r < 0)
		return sink_said(d, r);
	d->from->ops->consume(d->from, (size_t)r);
	d->bytes += (uint64_t)r;
	return PUMP_MOVED;
}

/* A sink that takes no more is at fault only when there is something for it: what it
 * said itself may still be on its way. */
static enum pump sink_is_closed(struct direction *d)
{
	uint8_t byte;
	const struct iovec iov = { &byte, 1 };
	ssize_t got = d->from->ops->read(d->from, &iov, 1);

	return got > 0 ? sink_said(d, -EPIPE) : source_said(d, got);
}

/* The sink has memory to be read into. */
static enum pump move_reserved(struct direction *d)
{
	struct iovec iov[RESERVE_REFS];
	int n;
	ssize_t r = d->to->ops->reserve(d->to, iov, RESERVE_REFS, &n), got;

	if (r == -EPIPE)
		return sink_is_closed(d);
	if (r < 0)
		return sink_said(d, r);
	got = d->from->ops->read(d->from, iov, n);
	r = d->to->ops->commit(d->to, got > 0 ? (size_t)got : 0);
	if (got <= 0)
		return source_said(d, got);
	if (r < 0)
		return sink_said(d, r);
	d->bytes += (uint64_t)got;
	return PUMP_MOVED;
}

static enum pump write_rest(struct direction *d)
{
	struct iovec iov = { d->rest + d->rest_start, d->rest_len };
	ssize_t r = d->to->ops->write(d->to, &iov, 1);

	if (r < 0)
		return sink_said(d, r);
	d->bytes += (uint64_t)r;
	d->rest_start += (size_t)r;
	d->rest_len -= (size_t)r;
	if (d->rest_len == 0) {
		free(d->rest);
		d->rest = NULL;
	}
	return PUMP_MOVED;
}

/* Neither has: through memory of ours, shared by all relays of the thread. */
static enum pump move_copied(struct direction *d)
{
	static uint8_t shared[BULK_SIZE];
	struct iovec iov = { shared, d->bytes < BULK_AFTER ? COPY_SIZE : BULK_SIZE };
	enum pump status = PUMP_MOVED;
	ssize_t got, r;

	if (d->rest_len)
		return write_rest(d);
	got = d->from->ops->read(d->from, &iov, 1);
	if (got <= 0)
		return source_said(d, got);
	iov.iov_len = (size_t)got;
	r = d->to->ops->write(d->to, &iov, 1);
	if (r < 0 && r != -EAGAIN)
		return sink_said(d, r);
	if (r == -EAGAIN) {
		status = PUMP_SINK_FULL;
		r = 0;
	}
	d->bytes += (uint64_t)r;
	if (r == got)
		return PUMP_MOVED;
	d->rest_len = (size_t)(got - r);
	d->rest_start = 0;
	d->rest = malloc(d->rest_len);
	if (!d->rest) {
		d->rest_len = 0;
		d->error = -ENOMEM;
		return PUMP_SINK_BROKE;
	}
	memcpy(d->rest, shared + r, d->rest_len);
	return status;
}

/* Both can, and there is enough to carry for a pipe to be worth it. */
static bool is_spliced(struct direction *d)
{
	if (!d->from->ops->splice_to || !d->to->ops->splice_from || d->rest_len)
		return false;
	return relay_pipe_is_open(&d->pipe) ||
	       (d->bytes >= SPLICE_AFTER && relay_pipe_open(&d->pipe) == 0);
}

static enum pump move_spliced(struct direction *d)
{
	struct relay_pipe *p = &d->pipe;
	enum pump status;
	ssize_t r;

	if (p->len == 0 && d->from->ops->peek) {
		status = move_peeked(d);
		if (status != PUMP_SOURCE_EMPTY)
			return status;
	}
	if (p->len == 0) {
		r = d->to->ops->splice_from(d->to, p->read_end, 0);
		if (r < 0) /* a pipe is no place to keep bytes in */
			return sink_said(d, r);
		if (r == 0 || (size_t)r > p->size)
			r = (ssize_t)p->size;
		r = d->from->ops->splice_to(d->from, p->write_end, (size_t)r);
		if (r <= 0)
			return source_said(d, r);
		p->len = (size_t)r;
	}
	r = d->to->ops->splice_from(d->to, p->read_end, p->len);
	if (r < 0)
		return sink_said(d, r);
	d->bytes += (uint64_t)r;
	p->len -= (size_t)r;
	return PUMP_MOVED;
}

static enum pump move_some(struct direction *d)
{
	if (is_spliced(d))
		return move_spliced(d);
	if (d->from->ops->peek)
		return move_peeked(d);
	if (d->to->ops->reserve)
		return move_reserved(d);
	return move_copied(d);
}

static void pump(struct direction *d)
{
	int r;

	if (d->status == PUMP_ENDED)
		return;
	for (int i = 0; i < MAX_MOVES; i++) {
		d->status = move_some(d);
		if (d->status != PUMP_MOVED)
			break;
	}
	if (d->status != PUMP_ENDED)
		return;
	r = d->to->ops->shutdown(d->to);
	if (r < 0) {
		d->error = r;
		d->status = PUMP_SINK_BROKE;
	}
}

static bool is_broken(const struct direction *d)
{
	return d->status == PUMP_SOURCE_BROKE || d->status == PUMP_SINK_BROKE;
}

/* A source that broke while its sink was full: no call has told. */
static void note_broken(struct direction *d)
{
	if (!d->from->error || is_broken(d))
		return;
	d->status = PUMP_SOURCE_BROKE;
	d->error = d->from->error;
}

static unsigned int wanted_events(const struct direction *reads, const struct direction *writes)
{
	unsigned int events = 0;

	if (reads->status == PUMP_SOURCE_EMPTY || reads->status == PUMP_MOVED)
		events |= STREAM_READ;
	if (writes->status == PUMP_SINK_FULL)
		events |= STREAM_WRITE;
	return events;
}

static void destroy(struct relay *r)
{
	loop_cancel_deferred(&r->go_on);
	free(r->a_to_b.rest);
	free(r->b_to_a.rest);
	relay_pipe_close(&r->a_to_b.pipe);
	relay_pipe_close(&r->b_to_a.pipe);
	free(r);
}

static void finish(struct relay *r)
{
	struct relay_result result = {
		.a_to_b_bytes = r->a_to_b.bytes,
		.b_to_a_bytes = r->b_to_a.bytes,
	};
	const struct direction *broken = is_broken(&r->a_to_b) ? &r->a_to_b : &r->b_to_a;
	relay_done_fn *done = r->done;
	void *arg = r->arg;

	if (is_broken(broken)) {
		const struct stream *culprit =
			broken->status == PUMP_SOURCE_BROKE ? broken->from : broken->to;

		result.end = culprit == r->a ? RELAY_END_A_BROKE : RELAY_END_B_BROKE;
		result.error = broken->error;
		r->a->ops->reset(r->a);
		r->b->ops->reset(r->b);
	} else {
		result.end = RELAY_END_CLOSED;
		r->a->ops->close(r->a);
		r->b->ops->close(r->b);
	}
	destroy(r);
	done(arg, &result);
}

static void on_ready(void *arg)
{
	struct relay *r = arg;

	pump(&r->a_to_b);
	pump(&r->b_to_a);
	note_broken(&r->a_to_b);
	note_broken(&r->b_to_a);
	if (is_broken(&r->a_to_b) || is_broken(&r->b_to_a) ||
	    (r->a_to_b.status == PUMP_ENDED && r->b_to_a.status == PUMP_ENDED)) {
		finish(r);
		return;
	}
	if (r->a_to_b.status == PUMP_MOVED || r->b_to_a.status == PUMP_MOVED)
		loop_defer(r->loop, &r->go_on); /* nobody said -EAGAIN, so nobody will call */
	r->a->ops->want(r->a, wanted_events(&r->a_to_b, &r->b_to_a));
	r->b->ops->want(r->b, wanted_events(&r->b_to_a, &r->a_to_b));
}

int relay_new(struct loop *loop, struct stream *const ends[2], relay_done_fn *done, void *arg,
	      struct relay **out)
{
	struct relay *r = calloc(1, sizeof(*r));

	if (!r) {
		ends[0]->ops->reset(ends[0]);
		ends[1]->ops->reset(ends[1]);
		return -ENOMEM;
	}
	r->loop = loop;
	r->a = ends[0];
	r->b = ends[1];
	r->a_to_b = (struct direction){ .from = r->a, .to = r->b, .pipe = RELAY_PIPE_CLOSED };
	r->b_to_a = (struct direction){ .from = r->b, .to = r->a, .pipe = RELAY_PIPE_CLOSED };
	r->done = done;
	r->arg = arg;
	stream_set_ready(r->a, on_ready, r);
	stream_set_ready(r->b, on_ready, r);
	loop_deferred_init(&r->go_on, on_ready, r);
	loop_defer(loop, &r->go_on);
	*out = r;
	return 0;
}

void relay_free(struct relay *r)
{
	if (!r)
		return;
	r->a->ops->reset(r->a);
	r->b->ops->reset(r->b);
	destroy(r);
}

uint64_t relay_bytes(const struct relay *relay, enum relay_direction direction)
{
	return direction == RELAY_A_TO_B ? relay->a_to_b.bytes : relay->b_to_a.bytes;
}
