/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/rpc/http2.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "forwarder/rpc/http2_internal.h"
#include "netstack/stream.h"

#define MAX_READS 8	   /* before the others on the loop get their turn */
#define LEFT_MAX_MS 60000U /* a call that was left, and the peer does not end */
#define CHECK_MS 60000U	   /* for those, when there is no keepalive */

/* --- events: what the callbacks found, told to the owners --- */

void http2_push(struct http2 *h, const struct http2_event *event)
{
	if (h->n_events == h->events_capacity) {
		unsigned int capacity = h->events_capacity ? 2 * h->events_capacity : 64;
		struct http2_event *larger = realloc(h->events, capacity * sizeof(*larger));

		if (!larger) {
			http2_fail(h, -ENOMEM);
			return;
		}
		h->events = larger;
		h->events_capacity = capacity;
	}
	h->events[h->n_events++] = *event;
	loop_defer(h->loop, &h->work);
}

static void settle(struct http2_stream *s)
{
	if (list_empty(&s->fresh))
		return;
	list_unlink(&s->fresh);
	if (s->ops)
		s->ops->settle(s->arg);
}

static void on_body(struct http2_stream *s, const struct http2_event *event)
{
	if (!s->ops) /* dropped; without the credit for more, see sweep_left() */
		return;
	if (list_empty(&s->fresh))
		list_append(&s->h->fresh, &s->fresh);
	s->ops->body(s->arg, event->data, event->len);
}

static void on_request(struct http2_stream *s)
{
	if (!s->is_post || s->path[0] != '/')
		http2_stream_refuse(s, GRPC_UNIMPLEMENTED, "no such method");
	else
		s->h->owner->request(s->h->arg, s, s->path);
}

static void on_end(struct http2_stream *s)
{
	settle(s);
	s->has_ended = true;
	if (!s->h->is_server) { /* the call is over: nobody reads what we send */
		s->is_finishing = true;
		s->queue_at = s->queue_len = 0;
	}
	if (s->ops)
		s->ops->end(s->arg, s->status, s->text);
	if (!s->h->is_server && !s->is_closed && !s->h->error) {
		(void)nghttp2_session_resume_data(s->h->session, s->id);
		loop_defer(s->h->loop, &s->h->work);
	}
}

static void on_closed(struct http2_stream *s, int error)
{
	settle(s);
	if (s->ops)
		s->ops->closed(s->arg, error);
	http2_stream_free(s);
}

static void tell(struct http2 *h, const struct http2_event *event)
{
	struct http2_stream *s = event->stream;

	switch (event->kind) {
	case HTTP2_EVENT_REQUEST:
		on_request(s);
		break;
	case HTTP2_EVENT_BODY:
		on_body(s, event);
		break;
	case HTTP2_EVENT_WRITABLE:
		if (s->ops)
			s->ops->writable(s->arg);
		break;
	case HTTP2_EVENT_END:
		on_end(s);
		break;
	case HTTP2_EVENT_CLOSED:
		on_closed(s, event->error);
		break;
	case HTTP2_EVENT_LEAVING:
		h->owner->leaving(h->arg);
		break;
	}
}

/* Owners may cause further events. */
static void dispatch(struct http2 *h)
{
	struct list *node;

	if (h->is_dispatching)
		return;
	h->is_dispatching = true;
	while (h->next_event < h->n_events) {
		struct http2_event event = h->events[h->next_event++];

		tell(h, &event);
	}
	h->n_events = h->next_event = 0;
	while ((node = list_take(&h->fresh))) {
		struct http2_stream *s = container_of(node, struct http2_stream, fresh);

		if (s->ops)
			s->ops->settle(s->arg);
	}
	h->is_dispatching = false;
}

/* Those that wait for room, for as long as there is some; the others stay first. */
static void wake_waiting(struct http2 *h)
{
	struct list woken, *node;

	list_init(&woken);
	list_move_all(&woken, &h->waiting);
	while (!h->error && http2_out_has_room(h) &&
	       nghttp2_session_get_remote_window_size(h->session) >= (int32_t)HTTP2_ROOM_MIN &&
	       (node = list_take(&woken))) {
		struct http2_stream *s = container_of(node, struct http2_stream, waits);

		if (s->ops)
			s->ops->writable(s->arg);
	}
	list_move_all(&woken, &h->waiting);
	list_move_all(&h->waiting, &woken);
}

/* --- the transport --- */

static void parse(struct http2 *h, size_t len)
{
	ssize_t r = nghttp2_session_mem_recv(h->session, h->input, len);

	if (r < 0)
		http2_fail(h, r == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EPROTO);
	dispatch(h);
}

void http2_heard(struct http2 *h)
{
	h->heard_ms = loop_now_ms(h->loop);
	h->deadline_ms = 0;
}

/* False when there is no more. */
static bool read_some(struct http2 *h)
{
	struct iovec iov = { h->input, 0 };
	ssize_t r;

	http2_pull_offer(h);
	dispatch(h);
	if (h->error || h->pull.is_drained)
		return false;
	iov.iov_len = http2_pull_read_size(h, INPUT_SIZE);
	r = h->transport->ops->read(h->transport, &iov, 1);
	if (r == -EAGAIN)
		return false;
	if (r <= 0) {
		http2_fail(h, r == 0 ? -EPIPE : (int)r);
		return false;
	}
	http2_heard(h);
	parse(h, (size_t)r);
	return !h->error;
}

