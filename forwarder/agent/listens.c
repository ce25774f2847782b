/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/agent/listens.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "forwarder/agent/guest_clients.h"
#include "forwarder/listen_socket.h"
#include "forwarder/rpc/call.h"
#include "forwarder/rpc/http2.h"
#include "forwarder/udp_forward.h"
#include "netstack/base/list.h"
#include "netstack/base/loop.h"
#include "netstack/unix_socket.h"

#define BACKLOG 128
#define RETRY_MS 100U /* out of descriptors */
/* Announcements that the host has not read; UDP clients beyond are not announced. */
#define QUEUED_MAX 4096U

struct listens {
	struct loop *loop;
	struct udp_hub *hub;
	struct list all; /* listening.node */
	uint64_t last_id;
};

struct listening {
	struct list node; /* listens.all */
	struct listens *owner;
	struct call *call;
	struct guest_clients *clients; /* UDP; or, when NULL: */
	struct unix_socket path;       /* or, with fd -1 in there: */
	int fd;
	struct watch *watch;
	struct timer *timer; /* of the one that waits longest, or RETRY_MS */
	struct list waiting; /* accepted.node, the oldest first */
	unsigned int n_waiting;
};

struct accepted {
	struct list node; /* listening.waiting */
	struct listening *listening;
	uint64_t id;
	int fd;
	uint64_t since_ms;
};

static int listen_fd(const struct listening *l)
{
	return l->path.fd >= 0 ? l->path.fd : l->fd;
}

/* Returns the descriptor that it had. */
static int forget(struct accepted *a)
{
	int fd = a->fd;

	list_unlink(&a->node);
	a->listening->n_waiting--;
	free(a);
	return fd;
}

static void drop_all(struct listening *l)
{
	list_for_each(node, &l->waiting)
		close(forget(container_of(node, struct accepted, node)));
}

static void end(struct listening *l)
{
	drop_all(l);
	list_unlink(&l->node);
	guest_clients_free(l->clients);
	watch_free(l->watch);
	timer_free(l->timer);
	unix_socket_close(&l->path);
	if (l->fd >= 0)
		close(l->fd);
	call_free(l->call);
	free(l);
}

static void on_timer(void *arg)
{
	struct listening *l = arg;
	uint64_t now = loop_now_ms(l->owner->loop);

	list_for_each(node, &l->waiting) {
		struct accepted *a = container_of(node, struct accepted, node);

		if (now - a->since_ms >= LISTENS_PATIENCE_MS)
			close(forget(a));
	}
	watch_want(l->watch, l->n_waiting < LISTENS_WAITING_MAX ? LOOP_READ : 0);
	if (l->n_waiting)
		timer_start(l->timer, LISTENS_PATIENCE_MS / 4);
}

static void announce(struct listening *l, int fd)
{
	struct rpc_listen_message accepted = { .is_accepted = true };
	struct accepted *a = calloc(1, sizeof(*a));
	struct message m;

	if (!a) {
		close(fd);
		return;
	}
	a->listening = l;
	a->id = ++l->owner->last_id;
	a->fd = fd;
	a->since_ms = loop_now_ms(l->owner->loop);
	list_append(&l->waiting, &a->node);
	l->n_waiting++;
	accepted.id = a->id;
	if (message_listen(&accepted, &m) < 0 || call_send(l->call, &m) < 0)
		close(forget(a));
}

static void on_readable(void *arg, unsigned int events)
{
	struct listening *l = arg;

	(void)events;
	while (l->n_waiting < LISTENS_WAITING_MAX) {
		int fd = accept4(listen_fd(l), NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			announce(l, fd);
		} else if (errno == EAGAIN) {
			break;
		} else if (errno != ECONNABORTED && errno != EINTR) {
			watch_want(l->watch, 0);
			timer_start(l->timer, RETRY_MS);
			return;
		}
	}
	if (l->n_waiting >= LISTENS_WAITING_MAX)
		watch_want(l->watch, 0);
	if (!timer_is_running(l->timer))
		timer_start(l->timer, LISTENS_PATIENCE_MS / 4);
}

/* Of a client that sends datagrams. */
static int on_client(void *arg, uint64_t *id)
{
	struct listening *l = arg;
	struct rpc_listen_message accepted = { .is_accepted = true, .id = l->owner->last_id + 1 };
	struct message m;
	int r;

	if (call_queued(l->call) > QUEUED_MAX)
		return -EAGAIN;
	r = message_listen(&accepted, &m);
	if (r == 0)
		r = call_send(l->call, &m);
	if (r == 0)
		*id = ++l->owner->last_id;
	return r;
}

