/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/tunnel_grpc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "forwarder/agent_listens.h"
#include "forwarder/dial_queue.h"
#include "forwarder/rpc/flow_datagram.h"
#include "forwarder/rpc/http2.h"
#include "forwarder/tunnel_place.h"
#include "netstack/base/list.h"
#include "netstack/base/loop.h"
#include "netstack/stream.h"

struct tunnel_grpc {
	struct tunnel base;
	struct loop *loop;
	struct tunnel_grpc_config config;
	struct tunnel_grpc_link link; /* http2 NULL: down */
	struct dial_queue *dials;     /* dial.waiter */
	struct agent_listens *listens;
	unsigned long last_id;
};

/* Waits for a connection. */
struct dial {
	struct dial_waiter waiter; /* tunnel_grpc.dials */
	struct tunnel_grpc *tunnel;
	struct flow_stream *stream;
	struct rpc_open open;
};

struct udp {
	struct udp_flow base;
	struct tunnel_grpc *tunnel;
	struct rpc_open open;
	struct udp_flow_owner owner;
	void *arg;
	struct flow_datagram *call; /* NULL: the next datagram makes one */
};

static struct tunnel_grpc *from_tunnel(struct tunnel *t)
{
	return container_of(t, struct tunnel_grpc, base);
}

/* The first message of a flow. */
static int first_message(struct tunnel_grpc *t, const struct rpc_open *open, struct message *out)
{
	struct rpc_flow_message flow = { .kind = RPC_FLOW_OPEN, .open = *open };
	struct guest_open guest = { .is_udp = open->is_udp, .guest = open->place.endpoint };

	if (t->link.dialect == FLOW_NETFWD)
		return message_flow(&flow, out);
	if (open->place.path[0] || open->accepted)
		return -EOPNOTSUPP;
	(void)snprintf(guest.id, sizeof(guest.id), "%s-netfwd-%lu", open->is_udp ? "udp" : "tcp",
		       ++t->last_id);
	return message_guest_open(&guest, out);
}

/* --- TCP and UNIX --- */

static int request(struct tunnel_grpc *t, struct flow_stream *stream, const struct rpc_open *open)
{
	struct message m;
	int r = first_message(t, open, &m);

	if (r < 0)
		return r;
	r = flow_stream_request(stream, t->link.http2, t->link.dialect, &m);
	free(m.data);
	return r;
}

static void dial_free(struct dial *d)
{
	dial_queue_remove(&d->waiter);
	free(d);
}

/* Its user has ended the stream. */
static void on_stream_gone(void *arg)
{
	dial_free(arg);
}

static int dial_later(struct tunnel_grpc *t, const struct rpc_open *open, struct stream **out)
{
	struct dial *d = calloc(1, sizeof(*d));
	const struct flow_observer observer = { on_stream_gone, d };

	if (!d || flow_stream_new(t->loop, &observer, &d->stream) < 0) {
		free(d);
		return -ENOMEM;
	}
	d->tunnel = t;
	d->open = *open;
	dial_queue_add(t->dials, &d->waiter);
	*out = flow_stream_base(d->stream);
	return 0;
}

static int dial_now(struct tunnel_grpc *t, const struct rpc_open *open, struct stream **out)
{
	struct flow_stream *stream;
	int r = flow_stream_new(t->loop, NULL, &stream);

	if (r < 0)
		return r;
	r = request(t, stream, open);
	if (r < 0) {
		flow_stream_base(stream)->ops->reset(flow_stream_base(stream));
		return r;
	}
	*out = flow_stream_base(stream);
	return 0;
}

static int grpc_dial(struct tunnel *base, const struct tunnel_place *guest, struct stream **out)
{
	struct tunnel_grpc *t = from_tunnel(base);
	struct rpc_open open = { 0 };
	int r = tunnel_place_to_rpc(guest, &open.place);

	if (r < 0)
		return r;
	if (t->link.http2 && dial_queue_is_empty(t->dials))
		r = dial_now(t, &open, out);
	else if (t->link.http2)
		r = -EBUSY; /* others came before */
	if (t->link.http2)
		return r == -EBUSY ? dial_later(t, &open, out) : r;
	return base->state == TUNNEL_CONNECTING ? dial_later(t, &open, out) : -ENOTCONN;
}

