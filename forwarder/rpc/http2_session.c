/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/rpc/http2.h"
#include "forwarder/rpc/http2_internal.h"

static_assert(TEXT_SIZE == GRPC_TEXT_SIZE, "one size of texts");

/* What the peer may send in one frame: as much as we do, and its head. */
#define CONNECTION_WINDOW (1 << 30)
/* Resets are how connections end; a flood of them costs little here, where no
 * work is done for a call before it is read (CVE-2023-44487). */
#define RESET_BURST 100000U
#define RESET_RATE 20000U

static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *head, void *arg)
{
	(void)session;
	http2_pull_begin(arg, head);
	return 0;
}

static struct http2_stream *find(nghttp2_session *session, int32_t id)
{
	return nghttp2_session_get_stream_user_data(session, id);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct http2 *h = arg;
	struct http2_stream *s;

	if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	s = http2_stream_new(h);
	if (!s)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	s->id = frame->hd.stream_id;
	nghttp2_session_set_stream_user_data(session, s->id, s);
	return 0;
}

struct text {
	const uint8_t *data;
	size_t len;
};

static bool is_text(struct text t, const char *expected)
{
	return t.len == strlen(expected) && memcmp(t.data, expected, t.len) == 0;
}

static void copy_text(char *to, struct text from)
{
	size_t n = 0;

	for (; n < from.len && n + 1 < TEXT_SIZE; n++)
		to[n] = (char)(from.data[n] >= ' ' && from.data[n] < 0x7f ? from.data[n] : '?');
	to[n] = '\0';
}

static int parse_status(struct text t)
{
	if (t.len == 0 || t.len > 2)
		return GRPC_UNKNOWN;
	for (size_t i = 0; i < t.len; i++) {
		if (t.data[i] < '0' || t.data[i] > '9')
			return GRPC_UNKNOWN;
	}
	return t.len == 1 ? t.data[0] - '0' : (t.data[0] - '0') * 10 + t.data[1] - '0';
}

static void take_header(struct http2_stream *s, struct text name, struct text value)
{
	if (s->h->is_server) {
		if (is_text(name, ":path") && value.len < TEXT_SIZE)
			copy_text(s->path, value);
		else if (is_text(name, ":method"))
			s->is_post = is_text(value, "POST");
	} else if (is_text(name, "grpc-status")) {
		s->status = parse_status(value);
	} else if (is_text(name, "grpc-message")) {
		copy_text(s->text, value);
	} else if (is_text(name, ":status") && !is_text(value, "200")) {
		s->status = GRPC_UNKNOWN;
	}
}

/* NOLINTNEXTLINE(readability-function-size): nghttp2 says what it takes */
static int on_header(nghttp2_session *session, const nghttp2_frame *frame, nghttp2_rcbuf *name,
		     nghttp2_rcbuf *value, uint8_t flags, void *arg)
{
	struct http2_stream *s = find(session, frame->hd.stream_id);
	nghttp2_vec n = nghttp2_rcbuf_get_buf(name), v = nghttp2_rcbuf_get_buf(value);

	(void)flags;
	(void)arg;
	if (s)
		take_header(s, (struct text){ n.base, n.len }, (struct text){ v.base, v.len });
	return 0;
}

static void push(struct http2_stream *s, enum http2_event_kind kind)
{
	struct http2_event event = { .kind = kind, .stream = s };

	http2_push(s->h, &event);
}

static void push_writable(struct http2_stream *s)
{
	if (!s->waits_for_window)
		return;
	s->waits_for_window = false;
	push(s, HTTP2_EVENT_WRITABLE);
}

/* Every window may have changed. */
static void on_settings(struct http2 *h)
{
	list_for_each(node, &h->streams)
		push_writable(container_of(node, struct http2_stream, node));
}

