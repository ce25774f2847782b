/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Inside of http2: the connection (http2.c), what goes out (http2_out.c), what comes and is
 * spliced (http2_pull.c), its calls (http2_stream.c) and nghttp2's callbacks
 * (http2_session.c). */
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include <nghttp2/nghttp2.h>

#include "netstack/base/list.h"
#include "netstack/base/loop.h"

struct http2;
struct http2_owner;
struct http2_stream_ops;
struct stream;

#define TEXT_SIZE 128 /* GRPC_TEXT_SIZE, checked */
#define INPUT_SIZE (512UL * 1024)
#define INPUT_FRAME_MAX (HTTP2_FRAME_MAX + 1024U)

/* Bytes for the transport that it has not taken yet. */
struct http2_out {
	uint8_t *mem;
	size_t at, len, capacity;
	bool is_blocked; /* the transport said -EAGAIN */
};

/* The DATA frame that is being read, where its payload may be left on the transport. */
struct http2_pull {
	struct http2_stream *stream; /* NULL: none, or nothing of it was read yet */
	size_t left;		     /* bytes of the frame that were not read */
	bool is_large;		     /* worth it */
	bool has_begun;		     /* some of it was spliced */
	bool ends_frame;	     /* the end of one was the last that came: the next is alike */
	bool is_drained;	     /* the transport said -EAGAIN */
	bool is_offered;	     /* inside the owner's arriving() */
	bool is_counting;	     /* nghttp2 is told how much was spliced */
};

enum http2_event_kind {
	HTTP2_EVENT_REQUEST,
	HTTP2_EVENT_BODY,
	HTTP2_EVENT_WRITABLE,
	HTTP2_EVENT_END,
	HTTP2_EVENT_CLOSED,
	HTTP2_EVENT_LEAVING, /* of the connection */
};

/* What nghttp2's callbacks have found, for the owners to be told later, when
 * nghttp2 may be called. */
struct http2_event {
	enum http2_event_kind kind;
	struct http2_stream *stream;
	const uint8_t *data;
	size_t len;
	int error;
};

struct http2 {
	struct loop *loop;
	struct stream *transport;
	nghttp2_session *session;
	const struct http2_owner *owner;
	void *arg;
	bool is_server;
	bool is_sending;     /* inside nghttp2_session_send() */
	bool is_dispatching; /* inside owners */
	bool reads_on;	     /* MAX_READS were not all */
	bool is_leaving;     /* the server says so */
	int error;	     /* -errno: it ends soon */

	struct list streams; /* http2_stream.node: all of them */
	struct list waiting; /* http2_stream.waits: for room in the connection */
	struct list fresh;   /* http2_stream.fresh: body() since the last settle() */
	unsigned int n_streams;
	struct http2_event *events;
	unsigned int n_events, events_capacity, next_event;

	struct http2_pull pull;
	struct http2_out out;
	struct loop_deferred work; /* dispatch, send, flush, or the end */
	uint8_t *input, *scratch;
	uint64_t windows_grown;

	struct timer *keepalive;
	unsigned int keepalive_ms, patience_ms;
	uint64_t heard_ms;    /* when something came last */
	uint64_t deadline_ms; /* of the sign of life that was asked for; 0: none was */
};

struct http2_stream {
	struct http2 *h;
	int32_t id;
	const struct http2_stream_ops *ops; /* NULL: nobody's */
	void *arg;
	struct list node, waits, fresh;
	bool is_finishing;     /* our direction ends after the queue */
	bool has_finished;     /* it did */
	bool has_responded;    /* servers: headers are sent */
	bool has_ended;	       /* the peer's direction did */
	bool waits_for_window; /* of its own */
	bool is_closed;
	bool is_pulled;	  /* its reader calls http2_stream_splice_to() */
	uint64_t left_ms; /* when its owner has left */

	/* our direction */
	const struct iovec *frame; /* of http2_stream_send(), while it runs */
	int n_frame;
	size_t frame_len;
	int pipe;	 /* of http2_stream_splice() */
	size_t pipe_len; /* what of the frame is in there */
	uint8_t *queue;
	size_t queue_at, queue_len, queue_capacity;

	/* the peer's */
	size_t unconsumed;
	size_t since_growth; /* consumed while the window was as it is */
	uint32_t window;

	int status; /* ours to send (server), or the peer's (client) */
	char text[TEXT_SIZE];
	char path[TEXT_SIZE];
	bool is_post;
};

/* http2_session.c */
int http2_session_new(struct http2 *h, unsigned int max_streams);
int http2_session_submit(struct http2_stream *s, const char *path);
int http2_session_respond(struct http2_stream *s);

/* http2_stream.c */
struct http2_stream *http2_stream_new(struct http2 *h);
void http2_stream_free(struct http2_stream *s);

/* http2_out.c: the nghttp2 callbacks for bytes that go out, and what they fill. */
ssize_t http2_out_control(nghttp2_session *session, const uint8_t *data, size_t len, int flags,
			  void *arg);
int http2_out_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *framehd,
		   size_t len, nghttp2_data_source *source, void *arg);
/* `len` bytes out of a pipe that has them, at most HTTP2_FRAME_MAX, to h->scratch. */
int http2_out_read_pipe(struct http2 *h, int pipe, size_t len);
bool http2_out_is_full(const struct http2 *h);
/* The transport is likely to take a frame from where it lies. */
bool http2_out_has_room(const struct http2 *h);
/* Sends what nghttp2 has; small frames wait for the end of the round. The result
 * is in h->error. */
void http2_out_session(struct http2 *h);
/* The same, and flushes. */
void http2_out_pump(struct http2 *h);

/* http2_pull.c: payload that goes from the transport to its reader by splice(2). */
void http2_pull_begin(struct http2 *h, const nghttp2_frame_hd *frame);
void http2_pull_count(struct http2 *h, struct http2_stream *s, size_t len);
/* Lets the reader of what the transport has next take it. */
void http2_pull_offer(struct http2 *h);
/* How many bytes are to be read at once, of at most max. */
size_t http2_pull_read_size(const struct http2 *h, size_t max);

/* http2.c */
void http2_heard(struct http2 *h);
void http2_push(struct http2 *h, const struct http2_event *event);
