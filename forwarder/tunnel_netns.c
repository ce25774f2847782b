/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/tunnel_netns.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "forwarder/guest_path.h"
#include "forwarder/listen_socket.h"
#include "forwarder/tunnel.h"
#include "netstack/acceptor.h"
#include "netstack/base/list.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/dial.h"
#include "netstack/netns_sockets.h"
#include "netstack/stream_fd.h"
#include "netstack/stream_late.h"
#include "netstack/udp_flow_fd.h"

struct tunnel_netns {
	struct tunnel base;
	struct loop *loop;
	struct netns_sockets *sockets;
	struct guest_files files;
	struct list waiting; /* waiting.node, the oldest first */
	unsigned int n_waiting;
	struct timer *timer; /* of those that wait */
};

/* A connection for which no socket was there. */
struct waiting {
	struct list node; /* tunnel_netns.waiting */
	struct tunnel_netns *tunnel;
	struct endpoint guest;
	struct stream_late *late;
};

struct tunnel_listener {
	struct tunnel_netns *tunnel;
	const struct tunnel_accept *accept;
	void *arg;
	int fd;			   /* path.socket.fd, or our own */
	struct guest_socket path;  /* fd -1: an endpoint */
	struct acceptor *acceptor; /* NULL: it does not listen */
	struct loop_deferred tell; /* how it went */
	int error;
};

static struct tunnel_netns *from_tunnel(struct tunnel *base)
{
	return container_of(base, struct tunnel_netns, base);
}

static int take(struct tunnel_netns *t, bool is_tcp, const struct endpoint *e)
{
	bool is_v4 = ipaddr_is_v4(&e->addr);

	if (is_tcp)
		return netns_sockets_take(t->sockets,
					  is_v4 ? NETNS_SOCKET_TCP4 : NETNS_SOCKET_TCP6);
	return netns_sockets_take(t->sockets, is_v4 ? NETNS_SOCKET_UDP4 : NETNS_SOCKET_UDP6);
}

/* --- connections --------------------------------------------------------- */

static void waiting_free(void *arg)
{
	struct waiting *w = arg;

	list_unlink(&w->node);
	w->tunnel->n_waiting--;
	free(w);
}

static int wait_for_socket(struct tunnel_netns *t, const struct endpoint *guest,
			   struct stream **out)
{
	struct waiting *w;
	int r;

	if (t->n_waiting == TUNNEL_NETNS_WAITING_MAX)
		return -ENOBUFS;
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	r = stream_late_new(waiting_free, w, &w->late);
	if (r < 0) {
		free(w);
		return r;
	}
	w->tunnel = t;
	w->guest = *guest;
	list_append(&t->waiting, &w->node);
	t->n_waiting++;
	if (!timer_is_running(t->timer))
		timer_start(t->timer, TUNNEL_NETNS_WAIT_MS);
	*out = stream_late_stream(w->late);
	return 0;
}

static int netns_dial(struct tunnel *base, const struct tunnel_place *guest, struct stream **out)
{
	struct tunnel_netns *t = from_tunnel(base);
	int fd;

	if (guest->path)
		return guest_path_dial(&t->files, t->loop, guest->path, out);
	fd = take(t, true, &guest->endpoint);
	if (fd == -EAGAIN)
		return wait_for_socket(t, &guest->endpoint, out);
	return fd < 0 ? fd : dial_tcp_fd(t->loop, fd, &guest->endpoint, out);
}

/* fd: a socket, or -errno. */
static void finish_waiting(struct waiting *w, int fd)
{
	struct stream_late *late = w->late;
	struct stream *stream;
	int r = fd < 0 ? fd : dial_tcp_fd(w->tunnel->loop, fd, &w->guest, &stream);

	waiting_free(w);
	if (r < 0)
		stream_late_fail(late, r);
	else
		stream_late_become(late, stream);
}

static struct waiting *first_waiting(struct tunnel_netns *t)
{
	return list_empty(&t->waiting) ? NULL : container_of(t->waiting.next, struct waiting, node);
}

static void on_arrived(void *arg)
{
	struct tunnel_netns *t = arg;
	struct waiting *w;

	while ((w = first_waiting(t))) {
		int fd = take(t, true, &w->guest);

		if (fd == -EAGAIN)
			break;
		finish_waiting(w, fd);
	}
	timer_stop(t->timer);
	if (w)
		timer_start(t->timer, TUNNEL_NETNS_WAIT_MS);
}

static void fail_waiting(struct tunnel_netns *t, int error)
{
	struct waiting *w;

	while ((w = first_waiting(t)))
		finish_waiting(w, error);
}

static void on_timer(void *arg)
{
	fail_waiting(arg, -ETIMEDOUT);
}

static void on_lost(void *arg)
{
	struct tunnel_netns *t = arg;

	t->base.state = TUNNEL_FAILED;
	(void)snprintf(t->base.error, sizeof(t->base.error),
		       "the process that makes its sockets has ended");
	timer_stop(t->timer);
	fail_waiting(t, -ENOTCONN);
	if (t->base.changed)
		t->base.changed(t->base.changed_arg);
}