/* Servers say it twice: at first with a number that lets through what is on its way. */
static void on_goaway(struct http2 *h, uint32_t code)
{
	struct http2_event event = { .kind = HTTP2_EVENT_LEAVING };

	if (h->is_server || code != NGHTTP2_NO_ERROR || (!h->is_leaving && !h->owner->leaving))
		http2_fail(h, -EPIPE);
	else if (!h->is_leaving)
		http2_push(h, &event);
	h->is_leaving = true;
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct http2 *h = arg;
	struct http2_stream *s = find(session, frame->hd.stream_id);
	bool has_ended = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;

	if (frame->hd.type == NGHTTP2_SETTINGS)
		on_settings(h);
	if (frame->hd.type == NGHTTP2_GOAWAY)
		on_goaway(h, frame->goaway.error_code);
	if (!s)
		return 0;
	if (frame->hd.type == NGHTTP2_WINDOW_UPDATE)
		push_writable(s);
	if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
		push(s, HTTP2_EVENT_REQUEST);
	if ((frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) && has_ended)
		push(s, HTTP2_EVENT_END);
	return 0;
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct http2_stream *s = find(session, frame->hd.stream_id);

	(void)arg;
	if (s && frame->hd.type == NGHTTP2_HEADERS)
		push_writable(s); /* from here on it has a window */
	return 0;
}

/* A request that was reset before it was sent. */
static int on_frame_not_send(nghttp2_session *session, const nghttp2_frame *frame, int error,
			     void *arg)
{
	struct http2 *h = arg;

	(void)session;
	if (frame->hd.type != NGHTTP2_HEADERS || h->is_server)
		return 0;
	list_for_each(node, &h->streams) {
		struct http2_stream *s = container_of(node, struct http2_stream, node);
		struct http2_event event = { HTTP2_EVENT_CLOSED, s, .error = -ECONNRESET };

		if (s->id == frame->hd.stream_id && !s->is_closed) {
			s->is_closed = true;
			http2_push(h, &event);
		}
	}
	(void)error;
	return 0;
}

/* NOLINTNEXTLINE(readability-function-size): nghttp2 says what it takes */
static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
		   size_t len, void *arg)
{
	struct http2 *h = arg;
	struct http2_stream *s = find(session, id);
	struct http2_event event = { HTTP2_EVENT_BODY, s, .data = data, .len = len };

	(void)flags;
	/* The windows of the calls bound what we hold; the connection's is there
	 * for no one to wait for. */
	if (nghttp2_session_consume_connection(session, len) < 0)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	if (!s)
		return 0;
	s->unconsumed += len;
	http2_pull_count(h, s, len);
	if (!h->pull.is_counting)
		http2_push(h, &event);
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *arg)
{
	struct http2 *h = arg;
	struct http2_stream *s = find(session, id);
	struct http2_event event = { HTTP2_EVENT_CLOSED, s, .error = code ? -ECONNRESET : 0 };

	if (!s || s->is_closed) /* on_frame_not_send() came before */
		return 0;
	s->is_closed = true;
	http2_push(h, &event);
	return 0;
}

/* NOLINTNEXTLINE(readability-function-size): nghttp2 says what it takes */
static ssize_t on_read_length(nghttp2_session *session, uint8_t type, int32_t id, int32_t window,
			      int32_t stream_window, uint32_t frame_max, void *arg)
{
	uint32_t n = frame_max < HTTP2_FRAME_MAX ? frame_max : HTTP2_FRAME_MAX;

	(void)session;
	(void)type;
	(void)id;
	(void)arg;
	if (window < (int32_t)n)
		n = (uint32_t)window;
	if (stream_window < (int32_t)n)
		n = (uint32_t)stream_window;
	return (ssize_t)n;
}

#define NV(name_, value_)                                                                     \
	(nghttp2_nv)                                                                          \
	{                                                                                     \
		(uint8_t *)(uintptr_t)(name_), (uint8_t *)(uintptr_t)(value_), strlen(name_), \
			strlen(value_), 0                                                     \
	}

static int submit_trailer(struct http2_stream *s)
{
	char status[12];
	nghttp2_nv nv[2];

	(void)snprintf(status, sizeof(status), "%d", s->status);
	nv[0] = NV("grpc-status", status);
	nv[1] = NV("grpc-message", s->text);
	return nghttp2_submit_trailer(s->h->session, s->id, nv, s->text[0] ? 2 : 1);
}

/* What there is to send of a call: see http2_out_data(). */
/* NOLINTBEGIN(readability-function-size, readability-non-const-parameter): likewise */
static ssize_t on_read(nghttp2_session *session, int32_t id, uint8_t *buf, size_t max,
		       uint32_t *flags, nghttp2_data_source *source, void *arg)
{
	struct http2_stream *s = source->ptr;
	size_t queued = http2_stream_queued(s);

	(void)session;
	(void)id;
	(void)buf;
	(void)arg;
	if (queued || s->frame_len) {
		if (!queued && s->frame_len > max)
			return NGHTTP2_ERR_DEFERRED;
		*flags |= NGHTTP2_DATA_FLAG_NO_COPY;
		if (!queued)
			return (ssize_t)s->frame_len;
		return (ssize_t)(queued < max ? queued : max);
	}
	if (!s->is_finishing)
		return NGHTTP2_ERR_DEFERRED;
	*flags |= NGHTTP2_DATA_FLAG_EOF;
	if (s->h->is_server) {
		*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
		if (submit_trailer(s) < 0)
			return NGHTTP2_ERR_CALLBACK_FAILURE;
	}
	return 0;
}
/* NOLINTEND(readability-function-size, readability-non-const-parameter) */

