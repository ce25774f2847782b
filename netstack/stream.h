/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A byte pipe with two directions: a host socket, an lwIP connection, later an
 * SSH channel, an HTTP/2 stream or a vsock stream. Whoever holds one knows
 * nothing of its kind.
 *
 * One owner; every call on the loop thread; nothing blocks. Bytes are moved by
 * the relay with the least copying that a pair of streams offers:
 *   splice         both are, or go by, sockets of the kernel: not through our memory
 *                  at all
 *   peek/consume   the source has the bytes in memory already
 *   reserve/commit the sink has memory that bytes can be read into
 *   read/write     otherwise
 * ready() is called when a call that said -EAGAIN is worth repeating, when the
 * peer has closed its direction, and when the stream broke. It may come
 * spuriously. Backpressure is applied by not reading. */
#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>

struct stream;

#define STREAM_READ 1U
#define STREAM_WRITE 2U

struct stream_ops {
	/* > 0 bytes; 0 end of stream; -EAGAIN nothing yet, or not connected yet;
	 * other -errno: broken, and every later call says the same. */
	ssize_t (*read)(struct stream *s, const struct iovec *iov, int n);
	/* > 0 bytes taken; -EAGAIN full, or not connected yet; other -errno:
	 * broken, but -EPIPE with error still 0 says only that the peer takes no
	 * more: what it sent can be read. With n 0 it takes nothing and says
	 * whether the stream is connected: 0, -EAGAIN, or why it cannot be. */
	ssize_t (*write)(struct stream *s, const struct iovec *iov, int n);

	/* Readable bytes in place: fills up to n entries, returns their count
	 * in *n_filled, with read()'s result for the sum. Valid until the next
	 * call on the stream. NULL if the source holds none. */
	ssize_t (*peek)(struct stream *s, struct iovec *iov, int n, int *n_filled);
	void (*consume)(struct stream *s, size_t len);

	/* Writable memory: entries in *n_filled, write()'s result for the sum.
	 * commit(len) sends the first len bytes. NULL if the sink has none. */
	ssize_t (*reserve)(struct stream *s, struct iovec *iov, int n, int *n_filled);
	int (*commit)(struct stream *s, size_t len);

	/* Moves up to max bytes from the stream into a pipe, with read()'s result, and
	 * the other way, with write()'s; with max 0 the latter says how much it
	 * would take: at most > 0 bytes, 0 for any number, or -EAGAIN. NULL if the stream has
	 * no such thing. Of a source that has peek() as well, splice_to() gives what comes
	 * after that: it is called when peek() said -EAGAIN. */
	ssize_t (*splice_to)(struct stream *s, int pipe, size_t max);
	ssize_t (*splice_from)(struct stream *s, int pipe, size_t max);

	/* Which of STREAM_READ | STREAM_WRITE ready() should be called for. That
	 * the stream broke is told in any case. */
	void (*want)(struct stream *s, unsigned int events);
	/* No more writes; what was written is still delivered; reads go on. */
	int (*shutdown)(struct stream *s);
	/* Ends the stream and frees it. close() lets what was written be
	 * delivered; reset() makes the peer see a reset. Neither calls back. */
	void (*close)(struct stream *s);
	void (*reset)(struct stream *s);
};

struct stream {
	const struct stream_ops *ops;
	int error; /* -errno once the stream is known to be broken; else 0 */
	void (*ready)(void *arg);
	void *ready_arg;
};

static inline void stream_set_ready(struct stream *s, void (*ready)(void *), void *arg)
{
	s->ready = ready;
	s->ready_arg = arg;
}
