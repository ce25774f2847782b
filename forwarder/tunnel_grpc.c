/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/tunnel_grpc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/rpc/call.h"
#include "forwarder/rpc/flow_datagram.h"
#include "forwarder/rpc/http2.h"
#include "forwarder/tunnel_place.h"
#include "netstack/base/list.h"
#include "netstack/base/loop.h"
#include "netstack/stream.h"

#define BUSY_MS 20U	  /* the agent has as many calls as it allows */
#define RELISTEN_MS 1000U /* a reverse forward that could not be had */

struct tunnel_grpc {
	struct tunnel base;
	struct loop *loop;
	struct tunnel_grpc_config config;
	struct tunnel_grpc_link link; /* http2 NULL: down */
	struct list dials;	      /* dial.node, the oldest first */
	struct list listeners;	      /* tunnel_listener.node */
	struct timer *timer;	      /* of the oldest dial */
	unsigned long last_id;
};

/* Waits for a connection. */
struct dial {
	struct list node; /* tunnel_grpc.dials */
	struct tunnel_grpc *tunnel;
	struct flow_stream *stream;
	struct rpc_open open;
	uint64_t until_ms;
};

struct udp {
	struct udp_flow base;
	struct tunnel_grpc *tunnel;
	struct rpc_open open;
	struct udp_flow_owner owner;
	void *arg;
	struct flow_datagram *call; /* NULL: the next datagram makes one */
};

struct tunnel_listener {
	struct list node; /* tunnel_grpc.listeners */
	struct tunnel_grpc *tunnel;
	struct rpc_place place;
	struct tunnel_accept accept;
	void *arg;
	struct call *call;
	struct timer *again;
	bool *freed; /* set when it goes while its owner is called */
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

static void forget_dial(void *arg)
{
	struct dial *d = arg;

	list_unlink(&d->node);
	free(d);
}

/* How long until there is something to do for those that wait: the oldest is given up,
 * or, with a connection, the agent asked again whether it takes more calls. */
static void start_timer(struct tunnel_grpc *t)
{
	uint64_t now = loop_now_ms(t->loop);
	struct dial *oldest = container_of(t->dials.next, struct dial, node);
	uint64_t left = oldest->until_ms > now ? oldest->until_ms - now : 0;

	timer_start(t->timer, t->link.http2 && left > BUSY_MS ? BUSY_MS : left);
}

static int wait_for_link(struct dial *d, struct stream **out)
{
	struct tunnel_grpc *t = d->tunnel;
	uint64_t now = loop_now_ms(t->loop);
	struct flow_observer observer = { forget_dial, d };
	int r = flow_stream_new(t->loop, &observer, &d->stream);

	if (r < 0)
		return r;
	d->until_ms = now + t->config.dial_wait_ms;
	list_append(&t->dials, &d->node);
	if (!timer_is_running(t->timer))
		start_timer(t);
	*out = flow_stream_base(d->stream);
	return 0;
}

static int dial_later(struct tunnel_grpc *t, const struct rpc_open *open, struct stream **out)
{
	struct dial *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return -ENOMEM;
	d->tunnel = t;
	d->open = *open;
	r = wait_for_link(d, out);
	if (r < 0)
		free(d);
	return r;
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
	if (t->link.http2 && list_empty(&t->dials))
		r = dial_now(t, &open, out);
	else if (t->link.http2)
		r = -EBUSY; /* others came before */
	if (t->link.http2)
		return r == -EBUSY ? dial_later(t, &open, out) : r;
	return base->state == TUNNEL_CONNECTING ? dial_later(t, &open, out) : -ENOTCONN;
}

/* Out of the list, but alive: its observer is not called any more. */
static struct flow_stream *take_dial(struct dial *d)
{
	struct flow_stream *stream = d->stream;

