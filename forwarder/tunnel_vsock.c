/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/tunnel_vsock.h"

#include <errno.h>
#include <stdlib.h>

#include "forwarder/agent_listens.h"
#include "forwarder/dial_queue.h"
#include "forwarder/raw_call.h"
#include "forwarder/raw_datagrams.h"
#include "forwarder/raw_stream.h"
#include "forwarder/rpc/messages.h"
#include "forwarder/tunnel_place.h"
#include "netstack/base/list.h"
#include "netstack/base/loop.h"
#include "netstack/stream.h"
#include "netstack/stream_late.h"
#include "netstack/vsock/vsock.h"

struct tunnel_vsock {
	struct tunnel base;
	struct loop *loop;
	struct tunnel_vsock_config config;
	uint32_t port;
	struct dial_queue *dials; /* dial.waiter, those that wait for the agent */
	struct agent_listens *listens;
};

/* A stream that is not connected yet: it waits for the agent, or for its answer. */
struct dial {
	struct dial_waiter waiter; /* tunnel_vsock.dials, while it waits for the agent */
	struct tunnel_vsock *tunnel;
	struct rpc_open open;
	struct raw_call *call; /* NULL: it waits for the agent */
	struct stream_late *late;
};

struct udp {
	struct udp_flow base;
	struct tunnel_vsock *tunnel;
	struct rpc_open open;
	struct udp_flow_owner owner;
	void *arg;
	struct raw_call *call;	    /* while it is being made */
	struct raw_datagrams *flow; /* NULL: the next datagram makes one */
};

static struct tunnel_vsock *from_tunnel(struct tunnel *t)
{
	return container_of(t, struct tunnel_vsock, base);
}

/* --- connections --- */

static void dial_free(struct dial *d)
{
	dial_queue_remove(&d->waiter);
	raw_call_free(d->call);
	free(d);
}

static void on_dropped(void *arg)
{
	dial_free(arg);
}

static void fail(struct dial *d, int error)
{
	struct stream_late *late = d->late;

	dial_free(d);
	stream_late_fail(late, error);
}

static void on_answered(void *arg, int error, struct stream *agent)
{
	struct dial *d = arg;
	struct stream_late *late = d->late;
	struct stream *stream = NULL;

	d->call = NULL;
	if (error == 0)
		error = raw_stream_new(agent, &stream);
	if (error < 0) {
		fail(d, error);
		return;
	}
	dial_free(d);
	stream_late_become(late, stream);
}

static int call_agent(struct tunnel_vsock *t, const struct rpc_open *open,
		      const struct raw_call_owner *owner, struct raw_call **out)
{
	struct stream *agent;
	uint32_t host_port;
	int r = vsock_dial(t->config.vsock, t->port, &host_port, &agent);

	if (r < 0)
		return r == -ENOMEM ? r : -ENOTCONN;
	return raw_call_new(t->loop, agent, open, owner, out);
}

static int dial_now(struct dial *d)
{
	const struct raw_call_owner owner = { on_answered, d };

	return call_agent(d->tunnel, &d->open, &owner, &d->call);
}

static int start_dial(struct dial *d)
{
	struct tunnel_vsock *t = d->tunnel;
	int r = stream_late_new(on_dropped, d, &d->late);

	if (r == 0 && t->base.state == TUNNEL_UP)
		r = dial_now(d);
	else if (r == 0)
		dial_queue_add(t->dials, &d->waiter);
	return r;
}

static int dial_open(struct tunnel_vsock *t, const struct rpc_open *open, struct stream **out)
{
	struct dial *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return -ENOMEM;
	d->tunnel = t;
	d->open = *open;
	list_init(&d->waiter.node);
	r = start_dial(d);
	if (r == 0) {
		*out = stream_late_stream(d->late);
		return 0;
	}
	if (d->late) {
		struct stream *stream = stream_late_stream(d->late);

		stream->ops->reset(stream); /* drops d */
	} else {
		dial_free(d);
	}
	return r;
}

static int vsock_tunnel_dial(struct tunnel *base, const struct tunnel_place *guest,
			     struct stream **out)
{
	struct rpc_open open = { .is_udp = false };
	int r = tunnel_place_to_rpc(guest, &open.place);

	if (r < 0)
		return r;
	if (base->state != TUNNEL_UP && base->state != TUNNEL_CONNECTING)
		return -ENOTCONN;
	return dial_open(from_tunnel(base), &open, out);
}

static int on_dial(void *arg, struct dial_waiter *waiter)
{
	(void)arg;
	return dial_now(container_of(waiter, struct dial, waiter));
}

