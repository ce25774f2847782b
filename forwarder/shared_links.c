/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/shared_links.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/guest_link.h"
#include "forwarder/loopbacks.h"
#include "forwarder/options.h"
#include "netstack/base/list.h"
#include "netstack/base/log.h"
#include "netstack/link_listener.h"
#include "netstack/link_tap.h"
#include "netstack/link_uplink.h"
#include "netstack/stack.h"

struct listener {
	struct list node; /* shared_links.listeners */
	struct link_listener *listener;
};

struct shared_links {
	struct loop *loop;
	struct shared_links_setup setup;
	struct list listeners;	     /* listener.node */
	struct loopbacks *loopbacks; /* NULL: nobody asked for them */
};

static void on_guest(void *arg, struct link *link)
{
	struct shared_links *s = arg;
	int r = stack_attach(s->setup.stack, link);

	if (r < 0)
		log_limited(LOG_LEVEL_WARN, "a guest was turned away: %s",
			    r == -ENOSPC ? "there are as many as can be" : strerror(-r));
}

static int listen_at(struct shared_links *s, const char *path)
{
	const struct link_listener_config config = {
		.path = path,
		.mtu = s->setup.network->mtu,
		.guest = on_guest,
		.arg = s,
	};
	struct listener *l = calloc(1, sizeof(*l));
	int r = -ENOMEM;

	if (l)
		r = link_listener_new(s->loop, &config, &l->listener);
	if (r < 0) {
		log_error("%s: %s", path, guest_link_explain(r));
		free(l);
		return r;
	}
	list_append(&s->listeners, &l->node);
	return 0;
}

/* The same at every start, so that the lease is, and one that no vendor has. */
static struct mac mac_of(const char *netns)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
	struct mac mac = { { 0x02 } };

	for (; *netns; netns++)
		hash = (hash ^ (uint8_t)*netns) * UINT64_C(0x100000001b3);
	for (int i = 1; i < 6; i++)
		mac.b[i] = (uint8_t)(hash >> 8 * i);
	return mac;
}

/* A path's last part is as good a name as any. */
const char *shared_links_netns_name(const char *netns)
{
	const char *slash = strrchr(netns, '/');

	return slash ? slash + 1 : netns;
}

static int open_netns(struct shared_links *s, const char *netns)
{
	const struct stack_config *c = s->setup.network;
	struct tap_config tap = {
		.netns = netns,
		.ifname = s->setup.options->ifname,
		.mtu = c->mtu,
		.mac = mac_of(netns),
		.gateway4 = c->gateway4,
		.prefix4_bits = c->prefix4_bits,
		.gateway6 = c->gateway6,
		.prefix6_bits = 64,
	};
	struct link *link;
	int r = stack_assign(s->setup.stack, &tap.mac, shared_links_netns_name(netns), &tap.addr4,
			     &tap.addr6);

	if (r < 0) {
		log_error("namespace %s: no address is left: %s", netns, strerror(-r));
		return r;
	}
	r = link_tap_new(s->loop, &tap, &link);
	return r < 0 ? r : stack_attach(s->setup.stack, link);
}

/* Any other kind: as for a single guest. */
static int open_other(struct shared_links *s, const struct options_link_spec *spec)
{
	struct options single = *s->setup.options;
	struct link *link;
	int r;

	single.link = spec->link;
	single.link_path = spec->where;
	single.link_fd = spec->fd;
	r = guest_link_open(s->loop, &single, s->setup.network, &link);
	return r < 0 ? r : stack_attach(s->setup.stack, link);
}

static int open_guest(struct shared_links *s, const struct options_link_spec *spec)
{
	if (spec->link == OPTIONS_LINK_STREAM)
		return listen_at(s, spec->where);
	if (spec->link == OPTIONS_LINK_NETNS)
		return open_netns(s, spec->where);
	return open_other(s, spec);
}

static int open_host_interface(struct shared_links *s)
{
	const struct stack_config *c = s->setup.network;
	int fd = s->setup.options->shared.host_fd;
	const struct tap_config tap = {
		.ifname = s->setup.options->shared.host_interface,
		.may_exist = true,
		.mtu = c->mtu,
		.addr4 = c->shared.host4,
		.prefix4_bits = c->prefix4_bits,
		.addr6 = c->shared.host6,
		.prefix6_bits = 64,
	};
	struct link *link;
	int r = fd ? link_tap_adopt(s->loop, fd, c->mtu, &link) :
		     link_tap_new(s->loop, &tap, &link);

	return r < 0 ? r : stack_attach_host(s->setup.stack, link);
}

static int open_uplink(struct shared_links *s)
{
	struct link *link;
	int r = link_uplink_new(s->loop, s->setup.options->shared.uplink, s->setup.network->mtu,
				&link);

	return r < 0 ? r : stack_attach_uplink(s->setup.stack, link);
}

static int open_all(struct shared_links *s)
{
	const struct options *o = s->setup.options;
	int result = 0, r;

	/* before the guests, who may look for it at once */
	if ((o->shared.host_interface || o->shared.host_fd) && (r = open_host_interface(s)) < 0)
		result = r;
	if (o->shared.uplink && (r = open_uplink(s)) < 0)
		result = r;
	for (unsigned int i = 0; i < o->n_links; i++) {
		r = open_guest(s, &o->links[i]);
		if (r < 0)
			result = r;
	}
	return result;
}

/* What namespaces listen on is followed. */
static int watch_namespaces(struct shared_links *s)
{
	const struct options *o = s->setup.options;
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < o->n_links; i++) {
		const struct options_link_spec *spec = &o->links[i];
		struct mac mac = mac_of(spec->where);

		if (spec->link == OPTIONS_LINK_NETNS)
			r = loopbacks_watch(s->loopbacks, &mac, spec->where);
	}
	return r;
}

int shared_links_serve(struct shared_links *s, struct publisher *publisher, ways_find_fn *find_ways,
		       void *arg)
{
	const struct shared_options *o = &s->setup.options->shared;
	struct loopbacks_config config = {
		.stack = s->setup.stack,
		.publisher = publisher,
		.find_ways = find_ways,
		.arg = arg,
		.base = o->loopback,
		.prefix4_bits = s->setup.network->prefix4_bits,
		.n_ports = o->n_ports,
	};
	int r;

	if (ipaddr_is_any(&o->loopback))
		return 0;
	memcpy(config.ports, o->ports, sizeof(config.ports));
	r = loopbacks_new(s->loop, &config, &s->loopbacks);
	if (r < 0) {
		log_error("loopback addresses of guests: %s", strerror(-r));
		return r;
	}
	return watch_namespaces(s);
}

struct loopbacks *shared_links_loopbacks(const struct shared_links *s)
{
	return s ? s->loopbacks : NULL;
}

int shared_links_new(struct loop *loop, const struct shared_links_setup *setup,
		     struct shared_links **out)
{
	struct shared_links *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->loop = loop;
	s->setup = *setup;
	list_init(&s->listeners);
	r = open_all(s);
	if (r < 0) {
		shared_links_free(s);
		return r;
	}
	*out = s;
	return 0;
}

void shared_links_free(struct shared_links *s)
{
	struct list *node;

	if (!s)
		return;
	loopbacks_free(s->loopbacks);
	while ((node = list_take(&s->listeners))) {
		struct listener *l = container_of(node, struct listener, node);

		link_listener_free(l->listener);
		free(l);
	}
	free(s);
}
