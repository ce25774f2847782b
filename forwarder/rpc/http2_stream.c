/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/rpc/http2.h"
#include "forwarder/rpc/http2_internal.h"
#include "netstack/stream.h"

struct http2_stream *http2_stream_new(struct http2 *h)
{
	struct http2_stream *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->h = h;
	s->status = -1;
	s->window = HTTP2_WINDOW_FIRST;
	list_init(&s->waits);
	list_init(&s->fresh);
	list_append(&h->streams, &s->node);
	h->n_streams++;
	return s;
}

void http2_stream_free(struct http2_stream *s)
{
	if (s->h->pull.stream == s)
		s->h->pull.stream = NULL;
	s->h->windows_grown -= s->window - HTTP2_WINDOW_FIRST;
	s->h->n_streams--;
	list_unlink(&s->node);
	list_unlink(&s->waits);
	list_unlink(&s->fresh);
	free(s->queue);
	free(s);
}

int http2_request(struct http2 *h, const char *path, const struct http2_handler *handler,
		  struct http2_stream **out)
{
	uint32_t limit = nghttp2_session_get_remote_settings(
		h->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
	struct http2_stream *s;
	int r;

	if (h->error || h->is_leaving)
		return -ECONNABORTED;
	if (h->n_streams >= limit)
		return -EBUSY;
	s = http2_stream_new(h);
	if (!s)
		return -ENOMEM;
	r = http2_session_submit(s, path);
	if (r < 0) {
		http2_stream_free(s);
		return r;
	}
	http2_stream_own(s, handler);
	http2_out_session(h);
	*out = s;
	return 0;
}

void http2_stream_own(struct http2_stream *s, const struct http2_handler *handler)
{
	s->ops = handler->ops;
	s->arg = handler->arg;
	if (s->h->is_server && !s->has_responded && http2_session_respond(s) < 0)
		http2_fail(s->h, -ENOMEM);
}

static void resume(struct http2_stream *s)
{
	if (s->h->error || s->is_closed)
		return;
	/* refused when it is not deferred: then it is about to be asked anyway */
	(void)nghttp2_session_resume_data(s->h->session, s->id);
	loop_defer(s->h->loop, &s->h->work);
}

/* The window that counts; what is less than a frame's worth is not used. */
static size_t window_room(struct http2_stream *s)
{
	struct http2 *h = s->h;
	int32_t own = nghttp2_session_get_stream_remote_window_size(h->session, s->id);
	int32_t all = nghttp2_session_get_remote_window_size(h->session);

	if (own < (int32_t)HTTP2_ROOM_MIN) {
		s->waits_for_window = true;
		return 0;
	}
	if (all < (int32_t)HTTP2_ROOM_MIN) {
		list_unlink(&s->waits);
		list_append(&h->waiting, &s->waits);
		return 0;
	}
	return (size_t)(own < all ? own : all);
}

size_t http2_stream_room(struct http2_stream *s)
{
	struct http2 *h = s->h;
	size_t frame_max, room;

	if (h->error || s->is_closed || s->is_finishing)
		return 0;
	if (s->queue_len) {
		s->waits_for_window = true;
		return 0;
	}
	if (!http2_out_has_room(h)) {
		list_unlink(&s->waits);
		list_append(&h->waiting, &s->waits);
		return 0;
	}
	frame_max =
		nghttp2_session_get_remote_settings(h->session, NGHTTP2_SETTINGS_MAX_FRAME_SIZE);
	if (frame_max > HTTP2_FRAME_MAX)
		frame_max = HTTP2_FRAME_MAX;
	room = window_room(s);
	return room < frame_max ? room : frame_max;
}

void http2_stream_send(struct http2_stream *s, const struct iovec *iov, int n)
{
	assert(n <= HTTP2_SEND_REFS);
	assert(!s->is_finishing);
	for (int i = 0; i < n; i++)
		s->frame_len += iov[i].iov_len;
	s->frame = iov;
	s->n_frame = n;
	(void)nghttp2_session_resume_data(s->h->session, s->id);
	http2_out_session(s->h);
	/* something else had the right of way */
	for (int i = 0; i < n && s->frame_len; i++) {
		if (http2_stream_queue(s, iov[i].iov_base, iov[i].iov_len) < 0)
			http2_fail(s->h, -ENOMEM);
	}
	s->frame_len = 0;
	s->frame = NULL;
}

bool http2_stream_can_splice(const struct http2_stream *s)
{
	return s->h->transport->ops->splice_from && s->h->transport->ops->splice_to;
}

void http2_stream_splice(struct http2_stream *s, const struct iovec *head, int pipe, size_t len)
{
	struct http2 *h = s->h;
	size_t rest;

	s->pipe = pipe;
	s->pipe_len = len;
	s->frame_len = len;
	http2_stream_send(s, head, 1); /* queues the head, if something had the right of way */
	rest = s->pipe_len;
	s->pipe_len = 0;
	if (rest == 0)
		return;
	if (http2_out_read_pipe(h, pipe, rest) < 0)
		http2_fail(h, -EIO);
	else if (http2_stream_queue(s, h->scratch, rest) < 0)
		http2_fail(h, -ENOMEM);
}

int http2_stream_queue(struct http2_stream *s, const void *data, size_t len)
{
	size_t needed = s->queue_len + len;

	if (s->h->error || s->is_closed || s->is_finishing)
		return 0; /* closed() has told, or will */
	if (needed > s->queue_capacity) {
		uint8_t *larger = realloc(s->queue, 2 * needed);

		if (!larger)
			return -ENOMEM;
		s->queue = larger;
		s->queue_capacity = 2 * needed;
	}
	memcpy(s->queue + s->queue_len, data, len);
	s->queue_len = needed;
	resume(s);
	return 0;
}

size_t http2_stream_queued(const struct http2_stream *s)
{
	return s->queue_len - s->queue_at;
}

uint8_t *http2_stream_scratch(struct http2_stream *s)
{
	return s->h->scratch;
}

/* A reader that keeps up is held back by its window alone. */
static void grow_window(struct http2_stream *s)
{
	struct http2 *h = s->h;
	uint32_t larger = s->window * 2;

	s->since_growth = 0;
	if (larger > HTTP2_WINDOW_LAST || h->windows_grown + s->window > HTTP2_WINDOWS_MAX)
		return;
	if (nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, s->id,
						  (int32_t)larger) < 0)
		return;
	h->windows_grown += s->window;
	s->window = larger;
}

