/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/stream_fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netstack/base/list.h"
#include "netstack/base/loop.h"

struct stream_fd {
	struct stream base;
	int fd;
	struct watch *watch;
	bool is_connecting;
	bool has_hung_up; /* both directions ended; told once */
};

static const struct stream_ops stream_fd_ops;

static struct stream_fd *from_stream(struct stream *s)
{
	return container_of(s, struct stream_fd, base);
}

static int pending_error(const struct stream_fd *s)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		return -errno;
	return -error;
}

static void on_event(void *arg, unsigned int events)
{
	struct stream_fd *s = arg;

	if (s->is_connecting && (events & LOOP_WRITE)) {
		s->is_connecting = false;
		s->base.error = pending_error(s);
	} else if (events & LOOP_HANGUP) { /* no call will be made that would tell */
		if (!s->base.error)	   /* which the kernel tells only once */
			s->base.error = pending_error(s);
		s->has_hung_up = true;
	}
	if (s->base.ready)
		s->base.ready(s->base.ready_arg);
}

int stream_fd_new(struct loop *loop, int fd, bool is_connecting, struct stream **out)
{
	struct stream_fd *s = calloc(1, sizeof(*s));
	int r = -ENOMEM;

	if (s)
		r = watch_new(loop, fd, on_event, s, &s->watch);
	if (r < 0) {
		close(fd);
		free(s);
		return r;
	}
	s->base.ops = &stream_fd_ops;
	s->fd = fd;
	s->is_connecting = is_connecting;
	*out = &s->base;
	return 0;
}

/* The result of a system call as the contract has it. */
static ssize_t outcome(struct stream_fd *s, ssize_t r)
{
	if (r >= 0)
		return r;
	if (errno == EAGAIN || errno == EINTR)
		return -EAGAIN;
	s->base.error = -errno;
	return s->base.error;
}

static ssize_t not_ready(const struct stream_fd *s)
{
	if (s->base.error)
		return s->base.error;
	return s->is_connecting ? -EAGAIN : 0;
}

static ssize_t stream_fd_read(struct stream *base, const struct iovec *iov, int n)
{
	struct stream_fd *s = from_stream(base);
	ssize_t r = not_ready(s);

	return r < 0 ? r : outcome(s, readv(s->fd, iov, n));
}

static ssize_t stream_fd_write(struct stream *base, const struct iovec *iov, int n)
{
	struct stream_fd *s = from_stream(base);
	struct msghdr msg = { .msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)n };
	ssize_t r = not_ready(s);

	/* nothing is sent by none, but a socket that cannot send any more says so */
	return r < 0 ? r : outcome(s, sendmsg(s->fd, &msg, MSG_NOSIGNAL));
}

static ssize_t stream_fd_splice_to(struct stream *base, int pipe, size_t max)
{
	struct stream_fd *s = from_stream(base);
	ssize_t r = not_ready(s);

	if (r < 0)
		return r;
	return outcome(s, splice(s->fd, NULL, pipe, NULL, max, SPLICE_F_MOVE | SPLICE_F_NONBLOCK));
}

static ssize_t stream_fd_splice_from(struct stream *base, int pipe, size_t max)
{
	struct stream_fd *s = from_stream(base);
	ssize_t r = not_ready(s);

	if (r < 0 || max == 0)
		return r;
	return outcome(s, splice(pipe, NULL, s->fd, NULL, max, SPLICE_F_MOVE | SPLICE_F_NONBLOCK));
}

static void stream_fd_want(struct stream *base, unsigned int events)
{
	struct stream_fd *s = from_stream(base);
	unsigned int wanted = 0;

	if (events & STREAM_READ)
		wanted |= LOOP_READ;
	if (events & STREAM_WRITE)
		wanted |= LOOP_WRITE;
	if (s->is_connecting) /* writable is how the kernel says connected */
		wanted = LOOP_WRITE;
	else if (!wanted && !s->has_hung_up)
		wanted = LOOP_HANGUP;
	watch_want(s->watch, wanted);
}

static int stream_fd_shutdown(struct stream *base)
{
	struct stream_fd *s = from_stream(base);

	if (shutdown(s->fd, SHUT_WR) < 0 && errno != ENOTCONN)
		return -errno;
	return 0;
}

static void stream_fd_close(struct stream *base)
{
	struct stream_fd *s = from_stream(base);

	watch_free(s->watch);
	close(s->fd);
	free(s);
}

static void stream_fd_reset(struct stream *base)
{
	struct stream_fd *s = from_stream(base);
	struct linger abort_on_close = { .l_onoff = 1, .l_linger = 0 };

	/* only TCP knows a reset; other sockets are closed */
	(void)setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &abort_on_close, sizeof(abort_on_close));
	stream_fd_close(base);
}

static const struct stream_ops stream_fd_ops = {
	.read = stream_fd_read,
	.write = stream_fd_write,
	.splice_to = stream_fd_splice_to,
	.splice_from = stream_fd_splice_from,
	.want = stream_fd_want,
	.shutdown = stream_fd_shutdown,
	.close = stream_fd_close,
	.reset = stream_fd_reset,
};
