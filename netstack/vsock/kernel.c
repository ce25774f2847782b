/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/vsock/kernel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/stream_fd.h"

#define BACKLOG 128
#define RETRY_MS 100

struct vsock_kernel {
	struct vsock base;
	struct loop *loop;
	uint32_t guest_cid;
	struct list ports; /* port.node */
};

/* One that is listened on. */
struct port {
	struct list node; /* vsock_kernel.ports */
	struct vsock_kernel *vsock;
	struct vsock_listener *listener;
	int fd;
	struct watch *watch;
	struct timer *retry; /* after running out of descriptors */
};

static struct vsock_kernel *from_vsock(struct vsock *v)
{
	return container_of(v, struct vsock_kernel, base);
}

static int new_socket(void)
{
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

static uint32_t local_port(int fd)
{
	struct sockaddr_vm sa = { .svm_port = VMADDR_PORT_ANY };
	socklen_t len = sizeof(sa);

	(void)getsockname(fd, (struct sockaddr *)&sa, &len);
	return sa.svm_port;
}

static int kernel_dial(struct vsock *v, uint32_t port, uint32_t *host_port, struct stream **out)
{
	struct vsock_kernel *k = from_vsock(v);
	struct sockaddr_vm sa = {
		.svm_family = AF_VSOCK,
		.svm_cid = k->guest_cid,
		.svm_port = port,
	};
	int fd = new_socket();

	if (fd < 0)
		return fd;
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 && errno != EINPROGRESS) {
		int error = errno == ENODEV ? ENETDOWN : errno;

		close(fd);
		return -error;
	}
	*host_port = local_port(fd);
	return stream_fd_new(k->loop, fd, true, out);
}

/* ---- guests that connect ---- */

static void port_free(struct port *p)
{
	list_unlink(&p->node);
	watch_free(p->watch);
	timer_free(p->retry);
	if (p->fd >= 0)
		close(p->fd);
	free(p);
}

/* Takes fd. */
static void take(struct port *p, int fd, const struct sockaddr_vm *peer)
{
	const struct vsock_call call = { p->listener->port, peer->svm_port };
	struct stream *stream;

	if (peer->svm_cid != p->vsock->guest_cid) {
		log_limited(LOG_LEVEL_WARN, "vsock port %u: CID %u is not the guest, refused",
			    p->listener->port, peer->svm_cid);
		close(fd);
		return;
	}
	if (stream_fd_new(p->vsock->loop, fd, false, &stream) < 0)
		return;
	if (p->listener->accept(p->listener->arg, &call, stream) < 0)
		stream->ops->reset(stream);
}

static void on_connection(void *arg, unsigned int events)
{
	struct port *p = arg;
	struct sockaddr_vm peer = { .svm_cid = VMADDR_CID_ANY };
	socklen_t len = sizeof(peer);
	int fd = accept4(p->fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)events;
	if (fd >= 0) {
		take(p, fd, &peer);
	} else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
		log_limited(LOG_LEVEL_WARN, "vsock port %u: cannot accept: %s", p->listener->port,
			    strerror(errno));
		watch_want(p->watch, 0);
		timer_start(p->retry, RETRY_MS);
	}
}

static void on_retry(void *arg)
{
	struct port *p = arg;

	watch_want(p->watch, LOOP_READ);
}

static int open_port(struct port *p)
{
	struct sockaddr_vm sa = {
		.svm_family = AF_VSOCK,
		.svm_cid = VMADDR_CID_ANY,
		.svm_port = p->listener->port,
	};
	int r;

	p->fd = new_socket();
	if (p->fd < 0)
		return p->fd;
	if (bind(p->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(p->fd, BACKLOG) < 0)
		return -errno;
	r = timer_new(p->vsock->loop, on_retry, p, &p->retry);
	if (r == 0)
		r = watch_new(p->vsock->loop, p->fd, on_connection, p, &p->watch);
	return r;
}

static int kernel_listen(struct vsock *v, struct vsock_listener *listener)
{
	struct vsock_kernel *k = from_vsock(v);
	struct port *p;
	int r;

	if (listener->port == VSOCK_PORT_ANY)
		return -EOPNOTSUPP;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->vsock = k;
	p->listener = listener;
	list_append(&k->ports, &p->node);
	r = open_port(p);
	if (r < 0) {
		port_free(p);
		return r;
	}
	watch_want(p->watch, LOOP_READ);
	return 0;
}

static void kernel_unlisten(struct vsock *v, struct vsock_listener *listener)
{
	struct vsock_kernel *k = from_vsock(v);

	list_for_each(node, &k->ports) {
		struct port *p = container_of(node, struct port, node);

		if (p->listener == listener)
			port_free(p);
	}
}

static void kernel_free(struct vsock *v)
{
	free(from_vsock(v));
}

static const struct vsock_ops kernel_ops = {
	.dial = kernel_dial,
	.listen = kernel_listen,
	.unlisten = kernel_unlisten,
	.free = kernel_free,
};

int vsock_kernel_new(struct loop *loop, uint32_t guest_cid, struct vsock **out)
{
	struct vsock_kernel *k;
	int fd = new_socket();

	if (fd < 0)
		return fd;
	close(fd);
	k = calloc(1, sizeof(*k));
	if (!k)
		return -ENOMEM;
	k->base.ops = &kernel_ops;
	k->base.is_up = true;
	k->loop = loop;
	k->guest_cid = guest_cid;
	list_init(&k->ports);
	*out = &k->base;
	return 0;
}