/* The stream lives on without. */
static struct flow_stream *dial_end(struct dial *d)
{
	struct flow_stream *stream = d->stream;

	flow_stream_set_observer(stream, NULL);
	dial_free(d);
	return stream;
}

static int on_dial(void *arg, struct dial_waiter *waiter)
{
	struct dial *d = container_of(waiter, struct dial, waiter);
	int r = request(arg, d->stream, &d->open);

	if (r == 0)
		(void)dial_end(d);
	return r;
}

static void on_dial_failed(void *arg, struct dial_waiter *waiter, int error)
{
	(void)arg;
	flow_stream_fail(dial_end(container_of(waiter, struct dial, waiter)), error);
}

/* --- UDP --- */

static void on_datagram(void *arg, const struct iovec *iov, int n)
{
	struct udp *u = arg;

	u->owner.receive(u->arg, iov, n);
}

static void on_refused(void *arg)
{
	struct udp *u = arg;

	u->owner.refused(u->arg);
}

/* The guest has forgotten the flow, or the connection is lost. A client of the host
 * knows nothing of that, and its next datagram makes another. */
static void on_call_gone(void *arg, int error)
{
	struct udp *u = arg;

	(void)error;
	flow_datagram_free(u->call, GRPC_OK, "");
	u->call = NULL;
	if (u->open.accepted)
		u->owner.gone(u->arg);
}

static const struct flow_datagram_ops udp_ops = { on_datagram, on_refused, on_call_gone };

static int udp_call(struct udp *u)
{
	struct tunnel_grpc *t = u->tunnel;
	struct flow_datagram_handler handler = { &udp_ops, u };
	struct message m;
	int r = t->link.http2 ? first_message(t, &u->open, &m) : -EAGAIN;

	if (r < 0)
		return r;
	r = flow_datagram_request(t->link.http2,
				  &(struct flow_datagram_target){ t->link.dialect, &m }, &handler,
				  &u->call);
	free(m.data);
	return r;
}

static int udp_send(struct udp_flow *base, const void *data, size_t len)
{
	struct udp *u = container_of(base, struct udp, base);
	int r = u->call ? 0 : udp_call(u);

	if (r == 0)
		r = flow_datagram_send(u->call, data, len);
	if (r == 0 || r == -EMSGSIZE)
		return r;
	if (r == -ENOMEM && u->call) { /* it ends in the middle of a datagram */
		flow_datagram_free(u->call, GRPC_OK, "");
		u->call = NULL;
	}
	++*u->tunnel->config.datagrams_dropped;
	return -EAGAIN;
}

static void udp_refuse(struct udp_flow *base)
{
	struct udp *u = container_of(base, struct udp, base);

	if (u->call)
		flow_datagram_refuse(u->call);
}

static void udp_free(struct udp_flow *base)
{
	struct udp *u = container_of(base, struct udp, base);

	if (u->call)
		flow_datagram_free(u->call, GRPC_OK, "");
	free(u);
}

static const struct udp_flow_ops udp_flow_ops = { udp_send, udp_refuse, udp_free };

static struct udp *udp_new(struct tunnel_grpc *t, const struct rpc_open *open,
			   const struct udp_flow_owner *owner, void *arg)
{
	struct udp *u = calloc(1, sizeof(*u));

	if (!u)
		return NULL;
	u->base.ops = &udp_flow_ops;
	u->tunnel = t;
	u->open = *open;
	u->owner = *owner;
	u->arg = arg;
	return u;
}

