/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/tunnel_vsock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

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
	struct list dials;   /* dial.node, those that wait for the agent, the oldest first */
	struct timer *timer; /* of the oldest */
};

/* A stream that is not connected yet: it waits for the agent, or for its answer. */
struct dial {
	struct list node; /* tunnel_vsock.dials, while it waits for the agent */
	struct tunnel_vsock *tunnel;
	struct rpc_open open;
	struct raw_call *call; /* NULL: it waits for the agent */
	struct stream_late *late;
	uint64_t until_ms;
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
	list_unlink(&d->node);
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

static void dial_later(struct dial *d)
{
	struct tunnel_vsock *t = d->tunnel;

	d->until_ms = loop_now_ms(t->loop) + t->config.dial_wait_ms;
	if (list_empty(&t->dials))
		timer_start(t->timer, t->config.dial_wait_ms);
	list_append(&t->dials, &d->node);
}

static int start_dial(struct dial *d, const struct tunnel_place *guest)
{
	struct tunnel_vsock *t = d->tunnel;
	int r = tunnel_place_to_rpc(guest, &d->open.place);

	if (r == 0)
		r = stream_late_new(on_dropped, d, &d->late);
	if (r == 0 && t->base.state == TUNNEL_UP)
		r = dial_now(d);
	else if (r == 0)
		dial_later(d);
	return r;
}

static int vsock_tunnel_dial(struct tunnel *base, const struct tunnel_place *guest,
			     struct stream **out)
{
	struct dial *d;
	int r;

	if (base->state != TUNNEL_UP && base->state != TUNNEL_CONNECTING)
		return -ENOTCONN;
	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->tunnel = from_tunnel(base);
	list_init(&d->node);
	r = start_dial(d, guest);
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

static void on_timer(void *arg)
{
	struct tunnel_vsock *t = arg;
	uint64_t now = loop_now_ms(t->loop);

	while (!list_empty(&t->dials)) {
		struct dial *d = container_of(t->dials.next, struct dial, node);

		if (d->until_ms > now) {
			timer_start(t->timer, d->until_ms - now);
			return;
		}
		fail(d, -ETIMEDOUT);
	}
}

/* All that waited: they are dialled, or fail with the error. */
static void end_waiting(struct tunnel_vsock *t, int error)
{
	struct list waiting, *node;

	list_init(&waiting);
	list_move_all(&waiting, &t->dials);
	timer_stop(t->timer);
	while ((node = list_take(&waiting))) {
		struct dial *d = container_of(node, struct dial, node);
		int r = error ? error : dial_now(d);

		if (r < 0)
			fail(d, r);
	}
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

/* The client knows nothing of it, and the next datagram makes another. */
static void drop_flow(struct udp *u)
{
	raw_datagrams_free(u->flow);
	u->flow = NULL;
}

static void on_gone(void *arg)
{
	drop_flow(arg);
}

static void on_udp_answered(void *arg, int error, struct stream *agent)
{
	struct udp *u = arg;

	u->call = NULL;
	if (error == 0)
		raw_datagrams_attach(u->flow, agent);
	else
		drop_flow(u);
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

static void udp_free(struct udp_flow *base)
{
	struct udp *u = container_of(base, struct udp, base);

	raw_call_free(u->call);
	drop_flow(u);
	free(u);
}

static const struct udp_flow_ops udp_flow_ops = { udp_send, udp_free };

static int vsock_tunnel_open_udp(struct tunnel *base, const struct endpoint *guest,
				 const struct udp_flow_owner *owner, void *arg,
				 struct udp_flow **out)
{
	struct udp *u;

	if (base->state != TUNNEL_UP && base->state != TUNNEL_CONNECTING)
		return -ENOTCONN;
	u = calloc(1, sizeof(*u));
	if (!u)
		return -ENOMEM;
	u->base.ops = &udp_flow_ops;
	u->tunnel = from_tunnel(base);
	u->open = (struct rpc_open){ .is_udp = true, .place.endpoint = *guest };
	u->owner = *owner;
	u->arg = arg;
	*out = &u->base;
	return 0;
}

/* --- the tunnel --- */

static void vsock_tunnel_free(struct tunnel *base)
{
	(void)base; /* is its maker's */
}

static const struct tunnel_ops tunnel_ops = {
	.dial = vsock_tunnel_dial,
	.open_udp = vsock_tunnel_open_udp,
	.free = vsock_tunnel_free,
};

static void set_state(struct tunnel_vsock *t, enum tunnel_state state, const char *error)
{
	(void)snprintf(t->base.error, sizeof(t->base.error), "%s", error);
	t->base.state = state;
	if (t->base.changed)
		t->base.changed(t->base.changed_arg);
}

void tunnel_vsock_up(struct tunnel_vsock *t, uint32_t port)
{
	t->port = port;
	set_state(t, TUNNEL_UP, "");
	end_waiting(t, 0);
}

void tunnel_vsock_down(struct tunnel_vsock *t, enum tunnel_state state, const char *error)
{
	set_state(t, state, error);
	if (state != TUNNEL_CONNECTING)
		end_waiting(t, -ENOTCONN);
}

int tunnel_vsock_new(struct loop *loop, const struct tunnel_vsock_config *config,
		     struct tunnel_vsock **out)
{
	struct tunnel_vsock *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	if (timer_new(loop, on_timer, t, &t->timer) < 0) {
		free(t);
		return -ENOMEM;
	}
	t->base.ops = &tunnel_ops;
	t->base.name = "vsock";
	t->base.state = TUNNEL_CONNECTING;
	t->loop = loop;
	t->config = *config;
	list_init(&t->dials);
	*out = t;
	return 0;
}

void tunnel_vsock_free(struct tunnel_vsock *t)
{
	if (!t)
		return;
	timer_free(t->timer);
	free(t);
}

struct tunnel *tunnel_vsock_base(struct tunnel_vsock *t)
{
	return &t->base;
}