void http2_stream_consume(struct http2_stream *s, size_t len)
{
	struct http2 *h = s->h;

	assert(len <= s->unconsumed);
	s->unconsumed -= len;
	if (h->error || s->is_closed || s->has_ended || len == 0)
		return;
	(void)nghttp2_session_consume_stream(h->session, s->id, len);
	s->since_growth += len;
	if (s->unconsumed == 0 && s->since_growth >= s->window)
		grow_window(s);
	if (nghttp2_session_want_write(h->session))
		loop_defer(h->loop, &h->work);
}

/* Printable, and without what would need an escape (grpc-message). */
static void set_text(struct http2_stream *s, const char *text)
{
	size_t n = 0;

	for (; text && text[n] && n + 1 < sizeof(s->text); n++)
		s->text[n] =
			(char)(text[n] >= ' ' && text[n] < 0x7f && text[n] != '%' ? text[n] : '?');
	s->text[n] = '\0';
}

void http2_stream_finish(struct http2_stream *s, int status, const char *text)
{
	if (s->is_finishing)
		return;
	s->is_finishing = true;
	list_unlink(&s->waits);
	if (s->h->is_server) {
		s->status = status;
		set_text(s, text);
	}
	resume(s);
}

void http2_stream_refuse(struct http2_stream *s, int status, const char *text)
{
	static const struct http2_handler nobody;

	http2_stream_own(s, &nobody);
	http2_stream_finish(s, status, text);
	http2_stream_leave(s);
}

static void detach(struct http2_stream *s)
{
	s->ops = NULL;
	s->waits_for_window = false;
	list_unlink(&s->waits);
}

void http2_stream_leave(struct http2_stream *s)
{
	detach(s);
	http2_stream_finish(s, GRPC_OK, "");
	s->left_ms = loop_now_ms(s->h->loop);
}

void http2_stream_reset(struct http2_stream *s)
{
	struct http2 *h = s->h;

	detach(s);
	s->is_finishing = true;
	if (h->error || s->is_closed)
		return;
	(void)nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_CANCEL);
	loop_defer(h->loop, &h->work);
}
