/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/dial.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "netstack/base/loop.h"
#include "netstack/stream.h"
#include "netstack/stream_fd.h"
#include "netstack/stream_late.h"

#define RETRY_MS 10

static void nothing_to_drop(void *arg)
{
	(void)arg;
}

int dial_failed(int error, struct stream **out)
{
	struct stream_late *late;
	int r = stream_late_new(nothing_to_drop, NULL, &late);

	if (r < 0)
		return r;
	stream_late_fail(late, error);
	*out = stream_late_stream(late);
	return 0;
}

int dial_tcp_fd(struct loop *loop, int fd, const struct endpoint *to, struct stream **out)
{
	struct sockaddr_storage sa;
	socklen_t len = endpoint_to_sockaddr(to, &sa);
	const int on = 1;
	int error;

	/* Only latency is lost when this fails. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	error = connect(fd, (struct sockaddr *)&sa, len) < 0 ? -errno : 0;
	if (error == 0 || error == -EINPROGRESS)
		return stream_fd_new(loop, fd, error != 0, out);
	close(fd);
	return dial_failed(error, out);
}

int dial_tcp(struct loop *loop, const struct endpoint *to, struct stream **out)
{
	int family = ipaddr_is_v4(&to->addr) ? AF_INET : AF_INET6;
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : dial_tcp_fd(loop, fd, to, out);
}

/* --- a server whose backlog is full: connect(2) does not wait for it ------- */

struct unix_dial {
	struct loop *loop;
	struct sockaddr_un sa;
	int fd;
	struct timer *timer;
	uint64_t give_up_ms;
	struct stream_late *late;
};

static void unix_dial_free(void *arg)
{
	struct unix_dial *d = arg;

	timer_free(d->timer);
	if (d->fd >= 0)
		close(d->fd);
	free(d);
}

static void finish(struct unix_dial *d, int error)
{
	struct stream_late *late = d->late;
	struct loop *loop = d->loop;
	struct stream *stream = NULL;
	int fd = d->fd;

	d->fd = -1;
	unix_dial_free(d);
	if (error == 0)
		error = stream_fd_new(loop, fd, false, &stream);
	else
		close(fd);
	if (stream)
		stream_late_become(late, stream);
	else
		stream_late_fail(late, error);
}

static void on_retry(void *arg)
{
	struct unix_dial *d = arg;

	if (connect(d->fd, (const struct sockaddr *)&d->sa, sizeof(d->sa)) == 0)
		finish(d, 0);
	else if (errno != EAGAIN)
		finish(d, -errno);
	else if (loop_now_ms(d->loop) >= d->give_up_ms)
		finish(d, -ETIMEDOUT);
	else
		timer_start(d->timer, RETRY_MS);
}

/* Takes fd. */
static int wait_for_server(struct loop *loop, int fd, const struct sockaddr_un *sa,
			   struct stream **out)
{
	struct unix_dial *d = calloc(1, sizeof(*d));
	int r;

	if (!d) {
		close(fd);
		return -ENOMEM;
	}
	d->loop = loop;
	d->sa = *sa;
	d->fd = fd;
	d->give_up_ms = loop_now_ms(loop) + DIAL_UNIX_BUSY_MS;
	r = timer_new(loop, on_retry, d, &d->timer);
	if (r == 0)
		r = stream_late_new(unix_dial_free, d, &d->late);
	if (r < 0) {
		unix_dial_free(d);
		return r;
	}
	timer_start(d->timer, RETRY_MS);
	*out = stream_late_stream(d->late);
	return 0;
}

int dial_unix(struct loop *loop, const char *path, struct stream **out)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	size_t len = strlen(path);
	int fd, error;

	if (len >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	memcpy(sa.sun_path, path, len + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&sa, sizeof(sa)) == 0)
		return stream_fd_new(loop, fd, false, out);
	if (errno == EAGAIN)
		return wait_for_server(loop, fd, &sa, out);
	error = -errno;
	close(fd);
	return dial_failed(error, out);
}