static void read_input(struct http2 *h)
{
	for (int i = 0; i < MAX_READS; i++) {
		if (!read_some(h))
			return;
	}
	loop_defer(h->loop, &h->work); /* nobody said -EAGAIN, so nobody will call */
	h->reads_on = true;
}

static void die(struct http2 *h)
{
	struct list *node;

	h->is_dispatching = true;
	while ((node = list_take(&h->streams))) {
		struct http2_stream *s = container_of(node, struct http2_stream, node);

		on_closed(s, -ECONNABORTED);
	}
	h->n_events = h->next_event = 0;
	h->is_dispatching = false;
}

static void work(void *arg)
{
	struct http2 *h = arg;

	if (h->reads_on) {
		h->reads_on = false;
		read_input(h);
	}
	dispatch(h);
	http2_out_pump(h);
	wake_waiting(h);
	if (!h->error && !nghttp2_session_want_read(h->session) &&
	    !nghttp2_session_want_write(h->session))
		http2_fail(h, h->is_leaving ? -EPIPE : -EPROTO); /* GOAWAY is on its way */
	if (h->error) {
		die(h);
		h->owner->closed(h->arg, h->error);
		return;
	}
	h->transport->ops->want(h->transport, STREAM_READ | (h->out.is_blocked ? STREAM_WRITE : 0));
}

static void on_ready(void *arg)
{
	struct http2 *h = arg;

	h->out.is_blocked = false;
	if (!h->error)
		read_input(h);
	loop_cancel_deferred(&h->work);
	work(h);
}

/* --- signs of life --- */

static void sweep_left(struct http2 *h)
{
	uint64_t now = loop_now_ms(h->loop);

	list_for_each(node, &h->streams) {
		struct http2_stream *s = container_of(node, struct http2_stream, node);

		if (s->left_ms && now - s->left_ms >= LEFT_MAX_MS)
			http2_stream_reset(s);
	}
}

static void schedule(struct http2 *h)
{
	uint64_t now = loop_now_ms(h->loop), next = now + CHECK_MS;

	if (h->keepalive_ms && h->heard_ms + h->keepalive_ms < next)
		next = h->heard_ms + h->keepalive_ms;
	if (h->deadline_ms)
		next = h->deadline_ms;
	timer_start(h->keepalive, next > now ? next - now : 0);
}

static void on_keepalive(void *arg)
{
	struct http2 *h = arg;
	uint64_t now = loop_now_ms(h->loop);

	if (h->error)
		return;
	if (h->deadline_ms) {
		/* We may have been stopped ourselves, with the answer waiting. */
		read_input(h);
		if (h->deadline_ms && now >= h->deadline_ms)
			http2_fail(h, -ETIMEDOUT);
	} else if (h->keepalive_ms && now >= h->heard_ms + h->keepalive_ms) {
		http2_probe(h, h->patience_ms);
	}
	sweep_left(h);
	if (!h->error)
		schedule(h);
}

void http2_probe(struct http2 *h, unsigned int patience_ms)
{
	if (h->error)
		return;
	if (nghttp2_submit_ping(h->session, NGHTTP2_FLAG_NONE, NULL) < 0) {
		http2_fail(h, -ENOMEM);
		return;
	}
	h->deadline_ms = loop_now_ms(h->loop) + patience_ms;
	loop_defer(h->loop, &h->work);
	schedule(h);
}

/* --- life --- */

int http2_new(struct loop *loop, const struct http2_config *config, struct stream *transport,
	      struct http2 **out)
{
	struct http2 *h = calloc(1, sizeof(*h));
	int r = -ENOMEM;

	if (!h) {
		transport->ops->reset(transport);
		return -ENOMEM;
	}
	h->loop = loop;
	h->transport = transport;
	h->is_server = config->is_server;
	h->keepalive_ms = config->keepalive_ms;
	h->patience_ms = config->patience_ms;
	h->heard_ms = loop_now_ms(loop);
	list_init(&h->streams);
	list_init(&h->waiting);
	list_init(&h->fresh);
	loop_deferred_init(&h->work, work, h);
	h->input = malloc(INPUT_SIZE);
	h->scratch = malloc(HTTP2_FRAME_MAX);
	if (h->input && h->scratch)
		r = timer_new(loop, on_keepalive, h, &h->keepalive);
	if (r == 0)
		r = http2_session_new(h, config->max_streams);
	if (r < 0) {
		http2_free(h);
		return r;
	}
	stream_set_ready(transport, on_ready, h);
	schedule(h);
	h->reads_on = true; /* a transport calls when it was asked in vain */
	loop_defer(loop, &h->work);
	*out = h;
	return 0;
}

void http2_set_owner(struct http2 *h, const struct http2_owner *owner, void *arg)
{
	h->owner = owner;
	h->arg = arg;
}

void http2_free(struct http2 *h)
{
	if (!h)
		return;
	assert(!h->is_dispatching);
	if (!h->error)
		h->error = -ECONNABORTED;
	die(h);
	loop_cancel_deferred(&h->work);
	timer_free(h->keepalive);
	nghttp2_session_del(h->session);
	h->transport->ops->close(h->transport);
	free(h->events);
	free(h->out.mem);
	free(h->input);
	free(h->scratch);
	free(h);
}

void http2_fail(struct http2 *h, int error)
{
	assert(error < 0);
	if (h->error)
		return;
	h->error = error;
	loop_defer(h->loop, &h->work);
}

unsigned int http2_n_streams(const struct http2 *h)
{
	return h->n_streams;
}
