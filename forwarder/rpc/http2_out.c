/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "forwarder/rpc/http2.h"
#include "forwarder/rpc/http2_internal.h"
#include "netstack/stream.h"

#define OUT_MAX (256UL * 1024)	/* waiting for the transport: nothing more is made */
#define FLUSH_AT (64UL * 1024)	/* worth a system call */
#define SMALL_MAX (16UL * 1024) /* copying costs less than a system call of its own */
#define FRAME_HEAD 9U

static size_t pending(const struct http2 *h)
{
	return h->out.len - h->out.at;
}

bool http2_out_is_full(const struct http2 *h)
{
	return pending(h) >= OUT_MAX;
}

bool http2_out_has_room(const struct http2 *h)
{
	return !h->out.is_blocked && pending(h) < FLUSH_AT;
}

static int append(struct http2_out *out, const void *data, size_t len)
{
	uint8_t *larger;
	size_t capacity;

	if (out->at && out->len + len > out->capacity) {
		memmove(out->mem, out->mem + out->at, out->len - out->at);
		out->len -= out->at;
		out->at = 0;
	}
	if (out->len + len > out->capacity) {
		capacity = out->len + len < FLUSH_AT ? FLUSH_AT : 2 * (out->len + len);
		larger = realloc(out->mem, capacity);
		if (!larger)
			return -ENOMEM;
		out->mem = larger;
		out->capacity = capacity;
	}
	memcpy(out->mem + out->len, data, len);
	out->len += len;
	return 0;
}

static void sent(struct http2_out *out, size_t len)
{
	out->at += len;
	if (out->at == out->len)
		out->at = out->len = 0;
}

static void block(struct http2 *h)
{
	h->out.is_blocked = true;
	h->transport->ops->want(h->transport, STREAM_READ | STREAM_WRITE);
}

/* What the transport takes, 0 when it is full, -1 when it broke. */
static ssize_t transport_write(struct http2 *h, const struct iovec *iov, int n)
{
	ssize_t r = h->transport->ops->write(h->transport, iov, n);

	if (r == -EAGAIN) {
		block(h);
		return 0;
	}
	if (r < 0) {
		http2_fail(h, (int)r);
		return -1;
	}
	return r;
}

static int flush(struct http2 *h)
{
	while (pending(h) && !h->out.is_blocked) {
		struct iovec iov = { h->out.mem + h->out.at, pending(h) };
		ssize_t r = transport_write(h, &iov, 1);

		if (r < 0)
			return -EPIPE;
		sent(&h->out, (size_t)r);
	}
	return 0;
}

static int append_all(struct http2 *h, const struct iovec *iov, int n, size_t skip)
{
	int r = 0;

	for (int i = 0; i < n && r == 0; i++) {
		size_t skipped = skip < iov[i].iov_len ? skip : iov[i].iov_len;

		skip -= skipped;
		r = append(&h->out, (uint8_t *)iov[i].iov_base + skipped, iov[i].iov_len - skipped);
	}
	return r;
}

/* iov[0] is kept for what is pending, so that both go with one call. */
static int write_through(struct http2 *h, struct iovec *iov, int n)
{
	size_t before = pending(h), taken;
	ssize_t r;

	iov[0] = (struct iovec){ h->out.mem + h->out.at, before };
	r = before ? transport_write(h, iov, n) : transport_write(h, iov + 1, n - 1);
	if (r < 0)
		return -EPIPE;
	taken = (size_t)r;
	sent(&h->out, taken < before ? taken : before);
	return append_all(h, iov + 1, n - 1, taken < before ? 0 : taken - before);
}

int http2_out_read_pipe(struct http2 *h, int pipe, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t r = read(pipe, h->scratch + done, len - done);

		if (r <= 0)
			return -EIO;
		done += (size_t)r;
	}
	return 0;
}

