/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/host_listener.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "netstack/base/list.h"

struct host_listeners {
	struct loop *loop;
	struct udp_hub *udp_hub;
	struct list retired; /* retiree.node */
};

/* Connections that have outlived their listener. */
struct retiree {
	struct list node; /* host_listeners.retired */
	struct tcp_forward *tcp;
};

/* One socket, of either kind; both NULL: closed. */
struct socket_forward {
	struct tcp_forward *tcp;
	struct udp_forward *udp;
};

struct host_listener {
	struct host_listeners *all;
	struct host_place place;
	struct host_dialers dialers;
	struct socket_forward main, also;
	struct host_counters before; /* of sockets that are closed */
};

bool host_place_equal(const struct host_place *a, const struct host_place *b)
{
	return a->proto == b->proto && endpoint_equal(&a->host, &b->host) &&
	       strcmp(a->path, b->path) == 0;
}

int host_listeners_new(struct loop *loop, struct host_listeners **out)
{
	struct host_listeners *all = calloc(1, sizeof(*all));
	int r;

	if (!all)
		return -ENOMEM;
	all->loop = loop;
	list_init(&all->retired);
	r = udp_hub_new(loop, &all->udp_hub);
	if (r < 0) {
		free(all);
		return r;
	}
	*out = all;
	return 0;
}

static void retiree_free(struct retiree *retiree)
{
	list_unlink(&retiree->node);
	tcp_forward_free(retiree->tcp);
	free(retiree);
}

void host_listeners_free(struct host_listeners *all)
{
	if (!all)
		return;
	list_for_each(node, &all->retired)
		retiree_free(container_of(node, struct retiree, node));
	udp_hub_free(all->udp_hub);
	free(all);
}

int host_listener_new(struct host_listeners *all, const struct host_place *place,
		      const struct host_dialers *dialers, struct host_listener **out)
{
	struct host_listener *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->all = all;
	l->place = *place;
	l->dialers = *dialers;
	*out = l;
	return 0;
}

static int socket_bind(struct host_listener *l, const struct endpoint *host,
		       struct socket_forward *s)
{
	struct loop *loop = l->all->loop;

	if (l->place.path[0])
		return tcp_forward_new_unix(loop, l->place.path, &l->dialers.tcp, &s->tcp);
	if (l->place.proto == FORWARD_TCP)
		return tcp_forward_new(loop, host, &l->dialers.tcp, &s->tcp);
	return udp_forward_new(l->all->udp_hub, host, &l->dialers.udp, &s->udp);
}

static int socket_start(struct socket_forward *s)
{
	if (s->tcp)
		return tcp_forward_start(s->tcp);
	udp_forward_start(s->udp);
	return 0;
}

static void socket_pause(struct socket_forward *s)
{
	if (s->tcp)
		tcp_forward_pause(s->tcp);
	else if (s->udp)
		udp_forward_pause(s->udp);
}

static void socket_count(const struct socket_forward *s, struct host_counters *n)
{
	if (s->tcp) {
		struct tcp_forward_counters tcp = tcp_forward_count(s->tcp);

		n->open += tcp_forward_n_connections(s->tcp);
		n->total += tcp.accepted;
		n->to_guest_bytes += tcp.to_guest_bytes;
		n->to_host_bytes += tcp.to_host_bytes;
	} else if (s->udp) {
		n->open += udp_forward_n_flows(s->udp);
		n->total += udp_forward_counters(s->udp)->flows;
		n->to_guest_bytes += udp_forward_counters(s->udp)->to_guest_bytes;
		n->to_host_bytes += udp_forward_counters(s->udp)->to_host_bytes;
	}
}

static void on_drained(void *arg)
{
	retiree_free(arg);
}

/* Without memory for keeping its connections they are reset. */
static void retire(struct host_listeners *all, struct tcp_forward *tcp)
{
	struct retiree *retiree =
		tcp_forward_n_connections(tcp) ? calloc(1, sizeof(*retiree)) : NULL;

	if (!retiree) {
		tcp_forward_free(tcp);
		return;
	}
	retiree->tcp = tcp;
	list_append(&all->retired, &retiree->node);
	tcp_forward_retire(tcp, on_drained, retiree);
}

static void socket_close(struct host_listener *l, struct socket_forward *s)
{
	unsigned int open = l->before.open;

	socket_count(s, &l->before);
	l->before.open = open;
	if (s->tcp)
		retire(l->all, s->tcp);
	udp_forward_free(s->udp);
	*s = (struct socket_forward){ .tcp = NULL };
}

static int socket_open(struct host_listener *l, const struct endpoint *host,
		       struct socket_forward *s)
{
	int r = s->tcp || s->udp ? 0 : socket_bind(l, host, s);

	if (r < 0)
		return r;
	r = socket_start(s);
	if (r < 0)
		socket_close(l, s);
	return r;
}

int host_listener_open(struct host_listener *l)
{
	int r = socket_open(l, &l->place.host, &l->main);

	if (r < 0)
		host_listener_close_also(l);
	else if (host_listener_has_also(l))
		(void)host_listener_open_also(l); /* closed again if it cannot go on */
	return r;
}

void host_listener_pause(struct host_listener *l)
{
	if (l->place.path[0]) {
		host_listener_close(l);
		return;
	}
	socket_pause(&l->main);
	socket_pause(&l->also);
}

void host_listener_close(struct host_listener *l)
{
	socket_close(l, &l->main);
	socket_close(l, &l->also);
}

void host_listener_free(struct host_listener *l)
{
	if (!l)
		return;
	host_listener_close(l);
	free(l);
}

int host_listener_open_also(struct host_listener *l)
{
	const struct endpoint also = { { { [15] = 1 } }, l->place.host.port };

	return socket_open(l, &also, &l->also);
}

void host_listener_close_also(struct host_listener *l)
{
	socket_close(l, &l->also);
}

bool host_listener_has_also(const struct host_listener *l)
{
	return l->also.tcp || l->also.udp;
}

void host_listener_count(const struct host_listener *l, struct host_counters *out)
{
	*out = l->before;
	socket_count(&l->main, out);
	socket_count(&l->also, out);
}
