/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/token_stream.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "forwarder/agent_token.h"
#include "netstack/base/list.h"

struct token_stream {
	struct stream base;
	struct stream_ops ops; /* those that inner has */
	struct stream *inner;
	struct agent_token token;
	size_t n_sent; /* of token.line */
	bool has_heard;
};

static struct token_stream *from_stream(struct stream *s)
{
	return container_of(s, struct token_stream, base);
}

/* What inner has said. */
static ssize_t outcome(struct token_stream *s, ssize_t r)
{
	s->base.error = s->inner->error;
	return r;
}

static ssize_t heard(struct token_stream *s, ssize_t r, bool is_end)
{
	if (r > 0)
		s->has_heard = true;
	if (!s->has_heard && s->n_sent > 0 && (is_end || r == -ECONNRESET)) {
		s->base.error = -EACCES;
		return -EACCES;
	}
	return outcome(s, r);
}

/* 0 when the token is sent. */
static ssize_t push_token(struct token_stream *s)
{
	while (s->n_sent < s->token.len) {
		const struct iovec rest = { s->token.line + s->n_sent, s->token.len - s->n_sent };
		ssize_t r = s->inner->ops->write(s->inner, &rest, 1);

		if (r < 0)
			return outcome(s, r);
		s->n_sent += (size_t)r;
	}
	return 0;
}

static void on_ready(void *arg)
{
	struct token_stream *s = arg;

	s->base.error = s->inner->error;
	if (s->base.ready)
		s->base.ready(s->base.ready_arg);
}

static ssize_t token_stream_read(struct stream *base, const struct iovec *iov, int n)
{
	struct token_stream *s = from_stream(base);
	ssize_t r = s->inner->ops->read(s->inner, iov, n);

	return heard(s, r, r == 0 && n > 0);
}

static ssize_t token_stream_write(struct stream *base, const struct iovec *iov, int n)
{
	struct token_stream *s = from_stream(base);
	ssize_t r = push_token(s);

	return r < 0 ? r : outcome(s, s->inner->ops->write(s->inner, iov, n));
}

static ssize_t token_stream_peek(struct stream *base, struct iovec *iov, int n, int *n_filled)
{
	struct token_stream *s = from_stream(base);
	ssize_t r = s->inner->ops->peek(s->inner, iov, n, n_filled);

	return heard(s, r, r == 0 && n > 0);
}

static void token_stream_consume(struct stream *base, size_t len)
{
	struct stream *inner = from_stream(base)->inner;

	inner->ops->consume(inner, len);
}

static ssize_t token_stream_reserve(struct stream *base, struct iovec *iov, int n, int *n_filled)
{
	struct token_stream *s = from_stream(base);
	ssize_t r = push_token(s);

	*n_filled = 0;
	return r < 0 ? r : outcome(s, s->inner->ops->reserve(s->inner, iov, n, n_filled));
}

static int token_stream_commit(struct stream *base, size_t len)
{
	struct token_stream *s = from_stream(base);

	return (int)outcome(s, s->inner->ops->commit(s->inner, len));
}

static ssize_t token_stream_splice_to(struct stream *base, int pipe, size_t max)
{
	struct token_stream *s = from_stream(base);
	ssize_t r = s->inner->ops->splice_to(s->inner, pipe, max);

	return heard(s, r, r == 0 && max > 0);
}

static ssize_t token_stream_splice_from(struct stream *base, int pipe, size_t max)
{
	struct token_stream *s = from_stream(base);
	ssize_t r = push_token(s);

	return r < 0 ? r : outcome(s, s->inner->ops->splice_from(s->inner, pipe, max));
}

static void token_stream_want(struct stream *base, unsigned int events)
{
	struct stream *inner = from_stream(base)->inner;

	inner->ops->want(inner, events);
}

static int token_stream_shutdown(struct stream *base)
{
	struct stream *inner = from_stream(base)->inner;

	return inner->ops->shutdown(inner);
}

static void token_stream_close(struct stream *base)
{
	struct token_stream *s = from_stream(base);

	s->inner->ops->close(s->inner);
	free(s);
}

static void token_stream_reset(struct stream *base)
{
	struct token_stream *s = from_stream(base);

	s->inner->ops->reset(s->inner);
	free(s);
}

static struct stream_ops ops_over(const struct stream_ops *inner)
{
	return (struct stream_ops){
		.read = token_stream_read,
		.write = token_stream_write,
		.peek = inner->peek ? token_stream_peek : NULL,
		.consume = inner->consume ? token_stream_consume : NULL,
		.reserve = inner->reserve ? token_stream_reserve : NULL,
		.commit = inner->commit ? token_stream_commit : NULL,
		.splice_to = inner->splice_to ? token_stream_splice_to : NULL,
		.splice_from = inner->splice_from ? token_stream_splice_from : NULL,
		.want = token_stream_want,
		.shutdown = token_stream_shutdown,
		.close = token_stream_close,
		.reset = token_stream_reset,
	};
}

int token_stream_new(struct stream *inner, const struct agent_token *token, struct stream **out)
{
	struct token_stream *s = calloc(1, sizeof(*s));

	if (!s) {
		inner->ops->reset(inner);
		return -ENOMEM;
	}
	s->ops = ops_over(inner->ops);
	s->base.ops = &s->ops;
	s->base.error = inner->error;
	s->inner = inner;
	s->token = *token;
	stream_set_ready(inner, on_ready, s);
	*out = &s->base;
	return 0;
}
