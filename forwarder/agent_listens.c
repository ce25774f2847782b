/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/agent_listens.h"

#include <errno.h>
#include <stdlib.h>

#include "forwarder/rpc/call.h"
#include "forwarder/rpc/http2.h"
#include "forwarder/tunnel_place.h"
#include "netstack/base/list.h"
#include "netstack/base/loop.h"

#define RELISTEN_MS 1000U /* a place that could not be had */

struct agent_listens {
	struct loop *loop;
	agent_listens_dial_fn *dial;
	void *arg;
	struct http2 *http2; /* NULL: down */
	uint64_t features;
	struct list all; /* tunnel_listener.node */
};

struct tunnel_listener {
	struct list node; /* agent_listens.all */
	struct agent_listens *owner;
	struct rpc_open at;
	struct tunnel_accept accept;
	void *arg;
	struct call *call;
	struct timer *again;
	bool *freed; /* set when it goes while its owner is called */
};

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

static void stop(struct tunnel_listener *l)
{
	call_free(l->call);
	l->call = NULL;
}

static void on_accepted(struct tunnel_listener *l, uint64_t id)
{
	struct agent_listens *all = l->owner;
	struct stream *stream;

	if (l->at.is_udp)
		l->accept.accepted_udp(l->arg, id);
	else if (all->dial(all->arg, id, &stream) == 0)
		l->accept.accepted(l->arg, stream);
	/* else it is dropped in the guest, after a while */
}

static void on_message(void *arg, const uint8_t *data, size_t len)
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
		stop(l);
		timer_start(l->again, RELISTEN_MS);
	}
	(void)tell_state(l, r);
}

static void lost(struct tunnel_listener *l, int error)
{
	stop(l);
	timer_start(l->again, RELISTEN_MS);
	(void)tell_state(l, error);
}

static void on_end(void *arg, int status, const char *text)
{
	(void)text;
	lost(arg, status == GRPC_UNIMPLEMENTED ? -EOPNOTSUPP : -ENOTCONN);
}

static void on_gone(void *arg, int error)
{
	(void)error;
	lost(arg, -ENOTCONN);
}

static const struct call_ops call_ops = { on_message, on_end, on_gone };

unsigned int agent_listens_lacks(uint64_t features)
{
	unsigned int lacks = 0;

	if (!(features & RPC_FEATURE_LISTEN))
		lacks |= TUNNEL_LACKS_LISTEN;
	if (!(features & RPC_FEATURE_LISTEN_UDP))
		lacks |= TUNNEL_LACKS_LISTEN_UDP;
	return lacks;
}

/* 0 when the agent was asked. */
static int ask(struct tunnel_listener *l)
{
	const struct agent_listens *all = l->owner;
	struct call_handler handler = { &call_ops, l };
	struct message m;
	int r;

	if (!all->http2)
		return -ENOTCONN;
	if (agent_listens_lacks(all->features) &
	    (l->at.is_udp ? TUNNEL_LACKS_LISTEN_UDP : TUNNEL_LACKS_LISTEN))
		return -EOPNOTSUPP;
	r = message_listen_at(&l->at, &m);
	if (r < 0)
		return r;
	r = call_new(all->http2, "/netfwd.v1.Agent/Listen", &handler, &l->call);
	if (r < 0) {
		free(m.data);
		return r;
	}
	return call_send(l->call, &m);
}

static void start(void *arg)
{
	struct tunnel_listener *l = arg;
	int r;

	if (l->call)
		return;
	timer_stop(l->again);
	r = ask(l);
	if (r == 0)
		return;
	stop(l);
	if (r != -ENOTCONN && r != -EOPNOTSUPP) /* those are told anew by the next connection */
		timer_start(l->again, RELISTEN_MS);
	(void)tell_state(l, r);
}

static int listener_new(struct agent_listens *all, const struct rpc_open *at,
			const struct tunnel_accept *accept, void *arg, struct tunnel_listener **out)
{
	struct tunnel_listener *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->owner = all;
	l->at = *at;
	l->accept = *accept;
	l->arg = arg;
	if (timer_new(all->loop, start, l, &l->again) < 0) {
		free(l);
		return -ENOMEM;
	}
	list_append(&all->all, &l->node);
	timer_start(l->again, 0); /* not before this has returned */
	*out = l;
	return 0;
}

int agent_listens_tcp(struct agent_listens *all, const struct tunnel_place *guest,
		      const struct tunnel_accept *accept, void *arg, struct tunnel_listener **out)
{
	struct rpc_open at = { .is_udp = false };
	int r = tunnel_place_to_rpc(guest, &at.place);

	return r < 0 ? r : listener_new(all, &at, accept, arg, out);
}

int agent_listens_udp(struct agent_listens *all, const struct endpoint *guest,
		      const struct tunnel_accept *accept, void *arg, struct tunnel_listener **out)
{
	const struct rpc_open at = { .is_udp = true, .place.endpoint = *guest };

	return listener_new(all, &at, accept, arg, out);
}

void agent_listens_end(struct tunnel_listener *l)
{
	if (l->freed)
		*l->freed = true;
	list_unlink(&l->node);
	stop(l);
	timer_free(l->again);
	free(l);
}

void agent_listens_up(struct agent_listens *all, struct http2 *http2, uint64_t features)
{
	all->http2 = http2;
	all->features = features;
	list_for_each(node, &all->all)
		timer_start(container_of(node, struct tunnel_listener, node)->again, 0);
}

void agent_listens_down(struct agent_listens *all)
{
	struct list told, *node;

	all->http2 = NULL;
	list_init(&told);
	while ((node = list_take(&all->all))) {
		struct tunnel_listener *l = container_of(node, struct tunnel_listener, node);

		list_append(&told, node);
		if (!l->call)
			continue;
		stop(l); /* the port is wanted by the next connection */
		(void)tell_state(l, -ENOTCONN);
	}
	list_move_all(&all->all, &told);
}

int agent_listens_new(struct loop *loop, agent_listens_dial_fn *dial, void *arg,
		      struct agent_listens **out)
{
	struct agent_listens *all = calloc(1, sizeof(*all));

	if (!all)
		return -ENOMEM;
	all->loop = loop;
	all->dial = dial;
	all->arg = arg;
	list_init(&all->all);
	*out = all;
	return 0;
}

void agent_listens_free(struct agent_listens *all)
{
	free(all);
}