static int grpc_open_udp(struct tunnel *base, const struct endpoint *guest,
			 const struct udp_flow_owner *owner, void *arg, struct udp_flow **out)
{
	const struct rpc_open open = { .is_udp = true, .place.endpoint = *guest };
	struct tunnel_grpc *t = from_tunnel(base);
	struct udp *u;

	if (!t->link.http2 && base->state != TUNNEL_CONNECTING)
		return -ENOTCONN;
	u = udp_new(t, &open, owner, arg);
	if (!u)
		return -ENOMEM;
	*out = &u->base;
	return 0;
}

/* --- reverse forwards --- */

static int dial_accepted(void *arg, uint64_t accepted, struct stream **out)
{
	const struct rpc_open open = { .accepted = accepted };

	return dial_now(arg, &open, out);
}

static int grpc_listen(struct tunnel *base, const struct tunnel_place *guest,
		       const struct tunnel_accept *accept, void *arg, struct tunnel_listener **out)
{
	return agent_listens_tcp(from_tunnel(base)->listens, guest, accept, arg, out);
}

static int grpc_listen_udp(struct tunnel *base, const struct endpoint *guest,
			   const struct tunnel_accept *accept, void *arg,
			   struct tunnel_listener **out)
{
	return agent_listens_udp(from_tunnel(base)->listens, guest, accept, arg, out);
}

static int grpc_take_udp(struct tunnel *base, uint64_t client, const struct udp_flow_owner *owner,
			 void *arg, struct udp_flow **out)
{
	const struct rpc_open open = { .is_udp = true, .accepted = client };
	struct udp *u = udp_new(from_tunnel(base), &open, owner, arg);
	int r = u ? udp_call(u) : -ENOMEM;

	if (r < 0)
		free(u);
	else
		*out = &u->base;
	return r;
}

/* --- the tunnel --- */

static void grpc_free(struct tunnel *base)
{
	(void)base; /* is its maker's: agent_client.h */
}

static const struct tunnel_ops tunnel_ops = {
	.dial = grpc_dial,
	.open_udp = grpc_open_udp,
	.listen = grpc_listen,
	.listen_udp = grpc_listen_udp,
	.take_udp = grpc_take_udp,
	.unlisten = agent_listens_end,
	.free = grpc_free,
};

void tunnel_grpc_up(struct tunnel_grpc *t, const struct tunnel_grpc_link *link)
{
	t->link = *link;
	t->base.lacks = agent_listens_lacks(link->features);
	agent_listens_up(t->listens, link->http2, link->features);
	tunnel_set_state(&t->base, TUNNEL_UP, "");
	dial_queue_open(t->dials);
}

void tunnel_grpc_down(struct tunnel_grpc *t, enum tunnel_state state, const char *error)
{
	t->link = (struct tunnel_grpc_link){ 0 };
	dial_queue_close(t->dials);
	tunnel_set_state(&t->base, state, error);
	agent_listens_down(t->listens);
}

int tunnel_grpc_new(struct loop *loop, const struct tunnel_grpc_config *config,
		    struct tunnel_grpc **out)
{
	struct tunnel_grpc *t = calloc(1, sizeof(*t));
	const struct dial_queue_owner owner = { on_dial, on_dial_failed, t };
	int r;

	if (!t)
		return -ENOMEM;
	r = dial_queue_new(loop, &owner, config->dial_wait_ms, &t->dials);
	if (r == 0)
		r = agent_listens_new(loop, dial_accepted, t, &t->listens);
	if (r < 0) {
		tunnel_grpc_free(t);
		return r;
	}
	t->base.ops = &tunnel_ops;
	t->base.name = "grpc";
	t->base.state = TUNNEL_CONNECTING;
	t->loop = loop;
	t->config = *config;
	*out = t;
	return 0;
}

void tunnel_grpc_free(struct tunnel_grpc *t)
{
	if (!t)
		return;
	agent_listens_free(t->listens);
	dial_queue_free(t->dials);
	free(t);
}

struct tunnel *tunnel_grpc_base(struct tunnel_grpc *t)
{
	return &t->base;
}
