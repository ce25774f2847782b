/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/stream_pair.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "netstack/base/list.h"
#include "netstack/base/loop.h"

struct stream_pair {
	struct stream base;
	int in, out;	    /* out is -1 after shutdown() */
	bool has_in_ended;  /* by a hangup; there may be something to read */
	bool is_out_broken; /* nobody reads it */
	struct watch *in_watch, *out_watch;
	void (*closed)(void *arg);
	void *closed_arg;
};

static const struct stream_ops stream_pair_ops;

static struct stream_pair *from_stream(struct stream *s)
{
	return container_of(s, struct stream_pair, base);
}

static void on_event(void *arg, unsigned int events)
{
	struct stream_pair *s = arg;

	if (events & LOOP_HANGUP) { /* told once; read() says the rest */
		s->has_in_ended = true;
		watch_want(s->in_watch, 0);
	}
	if (s->base.ready)
		s->base.ready(s->base.ready_arg);
}

static void on_out_event(void *arg, unsigned int events)
{
	struct stream_pair *s = arg;

	if (events & LOOP_HANGUP) {
		s->is_out_broken = true;
		watch_want(s->out_watch, 0);
	}
	on_event(s, 0);
}

static void release(struct stream_pair *s)
{
	watch_free(s->in_watch);
	watch_free(s->out_watch);
	if (s->in >= 0)
		close(s->in);
	if (s->out >= 0)
		close(s->out);
	free(s);
}

static int set_up(struct stream_pair *s, struct loop *loop)
{
	int r = 0;

	if (s->in == s->out) /* the loop watches a descriptor once */
		s->out = fcntl(s->in, F_DUPFD_CLOEXEC, 3);
	if (s->out < 0 || fcntl(s->in, F_SETFL, fcntl(s->in, F_GETFL) | O_NONBLOCK) < 0 ||
	    fcntl(s->out, F_SETFL, fcntl(s->out, F_GETFL) | O_NONBLOCK) < 0)
		return -errno;
	r = watch_new(loop, s->in, on_event, s, &s->in_watch);
	return r < 0 ? r : watch_new(loop, s->out, on_out_event, s, &s->out_watch);
}

int stream_pair_new(struct loop *loop, const int fds[2], void (*closed)(void *arg), void *arg,
		    struct stream **out)
{
	struct stream_pair *s = calloc(1, sizeof(*s));
	int r;

	if (!s) {
		close(fds[0]);
		if (fds[1] != fds[0])
			close(fds[1]);
		return -ENOMEM;
	}
	s->base.ops = &stream_pair_ops;
	s->in = fds[0];
	s->out = fds[1];
	r = set_up(s, loop);
	if (r < 0) {
		release(s);
		return r;
	}
	s->closed = closed;
	s->closed_arg = arg;
	*out = &s->base;
	return 0;
}

/* The result of a system call as the contract has it. */
static ssize_t outcome(struct stream_pair *s, ssize_t r)
{
	if (r >= 0)
		return r;
	if (errno == EAGAIN || errno == EINTR)
		return -EAGAIN;
	s->base.error = -errno;
	return s->base.error;
}

static ssize_t stream_pair_read(struct stream *base, const struct iovec *iov, int n)
{
	struct stream_pair *s = from_stream(base);

	return base->error ? base->error : outcome(s, readv(s->in, iov, n));
}

static ssize_t stream_pair_write(struct stream *base, const struct iovec *iov, int n)
{
	struct stream_pair *s = from_stream(base);

	if (base->error || n == 0)
		return base->error;
	return s->out < 0 || s->is_out_broken ? -EPIPE : outcome(s, writev(s->out, iov, n));
}

static void stream_pair_want(struct stream *base, unsigned int events)
{
	struct stream_pair *s = from_stream(base);

	unsigned int idle = s->has_in_ended ? 0 : LOOP_HANGUP;

	watch_want(s->in_watch, events & STREAM_READ ? LOOP_READ : idle);
	if (s->out_watch && !s->is_out_broken)
		watch_want(s->out_watch, events & STREAM_WRITE ? LOOP_WRITE : LOOP_HANGUP);
}

static int stream_pair_shutdown(struct stream *base)
{
	struct stream_pair *s = from_stream(base);

	if (s->out < 0)
		return 0;
	watch_free(s->out_watch);
	s->out_watch = NULL;
	(void)shutdown(s->out, SHUT_WR); /* a socket's other direction is not ours to close */
	close(s->out);
	s->out = -1;
	return 0;
}

static void stream_pair_close(struct stream *base)
{
	struct stream_pair *s = from_stream(base);
	void (*closed)(void *arg) = s->closed;
	void *arg = s->closed_arg;

	release(s);
	if (closed)
		closed(arg);
}

static const struct stream_ops stream_pair_ops = {
	.read = stream_pair_read,
	.write = stream_pair_write,
	.want = stream_pair_want,
	.shutdown = stream_pair_shutdown,
	.close = stream_pair_close,
	.reset = stream_pair_close,
};
