/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/loopbacks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/control.h"
#include "forwarder/port_watch.h"
#include "forwarder/publisher.h"
#include "forwarder/rule.h"
#include "netstack/base/bytes.h"
#include "netstack/base/list.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/stack.h"

/* Linux's ip_local_port_range: UDP sockets there are those of clients. */
#define CLIENT_PORT_FIRST 32768
#define CLIENT_PORT_LAST 60999

struct loopback_guest {
	struct list node; /* loopbacks.guests */
	struct loopbacks *owner;
	char name[PUBLICATION_NAME_SIZE];
	struct mac mac;
	struct ipaddr addr;		 /* any: it has none now */
	bool is_listed;			 /* by the stack, in the refresh under way */
	struct port_listener *listeners; /* n of them */
	unsigned int n;
	struct port_watch *watch; /* NULL: reported, if at all */
};

struct loopbacks {
	struct loop *loop;
	struct loopbacks_config config;
	struct list guests; /* loopback_guest.node */
};

/* --- what one guest has ---------------------------------------------------- */

static struct ipaddr host_address(const struct loopbacks *l, const struct ipaddr *guest)
{
	unsigned int bits = l->config.prefix4_bits;
	uint32_t number = get_be32(ipaddr_v4_bytes(guest)) & ~(~0U << (32 - bits));
	struct ipaddr host = l->config.base;

	put_be16(host.b + 14, (uint16_t)number);
	return host;
}

static bool is_client(const struct port_listener *l)
{
	return l->proto == FORWARD_UDP && l->guest.port >= CLIENT_PORT_FIRST &&
	       l->guest.port <= CLIENT_PORT_LAST;
}

static struct publication publication_of(const struct loopback_guest *g, enum forward_proto proto,
					 uint16_t port)
{
	struct publication item = {
		.proto = proto,
		.host = { host_address(g->owner, &g->addr), port },
		.guest = { g->addr, port },
		.keeps_port = true,
		.via = RULE_VIA_DIRECT,
	};

	memcpy(item.guest_name, g->name, sizeof(item.guest_name));
	return item;
}

static void add(struct publication_list *list, const struct loopback_guest *g, uint16_t port)
{
	struct publication item = publication_of(g, FORWARD_TCP, port);

	publication_list_add(list, &item);
}

static void add_listener(struct publication_list *list, const struct loopback_guest *g,
			 const struct port_listener *l)
{
	struct publication item = publication_of(g, l->proto, l->guest.port);
	const struct loopbacks_config *c = &g->owner->config;
	struct ways *ways = c->find_ways(c->arg, g->name);
	struct way_request request;

	if (is_client(l))
		return;
	if (!ways) { /* its own loopback is not the NIC's */
		if (ipaddr_is_any(&l->guest.addr) || ipaddr_equal(&l->guest.addr, &g->addr))
			publication_list_add(list, &item);
		return;
	}
	item.guest = l->guest;
	item.via = RULE_VIA_AUTO;
	request = publication_request(&item);
	if (!ways_why_not(ways, &request))
		publication_list_add(list, &item);
}

static int publish_list(const struct loopback_guest *g, const struct publication_list *list)
{
	char source[sizeof("loopback:") + PUBLICATION_NAME_SIZE];

	(void)snprintf(source, sizeof(source), "loopback:%s", g->name);
	return publisher_set(g->owner->config.publisher, source, list->items, list->n);
}

static void publish(const struct loopback_guest *g)
{
	const struct loopbacks_config *c = &g->owner->config;
	struct publication_list list;
	int r = publication_list_init(&list, PUBLISHER_MAX_PER_SOURCE);

	for (unsigned int i = 0; r == 0 && !ipaddr_is_any(&g->addr) && i < c->n_ports; i++)
		add(&list, g, c->ports[i]);
	for (unsigned int i = 0; r == 0 && !ipaddr_is_any(&g->addr) && i < g->n; i++)
		add_listener(&list, g, &g->listeners[i]);
	if (r == 0)
		r = publish_list(g, &list);
	publication_list_deinit(&list);
	if (r < 0)
		log_error("the ports of guest %s are not all on its loopback address: %s", g->name,
			  strerror(-r));
}

static struct loopback_guest *find(const struct loopbacks *l, const char *name)
{
	list_for_each(node, &l->guests) {
		struct loopback_guest *g = container_of(node, struct loopback_guest, node);

		if (strcmp(g->name, name) == 0)
			return g;
	}
	return NULL;
}

static struct loopback_guest *guest_new(struct loopbacks *l, const char *name)
{
	struct loopback_guest *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->owner = l;
	(void)snprintf(g->name, sizeof(g->name), "%s", name);
	list_append(&l->guests, &g->node);
	return g;
}

static void guest_free(struct loopback_guest *g)
{
	const struct publication_list nothing = { .n = 0 };

	(void)publish_list(g, &nothing);
	port_watch_free(g->watch);
	list_unlink(&g->node);
	free(g->listeners);
	free(g);
}

