/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/agent/guest_clients.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/raw_datagrams.h"
#include "forwarder/rpc/flow_datagram.h"
#include "forwarder/rpc/http2.h"
#include "forwarder/udp_forward.h"
#include "netstack/base/list.h"
#include "netstack/base/loop.h"
#include "netstack/stream.h"
#include "netstack/udp_flow.h"

#define DATAGRAM_COST 64U /* of a waiting datagram, beside its bytes */

struct guest_clients {
	struct loop *loop;
	struct guest_clients_owner owner;
	struct udp_forward *socket;
	struct list waiting; /* guest_client.node, the longest waiting first */
	unsigned int n_waiting;
};

/* What the socket dials for a client: the way to the host. */
struct guest_client {
	struct udp_flow base;
	struct guest_clients *all;
	struct udp_flow_owner owner; /* the socket's end */
	void *arg;
	/* while it waits for the host */
	struct list node; /* guest_clients.waiting */
	uint64_t id;	  /* 0: it does not */
	uint64_t since_ms;
	struct list queue; /* datagram.node */
	size_t queued;
	/* then one of them */
	struct flow_datagram *call;
	struct raw_datagrams *raw;
};

struct datagram {
	struct list node;
	size_t len;
	uint8_t data[];
};

/* --- waiting --- */

static void stop_waiting(struct guest_client *c)
{
	if (!c->id)
		return;
	list_unlink(&c->node);
	c->all->n_waiting--;
	c->id = 0;
}

static void drop_queue(struct guest_client *c)
{
	struct list *node;

	while ((node = list_take(&c->queue)))
		free(container_of(node, struct datagram, node));
	c->queued = 0;
}

static int enqueue(struct guest_client *c, const void *data, size_t len)
{
	struct datagram *d;

	if (c->queued + len + DATAGRAM_COST > GUEST_CLIENT_QUEUE)
		return -EAGAIN;
	d = malloc(sizeof(*d) + len);
	if (!d)
		return -EAGAIN;
	d->len = len;
	if (len)
		memcpy(d->data, data, len);
	list_append(&c->queue, &d->node);
	c->queued += len + DATAGRAM_COST;
	return 0;
}

static void make_room(struct guest_clients *all)
{
	struct guest_client *longest;

	if (all->n_waiting < GUEST_CLIENTS_WAITING_MAX)
		return;
	longest = container_of(all->waiting.next, struct guest_client, node);
	stop_waiting(longest);
	drop_queue(longest);
}

static int start_waiting(struct guest_client *c)
{
	struct guest_clients *all = c->all;
	int r;

	stop_waiting(c);
	drop_queue(c);
	make_room(all);
	r = all->owner.announce(all->owner.arg, &c->id);
	if (r < 0) {
		c->id = 0;
		return r;
	}
	c->since_ms = loop_now_ms(all->loop);
	list_append(&all->waiting, &c->node);
	all->n_waiting++;
	return 0;
}

/* The host has not come for it. */
static bool has_waited_long(const struct guest_client *c)
{
	return loop_now_ms(c->all->loop) - c->since_ms >= GUEST_CLIENTS_PATIENCE_MS;
}

/* --- the socket's end --- */

static int send_on(struct guest_client *c, const void *data, size_t len)
{
	int r;

	if (c->raw)
		return raw_datagrams_send(c->raw, data, len);
	r = flow_datagram_send(c->call, data, len);
	if (r == -ENOMEM) { /* it ends in the middle of a datagram */
		flow_datagram_free(c->call, GRPC_OK, "");
		c->call = NULL;
		r = -EAGAIN;
	}
	return r;
}

static int client_send(struct udp_flow *base, const void *data, size_t len)
{
	struct guest_client *c = container_of(base, struct guest_client, base);

	if (c->call || c->raw)
		return send_on(c, data, len);
	if ((!c->id || has_waited_long(c)) && start_waiting(c) < 0)
		return -EAGAIN;
	return enqueue(c, data, len);
}

