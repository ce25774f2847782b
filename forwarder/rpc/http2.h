/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* HTTP/2 (RFC 9113) with prior knowledge, as gRPC uses it ("gRPC over HTTP2"): a
 * connection over a struct stream, with many calls at a time. Bytes in and out of
 * calls; messages are grpc_message.h's. Backed by nghttp2.
 *
 * Reading: the bytes of a call are handed out where they lie. What the owner does
 * not consume counts against the window of that call, and no other: a reader that
 * stops holds up nobody, and costs no more memory than its window. Windows begin
 * small and grow while their reader keeps up, within HTTP2_WINDOWS_MAX.
 *
 * Writing: either at once, from where the bytes lie (room, send), or by a queue of
 * the call for small things. All on the loop thread; nothing blocks, and no owner
 * is called from inside a call to this module. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct http2;
struct http2_stream;
struct loop;
struct stream;

#define HTTP2_WINDOW_FIRST (64UL * 1024)
#define HTTP2_WINDOW_LAST (2UL * 1024 * 1024)
#define HTTP2_WINDOWS_MAX (128UL * 1024 * 1024) /* what all have grown by */
#define HTTP2_FRAME_MAX (256UL * 1024)
#define HTTP2_SEND_REFS 60 /* as many pieces of memory make up one frame */

/* Status codes of gRPC that are used here. */
enum {
	GRPC_OK = 0,
	GRPC_UNKNOWN = 2,
	GRPC_INVALID_ARGUMENT = 3,
	GRPC_RESOURCE_EXHAUSTED = 8,
	GRPC_UNIMPLEMENTED = 12,
	GRPC_UNAVAILABLE = 14,
};
#define GRPC_TEXT_SIZE 128

/* What a call tells its owner, in this order. The owner may reset, leave or finish
 * any call in there, and http2_fail(), but not http2_free(). */
struct http2_stream_ops {
	/* Bytes of the peer, valid until settle() has returned. */
	void (*body)(void *arg, const uint8_t *data, size_t len);
	/* No more bytes have come for now. */
	void (*settle)(void *arg);
	/* More of the call is next on the transport: http2_stream_splice_to() gives it.
	 * What the owner does not take is read, and told by body(). Called only after the
	 * owner has asked for that once. */
	void (*arriving)(void *arg);
	/* Room again, after http2_stream_room() was 0. */
	void (*writable)(void *arg);
	/* The peer sends no more. A server ends a call with that, and says how it
	 * went: status (-1: it does not), text. */
	void (*end)(void *arg, int status, const char *text);
	/* It is over and gone: 0; -ECONNRESET: the peer has reset it;
	 * -ECONNABORTED: the connection was lost. */
	void (*closed)(void *arg, int error);
};

struct http2_config {
	bool is_server;
	unsigned int max_streams; /* that the peer may have open; servers only */
	/* After that much silence the peer is asked for a sign of life, and after
	 * as much again as patience_ms given up: -ETIMEDOUT. 0: never asked. */
	unsigned int keepalive_ms, patience_ms;
};

struct http2_owner {
	/* Servers: the peer calls. Answer by http2_stream_own() or
	 * http2_stream_refuse(), before returning. */
	void (*request)(void *arg, struct http2_stream *s, const char *path);
	/* The connection is of no use any more, and its calls are closed. It may
	 * be freed in there. -EPIPE: the peer has closed it; -EPROTO; ... */
	void (*closed)(void *arg, int error);
	/* Clients: the server takes no new calls, and closes the connection after those
	 * that it has. NULL: then they are given up, too. */
	void (*leaving)(void *arg);
};

/* Takes the transport, in any state of connecting; on error it is reset. 0 or
 * -ENOMEM. */
int http2_new(struct loop *loop, const struct http2_config *config, struct stream *transport,
	      struct http2 **out);
void http2_set_owner(struct http2 *h, const struct http2_owner *owner, void *arg);
/* Its calls are closed first, with -ECONNABORTED. Accepts NULL. */
void http2_free(struct http2 *h);
/* Ends the connection soon, with that error. */
void http2_fail(struct http2 *h, int error);
/* Asks for a sign of life at once; without one in time the connection fails. */
void http2_probe(struct http2 *h, unsigned int patience_ms);
unsigned int http2_n_streams(const struct http2 *h);

/* Clients: begins a call. -EBUSY: the server allows no more at a time;
 * -ECONNABORTED: the connection is lost; -ENOMEM. */
struct http2_handler {
	const struct http2_stream_ops *ops;
	void *arg;
};
int http2_request(struct http2 *h, const char *path, const struct http2_handler *handler,
		  struct http2_stream **out);

/* Who hears of the call from now on. */
void http2_stream_own(struct http2_stream *s, const struct http2_handler *handler);
/* Servers: nothing but a status. */
void http2_stream_refuse(struct http2_stream *s, int status, const char *text);

/* How long a DATA frame may be at this moment. 0: writable() tells when to ask
 * again. Never less than HTTP2_ROOM_MIN otherwise. */
#define HTTP2_ROOM_MIN 64U
size_t http2_stream_room(struct http2_stream *s);
/* One frame of that many bytes, at most room. The memory is free again when it
 * returns. A connection that breaks over it tells by closed(). */
void http2_stream_send(struct http2_stream *s, const struct iovec *iov, int n);
/* Whether the transport can be spliced to and from. */
bool http2_stream_can_splice(const struct http2_stream *s);
/* One frame of what head holds and `len` bytes that are in a pipe; all of them are
 * taken. */
void http2_stream_splice(struct http2_stream *s, const struct iovec *head, int pipe, size_t len);
/* Bytes to go before whatever is sent later, as the windows allow. Copied. 0 or
 * -ENOMEM. */
int http2_stream_queue(struct http2_stream *s, const void *data, size_t len);
size_t http2_stream_queued(const struct http2_stream *s);
/* Memory to build a frame in, of HTTP2_FRAME_MAX bytes, valid until the next call
 * to any stream of the connection. */
uint8_t *http2_stream_scratch(struct http2_stream *s);

/* Bytes that would be told by body() otherwise, into a pipe that is empty: > 0; -EAGAIN:
 * none, or not now, or the connection broke, which closed() tells. They count as consumed. */
ssize_t http2_stream_splice_to(struct http2_stream *s, int pipe, size_t max);
/* Bytes of body() that are dealt with. */
void http2_stream_consume(struct http2_stream *s, size_t len);
/* We send no more: after what is queued the direction ends. A server ends the
 * call, with that status. */
void http2_stream_finish(struct http2_stream *s, int status, const char *text);
/* The owner is not interested any more; s is not its own after that. leave() lets
 * what was written be delivered, and finishes if that was not done; reset() lets
 * the peer know at once, and drops it. */
void http2_stream_leave(struct http2_stream *s);
void http2_stream_reset(struct http2_stream *s);