/* --- guests that come and go ---------------------------------------------- */

static void on_guest(void *arg, const struct guest_entry *entry, const struct link *link)
{
	char mac[MAC_TEXT_SIZE];
	const char *name = *entry->name ? entry->name : mac_format(&entry->mac, mac);
	struct loopbacks *l = arg;
	struct loopback_guest *g;

	(void)link;
	if (entry->n_addresses == 0 || !ipaddr_is_v4(&entry->addresses[0]))
		return;
	g = find(l, name);
	if (!g)
		g = guest_new(l, name);
	if (!g) {
		log_error("no memory for guest %s", name);
		return;
	}
	g->is_listed = true;
	g->mac = entry->mac;
	if (ipaddr_equal(&g->addr, &entry->addresses[0]))
		return;
	g->addr = entry->addresses[0];
	publish(g);
}

void loopbacks_refresh(struct loopbacks *l)
{
	list_for_each(node, &l->guests)
		container_of(node, struct loopback_guest, node)->is_listed = false;
	stack_guests(l->config.stack, on_guest, l);
	list_for_each(left, &l->guests) {
		struct loopback_guest *g = container_of(left, struct loopback_guest, node);

		if (!g->is_listed && !g->watch)
			guest_free(g);
	}
}

/* --- what they listen on --------------------------------------------------- */

static void on_listeners(void *arg, const struct port_listener *all, unsigned int n)
{
	struct loopback_guest *g = arg;
	struct port_listener *listeners;

	if (n > LOOPBACKS_MAX_LISTENERS)
		n = LOOPBACKS_MAX_LISTENERS;
	listeners = calloc(n + 1U, sizeof(*listeners));
	if (!listeners) {
		log_error("no memory for what guest %s listens on", g->name);
		return;
	}
	for (unsigned int i = 0; i < n; i++)
		listeners[i] = all[i];
	free(g->listeners);
	g->listeners = listeners;
	g->n = n;
	publish(g);
}

void loopbacks_set(struct loopbacks *l, const char *name, const struct port_listener *all,
		   unsigned int n)
{
	struct loopback_guest *g = find(l, name);

	if (g && !g->watch)
		on_listeners(g, all, n);
}

int loopbacks_watch(struct loopbacks *l, const struct mac *mac, const char *netns)
{
	struct port_watch_config config = { .netns = netns,
					    .client_age_ms = PORT_WATCH_NO_CLIENTS,
					    .changed = on_listeners };

	list_for_each(node, &l->guests) {
		struct loopback_guest *g = container_of(node, struct loopback_guest, node);

		if (!mac_equal(&g->mac, mac))
			continue;
		config.arg = g;
		return port_watch_new(l->loop, &config, &g->watch);
	}
	return -ENOENT;
}

static bool is_among(const struct rule_listener *list, size_t n, const struct port_listener *l)
{
	for (size_t i = 0; i < n; i++) {
		if (list[i].proto == l->proto && endpoint_equal(&list[i].guest, &l->guest))
			return true;
	}
	return false;
}

static int change(struct loopback_guest *g, const struct control_report *r)
{
	const struct rule_listener *removed = r->listeners + r->n_added;
	struct port_listener *all;
	unsigned int n = 0;

	if (g->n + r->n_added > LOOPBACKS_MAX_LISTENERS)
		return -ENOSPC;
	all = calloc(g->n + r->n_added + 1, sizeof(*all));
	if (!all)
		return -ENOMEM;
	for (unsigned int i = 0; i < g->n; i++) {
		if (!is_among(removed, r->n_removed, &g->listeners[i]) &&
		    !is_among(r->listeners, r->n_added, &g->listeners[i]))
			all[n++] = g->listeners[i];
	}
	for (size_t i = 0; i < r->n_added; i++)
		all[n++] = (struct port_listener){ r->listeners[i].proto, r->listeners[i].guest };
	free(g->listeners);
	g->listeners = all;
	g->n = n;
	return 0;
}

int loopbacks_report(struct loopbacks *l, const char *name, const struct control_report *report,
		     char *error)
{
	struct loopback_guest *g = find(l, name);
	int r;

	if (!g) {
		(void)snprintf(error, CONTROL_ERROR_SIZE,
			       "no guest \"%s\"; `netfwd ip` shows those there are", name);
		return -ENOENT;
	}
	r = change(g, report);
	if (r < 0)
		(void)snprintf(error, CONTROL_ERROR_SIZE, "%s", strerror(-r));
	else
		publish(g);
	return r;
}

/* --- life ------------------------------------------------------------------ */

int loopbacks_new(struct loop *loop, const struct loopbacks_config *config, struct loopbacks **out)
{
	struct loopbacks *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->loop = loop;
	l->config = *config;
	list_init(&l->guests);
	loopbacks_refresh(l);
	*out = l;
	return 0;
}

void loopbacks_free(struct loopbacks *l)
{
	if (!l)
		return;
	list_for_each(node, &l->guests)
		guest_free(container_of(node, struct loopback_guest, node));
	free(l);
}