static const struct netns_sockets_owner sockets_owner = { .arrived = on_arrived, .lost = on_lost };

static int netns_open_udp(struct tunnel *base, const struct endpoint *guest,
			  const struct udp_flow_owner *owner, void *arg, struct udp_flow **out)
{
	struct tunnel_netns *t = from_tunnel(base);
	int fd = take(t, false, guest);
	int r = fd < 0 ? fd : udp_flow_fd_connect(fd, guest);

	return r < 0 ? r : udp_flow_fd_new(t->loop, fd, owner, arg, out);
}

/* --- the other direction ------------------------------------------------- */

static void on_accepted(void *arg, int fd, const struct endpoint *client)
{
	struct tunnel_listener *l = arg;
	struct stream *stream;

	(void)client;
	if (stream_fd_new(l->tunnel->loop, fd, false, &stream) == 0)
		l->accept->accepted(l->arg, stream);
}

static const struct acceptor_owner acceptor_owner = { .accepted = on_accepted };

static void on_tell(void *arg)
{
	struct tunnel_listener *l = arg;

	l->accept->state(l->arg, l->error);
}

static int bind_place(struct tunnel_listener *l, const struct tunnel_place *guest)
{
	int r;

	if (guest->path) {
		r = guest_path_bind(&l->tunnel->files, guest->path, &l->path);
		l->fd = l->path.socket.fd;
		return r;
	}
	l->fd = take(l->tunnel, true, &guest->endpoint);
	return l->fd < 0 ? l->fd : listen_socket_bind_fd(l->fd, FORWARD_TCP, &guest->endpoint);
}

static int open_listener(struct tunnel_listener *l, const struct tunnel_place *guest)
{
	int r = bind_place(l, guest);

	if (r == 0 && listen(l->fd, SOMAXCONN) < 0)
		r = -errno;
	if (r == 0)
		r = acceptor_new(l->tunnel->loop, l->fd, &acceptor_owner, l, &l->acceptor);
	if (r == 0)
		acceptor_start(l->acceptor);
	return r;
}

static void close_listener(struct tunnel_listener *l)
{
	acceptor_free(l->acceptor);
	l->acceptor = NULL;
	if (l->path.socket.fd < 0 && l->fd >= 0)
		close(l->fd);
	guest_socket_close(&l->path);
	l->fd = -1;
}

static int netns_listen(struct tunnel *base, const struct tunnel_place *guest,
			const struct tunnel_accept *accept, void *arg, struct tunnel_listener **out)
{
	struct tunnel_listener *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->tunnel = from_tunnel(base);
	l->accept = accept;
	l->arg = arg;
	l->fd = l->path.socket.fd = l->path.directory = -1;
	loop_deferred_init(&l->tell, on_tell, l);
	l->error = open_listener(l, guest);
	if (l->error < 0)
		close_listener(l);
	loop_defer(l->tunnel->loop, &l->tell);
	*out = l;
	return 0;
}

static void netns_unlisten(struct tunnel_listener *l)
{
	loop_cancel_deferred(&l->tell);
	close_listener(l);
	free(l);
}

static int netns_bind_udp(struct tunnel *base, const struct endpoint *guest, int *out)
{
	int fd = take(from_tunnel(base), false, guest);
	int r = fd < 0 ? fd : listen_socket_bind_fd(fd, FORWARD_UDP, guest);

	if (r < 0 && fd >= 0)
		close(fd);
	*out = fd;
	return r;
}

/* --- life ---------------------------------------------------------------- */

static void netns_free(struct tunnel *base)
{
	struct tunnel_netns *t = from_tunnel(base);

	netns_sockets_free(t->sockets);
	guest_files_close(&t->files);
	timer_free(t->timer);
	free(t);
}

static const struct tunnel_ops netns_ops = {
	.dial = netns_dial,
	.open_udp = netns_open_udp,
	.listen = netns_listen,
	.unlisten = netns_unlisten,
	.bind_udp = netns_bind_udp,
	.free = netns_free,
};

int tunnel_netns_new(struct loop *loop, const char *netns, struct tunnel **out)
{
	struct tunnel_netns *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	t->base = (struct tunnel){ .ops = &netns_ops, .name = "netns", .state = TUNNEL_UP };
	t->loop = loop;
	t->files.process = -1;
	list_init(&t->waiting);
	r = timer_new(loop, on_timer, t, &t->timer);
	if (r == 0)
		r = netns_sockets_new(loop, netns, &sockets_owner, t, &t->sockets);
	if (r == 0) {
		r = guest_files_open(netns, &t->files);
		if (r < 0)
			log_error("the files of process %s: %s", netns, strerror(-r));
	}
	if (r < 0) {
		netns_free(&t->base);
		return r;
	}
	*out = &t->base;
	return 0;
}