static int open_socket(struct listening *l, const struct rpc_place *place)
{
	if (place->path[0])
		return unix_socket_listen(place->path, &l->path);
	l->fd = listen_socket_bind(FORWARD_TCP, &place->endpoint);
	if (l->fd < 0)
		return l->fd;
	return listen(l->fd, BACKLOG) < 0 ? -errno : 0;
}

static int start_udp(struct listening *l, const struct endpoint *at)
{
	const struct guest_clients_owner owner = { on_client, l };

	return guest_clients_new(l->owner->loop, l->owner->hub, at, &owner, &l->clients);
}

static int start(struct listening *l, const struct rpc_open *at)
{
	struct loop *loop = l->owner->loop;
	int r;

	if (at->is_udp)
		return start_udp(l, &at->place.endpoint);
	r = open_socket(l, &at->place);
	if (r == 0)
		r = watch_new(loop, listen_fd(l), on_readable, l, &l->watch);
	if (r == 0)
		r = timer_new(loop, on_timer, l, &l->timer);
	return r;
}

static bool has_started(const struct listening *l)
{
	return l->watch || l->clients;
}

static void on_message(void *arg, const uint8_t *data, size_t len)
{
	struct listening *l = arg;
	struct rpc_listen_message listening = { 0 };
	struct rpc_open at;
	struct message m;

	if (has_started(l) || message_parse_listen_at(data, len, &at) < 0) {
		call_finish(l->call, GRPC_INVALID_ARGUMENT, "not a place to listen on");
		end(l);
		return;
	}
	listening.error = start(l, &at);
	if (message_listen(&listening, &m) < 0 || call_send(l->call, &m) < 0 || listening.error) {
		end(l);
		return;
	}
	if (l->watch)
		watch_want(l->watch, LOOP_READ);
}

static void on_end(void *arg, int status, const char *text)
{
	struct listening *l = arg;

	(void)status;
	(void)text;
	if (!has_started(l)) /* nothing was asked for */
		end(l);
}

static void on_gone(void *arg, int error)
{
	(void)error;
	end(arg);
}

static const struct call_ops call_ops = { on_message, on_end, on_gone };

void listens_request(struct listens *listens, struct http2_stream *s)
{
	struct listening *l = calloc(1, sizeof(*l));
	struct call_handler handler = { &call_ops, l };

	if (!l) {
		http2_stream_refuse(s, GRPC_RESOURCE_EXHAUSTED, "out of memory");
		return;
	}
	l->owner = listens;
	l->fd = l->path.fd = -1;
	list_init(&l->waiting);
	list_append(&listens->all, &l->node);
	if (call_accept(s, &handler, &l->call) < 0)
		end(l);
}

static struct accepted *find(struct listens *listens, uint64_t id)
{
	list_for_each(node, &listens->all) {
		struct listening *l = container_of(node, struct listening, node);

		list_for_each(waiting, &l->waiting) {
			struct accepted *a = container_of(waiting, struct accepted, node);

			if (a->id == id)
				return a;
		}
	}
	return NULL;
}

int listens_take(struct listens *listens, uint64_t id)
{
	struct accepted *a = find(listens, id);

	if (!a)
		return -ENOENT;
	if (a->listening->n_waiting == LISTENS_WAITING_MAX)
		watch_want(a->listening->watch, LOOP_READ);
	return forget(a);
}

struct guest_client *listens_client(struct listens *listens, uint64_t id)
{
	list_for_each(node, &listens->all) {
		struct listening *l = container_of(node, struct listening, node);
		struct guest_client *c = l->clients ? guest_clients_find(l->clients, id) : NULL;

		if (c)
			return c;
	}
	return NULL;
}

int listens_new(struct loop *loop, struct listens **out)
{
	struct listens *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	if (udp_hub_new(loop, &l->hub) < 0) {
		free(l);
		return -ENOMEM;
	}
	l->loop = loop;
	list_init(&l->all);
	*out = l;
	return 0;
}

void listens_free(struct listens *l)
{
	if (!l)
		return;
	list_for_each(node, &l->all)
		end(container_of(node, struct listening, node));
	udp_hub_free(l->hub);
	free(l);
}
