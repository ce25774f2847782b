/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/raw_stream.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "netstack/base/list.h"
#include "netstack/stream.h"

struct raw_stream {
	struct stream base;
	struct stream_ops ops; /* those that inner has */
	struct stream *inner;
	bool is_shut;	/* our direction has ended */
	bool has_ended; /* the peer's has, in order */
};

static struct raw_stream *from_stream(struct stream *s)
{
	return container_of(s, struct raw_stream, base);
}

static ssize_t outcome(struct raw_stream *s, ssize_t r)
{
	s->base.error = s->inner->error;
	return r;
}

/* The peer closes its end in order only after ours has ended. */
static ssize_t ended(struct raw_stream *s)
{
	ssize_t r;

	if (s->is_shut || s->has_ended)
		return outcome(s, 0);
	r = s->inner->ops->write(s->inner, NULL, 0);
	if (r < 0 && r != -EAGAIN) {
		s->base.error = -ECONNRESET;
		return -ECONNRESET;
	}
	s->has_ended = true;
	return outcome(s, 0);
}

static ssize_t raw_read(struct stream *base, const struct iovec *iov, int n)
{
	struct raw_stream *s = from_stream(base);
	ssize_t r = base->error ? base->error : s->inner->ops->read(s->inner, iov, n);

	return r == 0 ? ended(s) : outcome(s, r);
}

static ssize_t raw_write(struct stream *base, const struct iovec *iov, int n)
{
	struct raw_stream *s = from_stream(base);

	return base->error ? base->error : outcome(s, s->inner->ops->write(s->inner, iov, n));
}

static ssize_t raw_peek(struct stream *base, struct iovec *iov, int n, int *n_filled)
{
	struct raw_stream *s = from_stream(base);
	ssize_t r;

	*n_filled = 0;
	if (base->error)
		return base->error;
	r = s->inner->ops->peek(s->inner, iov, n, n_filled);
	return r == 0 ? ended(s) : outcome(s, r);
}

static void raw_consume(struct stream *base, size_t len)
{
	struct stream *inner = from_stream(base)->inner;

	inner->ops->consume(inner, len);
}

static ssize_t raw_reserve(struct stream *base, struct iovec *iov, int n, int *n_filled)
{
	struct raw_stream *s = from_stream(base);

	*n_filled = 0;
	if (base->error)
		return base->error;
	return outcome(s, s->inner->ops->reserve(s->inner, iov, n, n_filled));
}

static int raw_commit(struct stream *base, size_t len)
{
	struct raw_stream *s = from_stream(base);

	return (int)outcome(s, s->inner->ops->commit(s->inner, len));
}

static void raw_want(struct stream *base, unsigned int events)
{
	struct stream *inner = from_stream(base)->inner;

	inner->ops->want(inner, events);
}

static int raw_shutdown(struct stream *base)
{
	struct raw_stream *s = from_stream(base);

	s->is_shut = true;
	return (int)outcome(s, s->inner->ops->shutdown(s->inner));
}

static void raw_close(struct stream *base)
{
	struct raw_stream *s = from_stream(base);

	s->inner->ops->close(s->inner);
	free(s);
}

static void raw_reset(struct stream *base)
{
	struct raw_stream *s = from_stream(base);

	s->inner->ops->reset(s->inner);
	free(s);
}

static struct stream_ops ops_over(const struct stream_ops *inner)
{
	return (struct stream_ops){
		.read = raw_read,
		.write = raw_write,
		.peek = inner->peek ? raw_peek : NULL,
		.consume = inner->consume ? raw_consume : NULL,
		.reserve = inner->reserve ? raw_reserve : NULL,
		.commit = inner->commit ? raw_commit : NULL,
		.want = raw_want,
		.shutdown = raw_shutdown,
		.close = raw_close,
		.reset = raw_reset,
	};
}

static void on_ready(void *arg)
{
	struct raw_stream *s = arg;

	if (!s->base.error)
		s->base.error = s->inner->error;
	if (s->base.ready)
		s->base.ready(s->base.ready_arg);
}

int raw_stream_new(struct stream *inner, struct stream **out)
{
	struct raw_stream *s = calloc(1, sizeof(*s));

	if (!s) {
		inner->ops->reset(inner);
		return -ENOMEM;
	}
	s->ops = ops_over(inner->ops);
	s->base.ops = &s->ops;
	s->base.error = inner->error;
	s->inner = inner;
	stream_set_ready(inner, on_ready, s);
	*out = &s->base;
	return 0;
}