	flow_stream_set_observer(stream, NULL);
	forget_dial(d);
	return stream;
}

/* Until the agent takes no more calls. */
static void dial_waiting(struct tunnel_grpc *t)
{
	while (!list_empty(&t->dials)) {
		struct dial *d = container_of(t->dials.next, struct dial, node);
		int r = request(t, d->stream, &d->open);

		if (r == -EBUSY)
			break;
		if (r < 0)
			flow_stream_fail(take_dial(d), r);
		else
			(void)take_dial(d);
	}
	if (list_empty(&t->dials))
		timer_stop(t->timer);
	else
		start_timer(t);
}

static void on_timer(void *arg)
{
	struct tunnel_grpc *t = arg;
	uint64_t now = loop_now_ms(t->loop);

	while (!list_empty(&t->dials)) {
		struct dial *d = container_of(t->dials.next, struct dial, node);

		if (d->until_ms > now)
			break;
		flow_stream_fail(take_dial(d), -ETIMEDOUT);
	}
	if (t->link.http2)
		dial_waiting(t);
	else if (!list_empty(&t->dials))
		start_timer(t);
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

/* The guest has forgotten the flow, or the connection is lost: the client knows
 * nothing of that, and the next datagram makes another. */
static void on_call_gone(void *arg, int error)
{
	struct udp *u = arg;

	(void)error;
	flow_datagram_free(u->call, GRPC_OK, "");
	u->call = NULL;
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

static void udp_free(struct udp_flow *base)
{
	struct udp *u = container_of(base, struct udp, base);

	if (u->call)
		flow_datagram_free(u->call, GRPC_OK, "");
	free(u);
}

static const struct udp_flow_ops udp_flow_ops = { udp_send, udp_free };

static int grpc_open_udp(struct tunnel *base, const struct endpoint *guest,
			 const struct udp_flow_owner *owner, void *arg, struct udp_flow **out)
{
	struct tunnel_grpc *t = from_tunnel(base);
	struct udp *u;

	if (!t->link.http2 && base->state != TUNNEL_CONNECTING)
		return -ENOTCONN;
	u = calloc(1, sizeof(*u));
	if (!u)
		return -ENOMEM;
	u->base.ops = &udp_flow_ops;
	u->tunnel = t;
	u->open = (struct rpc_open){ .is_udp = true, .place.endpoint = *guest };
	u->owner = *owner;
	u->arg = arg;
	*out = &u->base;
	return 0;
}

/* --- reverse forwards --- */

/* False when the owner has ended it. */
static bool tell_state(struct tunnel_listener *l, int error)
{
	bool freed = false;

	l->freed = &freed;
	l->accept.state(l->arg, error);
	if (!freed)
		l->freed = NULL;
	return !freed;
}

static void stop_listening(struct tunnel_listener *l)
{
	call_free(l->call);
	l->call = NULL;
}

static void on_accepted(struct tunnel_listener *l, uint64_t id)
{
	struct rpc_open open = { .accepted = id };
	struct stream *stream;

	/* else it is dropped in the guest, after a while */
	if (dial_now(l->tunnel, &open, &stream) == 0)
		l->accept.accepted(l->arg, stream);
}

static void on_listen_message(void *arg, const uint8_t *data, size_t len)
{
	struct tunnel_listener *l = arg;
	struct rpc_listen_message m;
	int r = message_parse_listen(data, len, &m);

	if (r == 0 && m.is_accepted) {
		on_accepted(l, m.id);
		return;
	}
	if (r == 0)
		r = m.error;
	if (r < 0) {
		stop_listening(l);
		timer_start(l->again, RELISTEN_MS);
	}
	(void)tell_state(l, r);
}

static void lost(struct tunnel_listener *l, int error)
{
	stop_listening(l);
	timer_start(l->again, RELISTEN_MS);
	(void)tell_state(l, error);
}

static void on_listen_end(void *arg, int status, const char *text)
{
	(void)text;
	lost(arg, status == GRPC_UNIMPLEMENTED ? -EOPNOTSUPP : -ENOTCONN);
}

static void on_listen_gone(void *arg, int error)
{
	(void)error;
	lost(arg, -ENOTCONN);
}

static const struct call_ops listen_ops = { on_listen_message, on_listen_end, on_listen_gone };

/* 0 when the agent was asked. */
static int ask_to_listen(struct tunnel_listener *l)
{
	struct tunnel_grpc *t = l->tunnel;
	struct call_handler handler = { &listen_ops, l };
	struct message m;
	int r;

	if (!t->link.http2)
		return -ENOTCONN;
	if (!(t->link.features & RPC_FEATURE_LISTEN))
		return -EOPNOTSUPP;
	r = message_place(&l->place, &m);
	if (r < 0)
		return r;
	r = call_new(t->link.http2, "/netfwd.v1.Agent/Listen", &handler, &l->call);
	if (r < 0) {
		free(m.data);
		return r;
	}
	return call_send(l->call, &m);
}

static void start_listening(void *arg)
{
	struct tunnel_listener *l = arg;
	int r;

	if (l->call)
		return;
	timer_stop(l->again);
	r = ask_to_listen(l);
	if (r == 0)
		return;
	stop_listening(l);
	if (r != -ENOTCONN && r != -EOPNOTSUPP) /* those are told anew by tunnel_grpc_up() */
		timer_start(l->again, RELISTEN_MS);
	(void)tell_state(l, r);
}

static int grpc_listen(struct tunnel *base, const struct tunnel_place *guest,
		       const struct tunnel_accept *accept, void *arg, struct tunnel_listener **out)
{
	struct tunnel_grpc *t = from_tunnel(base);
	struct tunnel_listener *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return -ENOMEM;
	l->tunnel = t;
	l->accept = *accept;
	l->arg = arg;
	r = tunnel_place_to_rpc(guest, &l->place);
	if (r == 0)
		r = timer_new(t->loop, start_listening, l, &l->again);
	if (r < 0) {
		free(l);
		return r;
	}
	list_append(&t->listeners, &l->node);
	timer_start(l->again, 0); /* not before this has returned */
	*out = l;
	return 0;
}

static void grpc_unlisten(struct tunnel_listener *l)
{
	if (l->freed)
		*l->freed = true;
	list_unlink(&l->node);
	stop_listening(l);
	timer_free(l->again);
	free(l);
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
	.unlisten = grpc_unlisten,
	.free = grpc_free,
};

static void set_state(struct tunnel_grpc *t, enum tunnel_state state)
{
	t->base.state = state;
	if (t->base.changed)
		t->base.changed(t->base.changed_arg);
}

void tunnel_grpc_up(struct tunnel_grpc *t, const struct tunnel_grpc_link *link)
{
	t->link = *link;
	set_state(t, TUNNEL_UP);
	dial_waiting(t);
	list_for_each(node, &t->listeners)
		start_listening(container_of(node, struct tunnel_listener, node));
}

void tunnel_grpc_down(struct tunnel_grpc *t, enum tunnel_state state, const char *error)
{
	t->link = (struct tunnel_grpc_link){ 0 };
	(void)snprintf(t->base.error, sizeof(t->base.error), "%s", error);
	set_state(t, state);
	list_for_each(node, &t->listeners) {
		struct tunnel_listener *l = container_of(node, struct tunnel_listener, node);

		if (l->call) { /* the port is wanted by the next connection */
			stop_listening(l);
			(void)tell_state(l, -ENOTCONN);
		}
	}
}

int tunnel_grpc_new(struct loop *loop, const struct tunnel_grpc_config *config,
		    struct tunnel_grpc **out)
{
	struct tunnel_grpc *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	if (timer_new(loop, on_timer, t, &t->timer) < 0) {
		free(t);
		return -ENOMEM;
	}
	t->base.ops = &tunnel_ops;
	t->base.name = "grpc";
	t->base.state = TUNNEL_CONNECTING;
	t->loop = loop;
	t->config = *config;
	list_init(&t->dials);
	list_init(&t->listeners);
	*out = t;
	return 0;
}

void tunnel_grpc_free(struct tunnel_grpc *t)
{
	if (!t)
		return;
	timer_free(t->timer);
	free(t);
}

struct tunnel *tunnel_grpc_base(struct tunnel_grpc *t)
{
	return &t->base;
}
