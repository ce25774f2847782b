/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/udp_flow_fd.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netstack/base/list.h"
#include "netstack/base/loop.h"

/* Over IPv6 one byte more than 65527 would do; never truncated. */
#define DATAGRAM_SIZE 65536
/* Datagrams taken in one round of the loop. */
#define BUDGET 32
/* So that a burst of the longest datagrams waits instead of being lost; the
 * kernel caps it at net.core.rmem_max. */
#define SOCKET_BUFFER_BYTES (1 << 20)

struct udp_flow_fd {
	struct udp_flow base;
	int fd;
	struct watch *watch;
	const struct udp_flow_owner *owner;
	void *arg;
	bool *is_freed; /* while a callback of the owner may do that */
};

static void flow_free(struct udp_flow *base)
{
	struct udp_flow_fd *f = container_of(base, struct udp_flow_fd, base);

	if (f->is_freed)
		*f->is_freed = true;
	watch_free(f->watch);
	close(f->fd);
	free(f);
}

/* What waited in the socket as an error is that of an earlier datagram. */
static int flow_send(struct udp_flow *base, const void *data, size_t len)
{
	struct udp_flow_fd *f = container_of(base, struct udp_flow_fd, base);
	ssize_t r = send(f->fd, data, len, MSG_NOSIGNAL);

	if (r < 0 && errno == ECONNREFUSED) {
		f->owner->refused(f->arg);
		r = send(f->fd, data, len, MSG_NOSIGNAL);
	}
	if (r >= 0)
		return 0;
	return errno == EMSGSIZE ? -EMSGSIZE : -EAGAIN;
}

static const struct udp_flow_ops flow_ops = { .send = flow_send, .free = flow_free };

/* Whether to go on: nothing waits, or the owner has freed the flow. */
static bool receive_one(struct udp_flow_fd *f)
{
	static uint8_t data[DATAGRAM_SIZE]; /* for all flows of the thread */
	ssize_t n = recv(f->fd, data, sizeof(data), 0);
	struct iovec iov = { data, n > 0 ? (size_t)n : 0 };
	bool is_freed = false;

	if (n < 0 && errno != ECONNREFUSED)
		return false;
	f->is_freed = &is_freed;
	if (n < 0)
		f->owner->refused(f->arg);
	else
		f->owner->receive(f->arg, &iov, 1);
	if (is_freed)
		return false;
	f->is_freed = NULL;
	return true;
}

static void on_readable(void *arg, unsigned int events)
{
	(void)events;
	for (int i = 0; i < BUDGET && receive_one(arg); i++)
		;
}

int udp_flow_fd_connect(int fd, const struct endpoint *to)
{
	const int size = SOCKET_BUFFER_BYTES;
	struct sockaddr_storage sa;
	socklen_t len = endpoint_to_sockaddr(to, &sa);
	int r = connect(fd, (struct sockaddr *)&sa, len) < 0 ? -errno : 0;

	/* Less is slower in bursts, not wrong. */
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if (r < 0)
		close(fd);
	return r;
}

int udp_flow_fd_new(struct loop *loop, int fd, const struct udp_flow_owner *owner, void *arg,
		    struct udp_flow **out)
{
	struct udp_flow_fd *f = calloc(1, sizeof(*f));
	int r;

	if (!f) {
		close(fd);
		return -ENOMEM;
	}
	f->base.ops = &flow_ops;
	f->fd = fd;
	f->owner = owner;
	f->arg = arg;
	r = watch_new(loop, fd, on_readable, f, &f->watch);
	if (r < 0) {
		flow_free(&f->base);
		return r;
	}
	watch_want(f->watch, LOOP_READ);
	*out = &f->base;
	return 0;
}
