/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/stream_late.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "netstack/base/list.h"

struct stream_late {
	struct stream base;
	struct stream_ops ops; /* of base: those that inner has */
	struct stream *inner;  /* NULL: not yet, or failed */
	void (*dropped)(void *arg);
	void *arg;
	unsigned int wanted;
	bool is_shut; /* before there was an inner */
};

static struct stream_late *from_stream(struct stream *s)
{
	return container_of(s, struct stream_late, base);
}

/* --- while nothing carries it -------------------------------------------- */

static ssize_t early_result(struct stream *s)
{
	return s->error ? s->error : -EAGAIN;
}

static ssize_t early_read(struct stream *s, const struct iovec *iov, int n)
{
	(void)iov;
	(void)n;
	return early_result(s);
}

/* Without it a relay would take bytes out of its other stream, for which there
 * may be a better way later. */
static ssize_t early_reserve(struct stream *s, struct iovec *iov, int n, int *n_filled)
{
	(void)iov;
	(void)n;
	*n_filled = 0;
	return early_result(s);
}

static int early_commit(struct stream *s, size_t len)
{
	(void)len;
	return (int)early_result(s);
}

static void early_want(struct stream *s, unsigned int events)
{
	from_stream(s)->wanted = events;
}

static int early_shutdown(struct stream *s)
{
	from_stream(s)->is_shut = true;
	return s->error;
}

static void early_end(struct stream *s)
{
	struct stream_late *late = from_stream(s);

	if (!s->error)
		late->dropped(late->arg);
	free(late);
}

static const struct stream_ops early_ops = {
	.read = early_read,
	.write = early_read,
	.reserve = early_reserve,
	.commit = early_commit,
	.want = early_want,
	.shutdown = early_shutdown,
	.close = early_end,
	.reset = early_end,
};

int stream_late_new(void (*dropped)(void *arg), void *arg, struct stream_late **out)
{
	struct stream_late *late = calloc(1, sizeof(*late));

	if (!late)
		return -ENOMEM;
	late->ops = early_ops;
	late->base.ops = &late->ops;
	late->dropped = dropped;
	late->arg = arg;
	*out = late;
	return 0;
}

struct stream *stream_late_stream(struct stream_late *late)
{
	return &late->base;
}

/* --- afterwards ---------------------------------------------------------- */

static ssize_t late_read(struct stream *s, const struct iovec *iov, int n)
{
	struct stream *inner = from_stream(s)->inner;

	return inner->ops->read(inner, iov, n);
}

static ssize_t late_write(struct stream *s, const struct iovec *iov, int n)
{
	struct stream *inner = from_stream(s)->inner;

	return inner->ops->write(inner, iov, n);
}

static ssize_t late_peek(struct stream *s, struct iovec *iov, int n, int *n_filled)
{
	struct stream *inner = from_stream(s)->inner;

	return inner->ops->peek(inner, iov, n, n_filled);
}

static void late_consume(struct stream *s, size_t len)
{
	struct stream *inner = from_stream(s)->inner;

	inner->ops->consume(inner, len);
}

static ssize_t late_reserve(struct stream *s, struct iovec *iov, int n, int *n_filled)
{
	struct stream *inner = from_stream(s)->inner;

	return inner->ops->reserve(inner, iov, n, n_filled);
}

static int late_commit(struct stream *s, size_t len)
{
	struct stream *inner = from_stream(s)->inner;

	return inner->ops->commit(inner, len);
}

static ssize_t late_splice_to(struct stream *s, int pipe, size_t max)
{
	struct stream *inner = from_stream(s)->inner;

	return inner->ops->splice_to(inner, pipe, max);
}

static ssize_t late_splice_from(struct stream *s, int pipe, size_t max)
{
	struct stream *inner = from_stream(s)->inner;

	return inner->ops->splice_from(inner, pipe, max);
}

static void late_want(struct stream *s, unsigned int events)
{
	struct stream *inner = from_stream(s)->inner;

	inner->ops->want(inner, events);
}

static int late_shutdown(struct stream *s)
{
	struct stream *inner = from_stream(s)->inner;

	return inner->ops->shutdown(inner);
}

static void late_close(struct stream *s)
{
	struct stream_late *late = from_stream(s);

	late->inner->ops->close(late->inner);
	free(late);
}

static void late_reset(struct stream *s)
{
	struct stream_late *late = from_stream(s);

	late->inner->ops->reset(late->inner);
	free(late);
}

static struct stream_ops ops_like(const struct stream_ops *inner)
{
	return (struct stream_ops){
		.read = late_read,
		.write = late_write,
		.peek = inner->peek ? late_peek : NULL,
		.consume = inner->consume ? late_consume : NULL,
		.reserve = inner->reserve ? late_reserve : NULL,
		.commit = inner->commit ? late_commit : NULL,
		.splice_to = inner->splice_to ? late_splice_to : NULL,
		.splice_from = inner->splice_from ? late_splice_from : NULL,
		.want = late_want,
		.shutdown = late_shutdown,
		.close = late_close,
		.reset = late_reset,
	};
}

static void on_inner_ready(void *arg)
{
	struct stream_late *late = arg;

	late->base.error = late->inner->error;
	if (late->base.ready)
		late->base.ready(late->base.ready_arg);
}

void stream_late_become(struct stream_late *late, struct stream *inner)
{
	assert(!late->inner && !late->base.error);
	late->inner = inner;
	late->ops = ops_like(inner->ops);
	stream_set_ready(inner, on_inner_ready, late);
	if (late->is_shut)
		(void)inner->ops->shutdown(inner); /* fails if it broke, which it tells */
	inner->ops->want(inner, late->wanted);
	on_inner_ready(late);
}

void stream_late_fail(struct stream_late *late, int error)
{
	assert(!late->inner && error < 0);
	late->base.error = error;
	if (late->base.ready)
		late->base.ready(late->base.ready_arg);
}
