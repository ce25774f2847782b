/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/vsock/peer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "netstack/base/loop.h"
#include "netstack/stream_fd.h"
#include "netstack/stream_late.h"
#include "netstack/unix_socket.h"

#define LINE_MAX 32U /* "OK 4294967295\n", and some room */
#define PATIENCE_MS 10000

struct vsock_peer {
	struct vsock base;
	struct loop *loop;
	struct sockaddr_un address;
};

/* Has sent its request, and waits for the answer. */
struct call {
	struct vsock_peer *vsock;
	int fd;
	struct watch *watch;
	struct timer *timer;
	char line[LINE_MAX];
	size_t line_len;
	struct stream_late *late;
};

/* Without its descriptor. */
static void call_free(struct call *c)
{
	watch_free(c->watch);
	timer_free(c->timer);
	free(c);
}

static void on_dropped(void *arg)
{
	struct call *c = arg;

	close(c->fd);
	call_free(c);
}

static void fail(struct call *c, int error)
{
	struct stream_late *late = c->late;

	on_dropped(c);
	stream_late_fail(late, error);
}

static void succeed(struct call *c)
{
	struct stream_late *late = c->late;
	struct loop *loop = c->vsock->loop;
	struct stream *stream;
	int fd = c->fd, r;

	call_free(c);
	r = stream_fd_new(loop, fd, false, &stream);
	if (r < 0)
		stream_late_fail(late, r);
	else
		stream_late_become(late, stream);
}

/* Up to the line's end and no further: what is behind is the stream. 0; -EAGAIN;
 * whoever hangs up, or says something else, has refused. */
static int read_answer(struct call *c)
{
	char bytes[LINE_MAX];
	ssize_t n = recv(c->fd, bytes, sizeof(c->line) - c->line_len, MSG_PEEK);
	const char *end;

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? -EAGAIN : -errno;
	end = n > 0 ? memchr(bytes, '\n', (size_t)n) : NULL;
	if (end)
		n = end + 1 - bytes;
	n = recv(c->fd, c->line + c->line_len, (size_t)n, 0);
	if (n <= 0)
		return n == 0 ? -ECONNREFUSED : -errno;
	c->line_len += (size_t)n;
	if (end)
		return strncmp(c->line, "OK ", 3) == 0 ? 0 : -ECONNREFUSED;
	return c->line_len < sizeof(c->line) ? -EAGAIN : -ECONNREFUSED;
}

static void on_readable(void *arg, unsigned int events)
{
	struct call *c = arg;
	int r = read_answer(c);

	(void)events;
	if (r == 0)
		succeed(c);
	else if (r != -EAGAIN)
		fail(c, r);
}

static void on_timer(void *arg)
{
	fail(arg, -ETIMEDOUT);
}

/* A connected descriptor with the request sent, or -errno. */
static int connect_peer(const struct vsock_peer *v, uint32_t port)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	char request[LINE_MAX];
	int len = snprintf(request, sizeof(request), "CONNECT %u\n", port);

	if (fd < 0)
		return -errno;
	/* the first bytes of a new socket: there is room */
	if (connect(fd, (const struct sockaddr *)&v->address, sizeof(v->address)) < 0 ||
	    send(fd, request, (size_t)len, MSG_NOSIGNAL) != len) {
		close(fd);
		return -ENETDOWN;
	}
	unix_socket_widen(fd);
	return fd;
}

static int prepare(struct call *c)
{
	int r = watch_new(c->vsock->loop, c->fd, on_readable, c, &c->watch);

	if (r == 0)
		r = timer_new(c->vsock->loop, on_timer, c, &c->timer);
	if (r == 0)
		r = stream_late_new(on_dropped, c, &c->late);
	return r;
}

static int peer_dial(struct vsock *v, uint32_t port, uint32_t *host_port, struct stream **out)
{
	struct vsock_peer *p = container_of(v, struct vsock_peer, base);
	int fd = connect_peer(p, port), r;
	struct call *c;

	if (fd < 0)
		return fd;
	c = calloc(1, sizeof(*c));
	if (!c) {
		close(fd);
		return -ENOMEM;
	}
	c->vsock = p;
	c->fd = fd;
	r = prepare(c);
	if (r < 0) {
		on_dropped(c);
		return r;
	}
	watch_want(c->watch, LOOP_READ);
	timer_start(c->timer, PATIENCE_MS);
	*host_port = 0; /* the peer's, and not known yet */
	*out = stream_late_stream(c->late);
	return 0;
}

static int peer_listen(struct vsock *v, struct vsock_listener *listener)
{
	(void)v;
	(void)listener;
	return -EOPNOTSUPP;
}

static void peer_unlisten(struct vsock *v, struct vsock_listener *listener)
{
	(void)v;
	(void)listener;
}

static void peer_free(struct vsock *v)
{
	free(container_of(v, struct vsock_peer, base));
}

static const struct vsock_ops peer_ops = {
	.dial = peer_dial,
	.listen = peer_listen,
	.unlisten = peer_unlisten,
	.free = peer_free,
};

int vsock_peer_new(struct loop *loop, const char *path, struct vsock **out)
{
	struct vsock_peer *p;

	if (strlen(path) >= sizeof(p->address.sun_path))
		return -ENAMETOOLONG;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->base.ops = &peer_ops;
	p->base.is_up = true; /* as far as can be known */
	p->loop = loop;
	p->address.sun_family = AF_UNIX;
	memcpy(p->address.sun_path, path, strlen(path) + 1);
	*out = &p->base;
	return 0;
}