/* As much as the transport takes straight out of the pipe. 0 or -EPIPE. */
static int splice_through(struct http2 *h, struct http2_stream *s)
{
	struct stream *t = h->transport;

	while (s->pipe_len && !h->out.is_blocked) {
		ssize_t r = t->ops->splice_from(t, s->pipe, s->pipe_len);

		if (r == -EAGAIN) {
			block(h);
		} else if (r <= 0) {
			http2_fail(h, r < 0 ? (int)r : -EIO);
			return -EPIPE;
		} else {
			s->pipe_len -= (size_t)r;
		}
	}
	return 0;
}

/* The frame's heads, and what is in the pipe. */
static int out_piped(struct http2 *h, const struct iovec *heads, int n, struct http2_stream *s)
{
	size_t rest;
	int r = append_all(h, heads, n, 0);

	if (r == 0 && s->pipe_len > SMALL_MAX) {
		r = flush(h);
		if (r == 0)
			r = splice_through(h, s);
	}
	rest = s->pipe_len;
	if (r < 0 || rest == 0)
		return r;
	s->pipe_len = 0;
	r = http2_out_read_pipe(h, s->pipe, rest);
	return r < 0 ? r : append(&h->out, h->scratch, rest);
}

ssize_t http2_out_control(nghttp2_session *session, const uint8_t *data, size_t len, int flags,
			  void *arg)
{
	struct http2 *h = arg;

	(void)session;
	(void)flags;
	if (http2_out_is_full(h))
		return NGHTTP2_ERR_WOULDBLOCK;
	if (append(&h->out, data, len) < 0)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	return (ssize_t)len;
}

static void queue_sent(struct http2_stream *s, size_t len)
{
	s->queue_at += len;
	if (s->queue_at < s->queue_len)
		return;
	free(s->queue);
	s->queue = NULL;
	s->queue_at = s->queue_len = s->queue_capacity = 0;
	if (s->waits_for_window) {
		struct http2_event event = { .kind = HTTP2_EVENT_WRITABLE, .stream = s };

		s->waits_for_window = false;
		http2_push(s->h, &event);
	}
}

/* NOLINTNEXTLINE(readability-function-size): nghttp2 says what it takes */
int http2_out_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *framehd,
		   size_t len, nghttp2_data_source *source, void *arg)
{
	struct http2 *h = arg;
	struct http2_stream *s = source->ptr;
	struct iovec iov[2 + HTTP2_SEND_REFS] = {
		[1] = { (void *)(uintptr_t)framehd, FRAME_HEAD },
	};
	int n = 3, r;

	(void)session;
	(void)frame;
	if (http2_out_is_full(h))
		return NGHTTP2_ERR_WOULDBLOCK;
	if (s->frame_len) {
		memcpy(iov + 2, s->frame, (size_t)s->n_frame * sizeof(*iov));
		n = 2 + s->n_frame;
	} else {
		iov[2] = (struct iovec){ s->queue + s->queue_at, len };
	}
	if (s->frame_len && s->pipe_len)
		r = out_piped(h, iov + 1, n - 1, s);
	else if (len > SMALL_MAX && !h->out.is_blocked)
		r = write_through(h, iov, n);
	else
		r = append_all(h, iov + 1, n - 1, 0);
	if (r < 0)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	if (s->frame_len)
		s->frame_len = 0;
	else
		queue_sent(s, len);
	return 0;
}

void http2_out_session(struct http2 *h)
{
	int r;

	if (h->error || h->is_sending)
		return;
	h->is_sending = true;
	r = nghttp2_session_send(h->session);
	h->is_sending = false;
	if (r < 0)
		http2_fail(h, nghttp2_is_fatal(r) && r == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EPROTO);
	if (pending(h) >= FLUSH_AT)
		(void)flush(h);
	if (pending(h) && !h->out.is_blocked) /* else the transport calls */
		loop_defer(h->loop, &h->work);
}

void http2_out_pump(struct http2 *h)
{
	bool was_full;

	do {
		http2_out_session(h);
		was_full = http2_out_is_full(h);
		if (h->error || flush(h) < 0)
			return;
	} while (was_full && !h->out.is_blocked);
}