static void client_free(struct udp_flow *base)
{
	struct guest_client *c = container_of(base, struct guest_client, base);

	stop_waiting(c);
	drop_queue(c);
	if (c->call)
		flow_datagram_free(c->call, GRPC_OK, "");
	raw_datagrams_free(c->raw);
	free(c);
}

static const struct udp_flow_ops client_ops = { .send = client_send, .free = client_free };

static int client_new(void *arg, const struct udp_flow_owner *owner, void *owner_arg,
		      struct udp_flow **out)
{
	struct guest_client *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->base.ops = &client_ops;
	c->all = arg;
	c->owner = *owner;
	c->arg = owner_arg;
	list_init(&c->node);
	list_init(&c->queue);
	*out = &c->base;
	return 0;
}

/* --- the host's end --- */

static void on_receive(void *arg, const struct iovec *iov, int n)
{
	struct guest_client *c = arg;

	c->owner.receive(c->arg, iov, n);
}

static void on_refused(void *arg)
{
	struct guest_client *c = arg;

	c->owner.refused(c->arg);
}

static void on_call_gone(void *arg, int error)
{
	struct guest_client *c = arg;

	(void)error;
	flow_datagram_free(c->call, GRPC_OK, "");
	c->call = NULL;
}

static void on_raw_gone(void *arg)
{
	struct guest_client *c = arg;

	raw_datagrams_free(c->raw);
	c->raw = NULL;
}

/* What waited goes first. */
static void flush(struct guest_client *c)
{
	struct list *node;

	stop_waiting(c);
	while ((node = list_take(&c->queue))) {
		struct datagram *d = container_of(node, struct datagram, node);

		if (c->call || c->raw)
			(void)send_on(c, d->data, d->len);
		free(d);
	}
	c->queued = 0;
}

struct guest_client *guest_clients_find(struct guest_clients *all, uint64_t id)
{
	list_for_each(node, &all->waiting) {
		struct guest_client *c = container_of(node, struct guest_client, node);

		if (c->id == id)
			return c;
	}
	return NULL;
}

int guest_client_call(struct guest_client *c, struct http2_stream *call)
{
	static const struct flow_datagram_ops ops = { on_receive, on_refused, on_call_gone };
	const struct flow_datagram_handler handler = { &ops, c };
	int r = flow_datagram_accept(call, FLOW_NETFWD, &handler, &c->call);

	if (r == 0)
		flush(c);
	return r;
}

void guest_client_feed(struct guest_client *c, const uint8_t *data, size_t len)
{
	if (c->call)
		flow_datagram_feed(c->call, data, len);
}

int guest_client_raw(struct guest_client *c, struct stream *host)
{
	static const struct raw_datagrams_ops ops = { on_receive, on_refused, on_raw_gone };
	int r = raw_datagrams_new(&ops, c, &c->raw);

	if (r < 0) {
		host->ops->reset(host);
		return r;
	}
	raw_datagrams_attach(c->raw, host);
	flush(c);
	return 0;
}

/* --- life --- */

int guest_clients_new(struct loop *loop, struct udp_hub *hub, const struct endpoint *at,
		      const struct guest_clients_owner *owner, struct guest_clients **out)
{
	struct guest_clients *all = calloc(1, sizeof(*all));
	const struct udp_dialer dialer = { client_new, all };
	int r;

	if (!all)
		return -ENOMEM;
	all->loop = loop;
	all->owner = *owner;
	list_init(&all->waiting);
	r = udp_forward_new(hub, at, &dialer, &all->socket);
	if (r < 0) {
		free(all);
		return r;
	}
	udp_forward_start(all->socket);
	*out = all;
	return 0;
}

void guest_clients_free(struct guest_clients *all)
{
	if (!all)
		return;
	udp_forward_free(all->socket);
	free(all);
}