int http2_session_submit(struct http2_stream *s, const char *path)
{
	nghttp2_nv headers[] = {
		NV(":method", "POST"),
		NV(":scheme", "http"),
		NV(":path", path),
		NV(":authority", "localhost"),
		NV("te", "trailers"),
		NV("content-type", "application/grpc"),
		NV("user-agent", "netfwd/" NETFWD_VERSION),
	};
	nghttp2_data_provider body = { .source.ptr = s, .read_callback = on_read };

	s->id = nghttp2_submit_request(s->h->session, NULL, headers,
				       sizeof(headers) / sizeof(*headers), &body, s);
	if (s->id == NGHTTP2_ERR_NOMEM)
		return -ENOMEM;
	if (s->id < 0) { /* after a thousand million calls */
		http2_fail(s->h, -EPIPE);
		return -ECONNABORTED;
	}
	return 0;
}

int http2_session_respond(struct http2_stream *s)
{
	nghttp2_nv headers[] = {
		NV(":status", "200"),
		NV("content-type", "application/grpc"),
	};
	nghttp2_data_provider body = { .source.ptr = s, .read_callback = on_read };

	s->has_responded = true;
	if (s->is_closed || s->h->error)
		return 0;
	return nghttp2_submit_response(s->h->session, s->id, headers, 2, &body) ==
			       NGHTTP2_ERR_NOMEM ?
		       -ENOMEM :
		       0;
}

static void set_callbacks(nghttp2_session_callbacks *c)
{
	nghttp2_session_callbacks_set_send_callback(c, http2_out_control);
	nghttp2_session_callbacks_set_send_data_callback(c, http2_out_data);
	nghttp2_session_callbacks_set_on_begin_frame_callback(c, on_begin_frame);
	nghttp2_session_callbacks_set_on_begin_headers_callback(c, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback2(c, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame_recv);
	nghttp2_session_callbacks_set_on_frame_send_callback(c, on_frame_send);
	nghttp2_session_callbacks_set_on_frame_not_send_callback(c, on_frame_not_send);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(c, on_stream_close);
	nghttp2_session_callbacks_set_data_source_read_length_callback(c, on_read_length);
}

static void set_options(nghttp2_option *o)
{
	nghttp2_option_set_no_auto_window_update(o, 1);
	nghttp2_option_set_no_closed_streams(o, 1);
	/* Lima's client leaves :authority empty; what we need is checked here. */
	nghttp2_option_set_no_http_messaging(o, 1);
	nghttp2_option_set_stream_reset_rate_limit(o, RESET_BURST, RESET_RATE);
}

static int submit_settings(struct http2 *h, unsigned int max_streams)
{
	nghttp2_settings_entry entries[] = {
		{ NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, HTTP2_WINDOW_FIRST },
		{ NGHTTP2_SETTINGS_MAX_FRAME_SIZE, INPUT_FRAME_MAX },
		{ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, max_streams },
	};
	int r = nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, entries, 4);

	if (r == 0)
		r = nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0,
							  CONNECTION_WINDOW);
	return r < 0 ? -ENOMEM : 0;
}

int http2_session_new(struct http2 *h, unsigned int max_streams)
{
	nghttp2_session_callbacks *callbacks = NULL;
	nghttp2_option *option = NULL;
	int r = -ENOMEM;

	if (nghttp2_session_callbacks_new(&callbacks) == 0 && nghttp2_option_new(&option) == 0) {
		set_callbacks(callbacks);
		set_options(option);
		r = h->is_server ? nghttp2_session_server_new2(&h->session, callbacks, h, option) :
				   nghttp2_session_client_new2(&h->session, callbacks, h, option);
		r = r < 0 ? -ENOMEM : submit_settings(h, max_streams);
	}
	nghttp2_session_callbacks_del(callbacks);
	nghttp2_option_del(option);
	return r;
}