static void on_dial_failed(void *arg, struct dial_waiter *waiter, int error)
{
	(void)arg;
	fail(container_of(waiter, struct dial, waiter), error);
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

static void drop_flow(struct udp *u)
{
	raw_datagrams_free(u->flow);
	u->flow = NULL;
}

/* A client of the host knows nothing of it, and its next datagram makes another. */
static void on_gone(void *arg)
{
	struct udp *u = arg;

	drop_flow(u);
	if (u->open.accepted)
		u->owner.gone(u->arg);
}

static void on_udp_answered(void *arg, int error, struct stream *agent)
{
	struct udp *u = arg;

	u->call = NULL;
	if (error == 0)
		raw_datagrams_attach(u->flow, agent);
	else
		on_gone(u);
}

static int make_flow(struct udp *u)
{
	static const struct raw_datagrams_ops ops = { on_datagram, on_refused, on_gone };
	const struct raw_call_owner owner = { on_udp_answered, u };
	int r;

	if (u->tunnel->base.state != TUNNEL_UP)
		return -EAGAIN;
	r = raw_datagrams_new(&ops, u, &u->flow);
	if (r == 0)
		r = call_agent(u->tunnel, &u->open, &owner, &u->call);
	if (r < 0)
		drop_flow(u);
	return r;
}

static int udp_send(struct udp_flow *base, const void *data, size_t len)
{
	struct udp *u = container_of(base, struct udp, base);
	int r = u->flow ? 0 : make_flow(u);

	if (r == 0)
		r = raw_datagrams_send(u->flow, data, len);
	if (r == 0 || r == -EMSGSIZE)
		return r;
	++*u->tunnel->config.datagrams_dropped;
	return -EAGAIN;
}

static void udp_refuse(struct udp_flow *base)
{
	struct udp *u = container_of(base, struct udp, base);

	if (u->flow)
		raw_datagrams_refuse(u->flow);
}

static void udp_free(struct udp_flow *base)
{
	struct udp *u = container_of(base, struct udp, base);

	raw_call_free(u->call);
	drop_flow(u);
	free(u);
}

static const struct udp_flow_ops udp_flow_ops = { udp_send, udp_refuse, udp_free };

static struct udp *udp_new(struct tunnel_vsock *t, const struct rpc_open *open,
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

static int vsock_tunnel_open_udp(struct tunnel *base, const struct endpoint *guest,
				 const struct udp_flow_owner *owner, void *arg,
				 struct udp_flow **out)
{
	const struct rpc_open open = { .is_udp = true, .place.endpoint = *guest };
	struct udp *u;

	if (base->state != TUNNEL_UP && base->state != TUNNEL_CONNECTING)
		return -ENOTCONN;
	u = udp_new(from_tunnel(base), &open, owner, arg);
	if (!u)
		return -ENOMEM;
	*out = &u->base;
	return 0;
}

/* --- reverse forwards --- */

static int dial_accepted(void *arg, uint64_t accepted, struct stream **out)
{
	const struct rpc_open open = { .accepted = accepted };

	return dial_open(arg, &open, out);
}

static int vsock_tunnel_listen(struct tunnel *base, const struct tunnel_place *guest,
			       const struct tunnel_accept *accept, void *arg,
			       struct tunnel_listener **out)
{
	return agent_listens_tcp(from_tunnel(base)->listens, guest, accept, arg, out);
}

static int vsock_tunnel_listen_udp(struct tunnel *base, const struct endpoint *guest,
				   const struct tunnel_accept *accept, void *arg,
				   struct tunnel_listener **out)
{
	return agent_listens_udp(from_tunnel(base)->listens, guest, accept, arg, out);
}

static int vsock_tunnel_take_udp(struct tunnel *base, uint64_t client,
				 const struct udp_flow_owner *owner, void *arg,
				 struct udp_flow **out)
{
	const struct rpc_open open = { .is_udp = true, .accepted = client };
	struct udp *u = udp_new(from_tunnel(base), &open, owner, arg);
	int r = u ? make_flow(u) : -ENOMEM;

	if (r < 0)
		free(u);
	else
		*out = &u->base;
	return r;
}

/* --- the tunnel --- */

static void vsock_tunnel_free(struct tunnel *base)
{
	(void)base; /* is its maker's */
}

static const struct tunnel_ops tunnel_ops = {
	.dial = vsock_tunnel_dial,
	.open_udp = vsock_tunnel_open_udp,
	.listen = vsock_tunnel_listen,
	.listen_udp = vsock_tunnel_listen_udp,
	.take_udp = vsock_tunnel_take_udp,
	.unlisten = agent_listens_end,
	.free = vsock_tunnel_free,
};

void tunnel_vsock_up(struct tunnel_vsock *t, const struct tunnel_vsock_link *link)
{
	uint64_t features = link->features & RPC_FEATURE_RAW_ACCEPTED ? link->features : 0;

	t->port = link->port;
	t->base.lacks = agent_listens_lacks(features);
	agent_listens_up(t->listens, link->http2, features);
	tunnel_set_state(&t->base, TUNNEL_UP, "");
	dial_queue_open(t->dials);
}

void tunnel_vsock_down(struct tunnel_vsock *t, enum tunnel_state state, const char *error)
{
	dial_queue_close(t->dials);
	tunnel_set_state(&t->base, state, error);
	agent_listens_down(t->listens);
	if (state != TUNNEL_CONNECTING)
		dial_queue_fail(t->dials, -ENOTCONN);
}

int tunnel_vsock_new(struct loop *loop, const struct tunnel_vsock_config *config,
		     struct tunnel_vsock **out)
{
	struct tunnel_vsock *t = calloc(1, sizeof(*t));
	const struct dial_queue_owner owner = { on_dial, on_dial_failed, t };
	int r;

	if (!t)
		return -ENOMEM;
	r = dial_queue_new(loop, &owner, config->dial_wait_ms, &t->dials);
	if (r == 0)
		r = agent_listens_new(loop, dial_accepted, t, &t->listens);
	if (r < 0) {
		tunnel_vsock_free(t);
		return r;
	}
	t->base.ops = &tunnel_ops;
	t->base.name = "vsock";
	t->base.state = TUNNEL_CONNECTING;
	t->loop = loop;
	t->config = *config;
	*out = t;
	return 0;
}

void tunnel_vsock_free(struct tunnel_vsock *t)
{
	if (!t)
		return;
	agent_listens_free(t->listens);
	dial_queue_free(t->dials);
	free(t);
}

struct tunnel *tunnel_vsock_base(struct tunnel_vsock *t)
{
	return &t->base;
}
