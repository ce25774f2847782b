/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/guest_set.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/guest.h"
#include "forwarder/guest_vsock.h"
#include "forwarder/loopbacks.h"
#include "forwarder/network_spec.h"
#include "forwarder/options.h"
#include "forwarder/policy.h"
#include "forwarder/publisher.h"
#include "forwarder/shared_links.h"
#include "netstack/base/list.h"
#include "netstack/base/log.h"
#include "netstack/stack.h"

/* A guest of the file's shared.guests. */
struct member {
	struct list node; /* guest_set.members */
	struct guest_set *set;
	char name[PUBLICATION_NAME_SIZE];      /* or its MAC */
	char seen_name[PUBLICATION_NAME_SIZE]; /* as the network has it; "": not seen */
	bool has_mac;
	struct mac mac;
	struct options options;	     /* as if it were the only one */
	struct stack_config network; /* with its address */
	struct guest_vsock *vsock;   /* NULL: it has none */
	struct guest *guest;
};

struct guest_set {
	struct loop *loop;
	struct guest_set_setup setup;
	struct publisher *publisher;
	struct guest *only;	     /* or, of a shared network, whoever has the address */
	struct list members;	     /* member.node */
	struct loopbacks *loopbacks; /* NULL: there are none */
};

/* --- the ways of a publication -------------------------------------------- */

static struct member *find(const struct guest_set *set, const char *name)
{
	list_for_each(node, &set->members) {
		struct member *m = container_of(node, struct member, node);

		if (strcmp(m->name, name) == 0 || strcmp(m->seen_name, name) == 0)
			return m;
	}
	return NULL;
}

struct ways *guest_set_find_ways(void *arg, const char *guest_name)
{
	const struct guest_set *set = arg;
	const struct member *m = *guest_name ? find(set, guest_name) : NULL;

	if (!*guest_name)
		return guest_ways(set->only);
	return m ? guest_ways(m->guest) : NULL;
}

/* Those of a guest without any lead to its address. */
static struct ways *ways_of(struct guest_set *set, const struct publication *item)
{
	struct ways *ways = guest_set_find_ways(set, item->guest_name);

	return ways ? ways : guest_ways(set->only);
}

static int dial_tcp(void *arg, const struct publication *item, struct stream **out)
{
	struct way_request request = publication_request(item);

	return ways_dial(ways_of(arg, item), &request, out);
}

static int dial_udp(void *arg, const struct publication *item, const struct udp_flow_owner *owner,
		    void *owner_arg, struct udp_flow **out)
{
	struct way_request request = publication_request(item);

	return ways_open_udp(ways_of(arg, item), &request, owner, owner_arg, out);
}

/* --- guests that come, and what they listen on ---------------------------- */

static bool is_member(const struct member *m, const struct guest_entry *entry)
{
	return m->has_mac ? mac_equal(&m->mac, &entry->mac) : strcmp(m->name, entry->name) == 0;
}

static void tell_loopbacks(const struct member *m, const struct port_listener *all, unsigned int n)
{
	if (m->set->loopbacks && *m->seen_name)
		loopbacks_set(m->set->loopbacks, m->seen_name, all, n);
}

static void on_listeners(void *arg, const struct port_listener *all, unsigned int n)
{
	tell_loopbacks(arg, all, n);
}

/* What was found out before it was known who that is. */
static void tell_again(const struct member *m)
{
	size_t n;
	const struct rule_listener *known = policy_listeners(guest_policy(m->guest), &n);
	struct port_listener *all = calloc(n + 1, sizeof(*all));

	if (!all) {
		log_error("no memory for what guest %s listens on", m->name);
		return;
	}
	for (size_t i = 0; i < n; i++)
		all[i] = (struct port_listener){ known[i].proto, known[i].guest };
	tell_loopbacks(m, all, (unsigned int)n);
	free(all);
}

static void on_guest(void *arg, const struct guest_entry *entry, const struct link *link)
{
	char mac[MAC_TEXT_SIZE], before[PUBLICATION_NAME_SIZE];
	const char *name = *entry->name ? entry->name : mac_format(&entry->mac, mac);
	struct guest_set *set = arg;

	(void)link;
	if (entry->n_addresses == 0 || !ipaddr_is_v4(&entry->addresses[0]))
		return;
	list_for_each(node, &set->members) {
		struct member *m = container_of(node, struct member, node);

		if (!is_member(m, entry))
			continue;
		m->network.guest4 = entry->addresses[0];
		memcpy(before, m->seen_name, sizeof(before));
		(void)snprintf(m->seen_name, sizeof(m->seen_name), "%s", name);
		if (set->loopbacks && strcmp(before, m->seen_name) != 0)
			tell_again(m);
	}
}

static void on_guests(void *arg)
{
	struct guest_set *set = arg;

	if (set->loopbacks)
		loopbacks_refresh(set->loopbacks);
	stack_guests(set->setup.stack, on_guest, set);
}

int guest_set_report(struct guest_set *set, const char *name, const struct control_report *r)
{
	const struct member *m = *name ? find(set, name) : NULL;
	const struct guest *guest = m ? m->guest : set->only;

	if (*name && !m)
		return -ENOENT;
	return policy_change_listeners(guest_policy(guest), r->listeners, r->n_added,
				       r->listeners + r->n_added, r->n_removed);
}

/* --- rules ---------------------------------------------------------------- */

static void configure(struct guest_set *set, const struct config *config)
{
	const struct publisher_config publisher = {
		.grace_ms = GRACE_DEFAULT_MS,
		.next_free_port = config && config->auto_correct == RULE_SWITCH_ON,
	};

	publisher_configure(set->publisher, &publisher);
}

static bool is_of_config(const struct member *m, const struct config_shared_guest *g)
{
	char error[NETWORK_SPEC_ERROR_SIZE];
	struct mac mac;

	if (g->name)
		return strcmp(g->name, m->name) == 0;
	return m->has_mac && network_spec_parse_mac(g->mac, &mac, error) == 0 &&
	       mac_equal(&mac, &m->mac);
}

/* A guest that is not in the file any more keeps its rules until the next start. */
static int use_shared(struct guest_set *set, const struct config_shared *shared)
{
	int result = 0;

	list_for_each(node, &set->members) {
		const struct member *m = container_of(node, struct member, node);

		for (unsigned int i = 0; i < shared->n_guests; i++) {
			int r = 0;

			if (is_of_config(m, &shared->guests[i]))
				r = policy_use(guest_policy(m->guest), &shared->guests[i].own);
			if (r < 0)
				result = r;
		}
		guest_reloaded(m->guest);
	}
	return result;
}

int guest_set_use(struct guest_set *set, const struct config *config)
{
	int r = policy_use(guest_policy(set->only), config);

	if (r < 0)
		return r;
	configure(set, config);
	guest_reloaded(set->only);
	return config->shared ? use_shared(set, config->shared) : 0;
}

/* --- members -------------------------------------------------------------- */

/* The namespace of this name, if there is one among the links. */
static const char *find_netns(const struct options *o, const char *name)
{
	for (unsigned int i = 0; i < o->n_links; i++) {
		const struct options_link_spec *spec = &o->links[i];

		if (spec->link == OPTIONS_LINK_NETNS &&
		    strcmp(shared_links_netns_name(spec->where), name) == 0)
			return spec->where;
	}
	return NULL;
}

/* As if it were the only guest; what is common to all is left out. */
static struct options options_of(const struct options *all, const struct config_shared_guest *g,
				 const char *name)
{
	struct options o = *all;

	o.netns = find_netns(all, name);
	o.link = o.netns ? OPTIONS_LINK_NETNS : OPTIONS_LINK_STREAM;
	o.config = &g->own;
	o.forwards = NULL;
	o.n_forwards = 0;
	o.links = NULL;
	o.n_links = 0;
	o.vsock_path = g->own.guest.vsock;
	o.vsock_uds = g->own.guest.vsock_uds;
	o.vsock_peer = g->own.guest.vsock_connect;
	o.vsock_cid = (uint32_t)g->own.guest.vsock_cid;
	if (o.vsock_path && !o.vsock_cid)
		o.vsock_cid = OPTIONS_CID_DEFAULT;
	return o;
}

static void identify(struct member *m, const struct config_shared_guest *g)
{
	char error[NETWORK_SPEC_ERROR_SIZE];

	/* it was checked when the file was read */
	m->has_mac = g->mac && network_spec_parse_mac(g->mac, &m->mac, error) == 0;
	if (g->name)
		(void)snprintf(m->name, sizeof(m->name), "%s", g->name);
	else
		(void)mac_format(&m->mac, m->name);
}

static int open_member(struct member *m)
{
	struct guest_set *set = m->set;
	struct guest_setup setup = {
		.stack = set->setup.stack,
		.publisher = set->publisher,
		.network = &m->network,
		.options = &m->options,
		.name = m->name,
		.listeners = on_listeners,
		.arg = m,
		.agent_fd = -1,
	};
	int r = guest_vsock_open(set->loop, &m->options, &m->vsock);

	if (r < 0)
		return r;
	setup.vsock = guest_vsock_of(m->vsock);
	return guest_new(set->loop, &setup, &m->guest);
}

static void member_free(struct member *m)
{
	guest_free(m->guest);
	guest_vsock_free(m->vsock);
	list_unlink(&m->node);
	free(m);
}

static int add_member(struct guest_set *set, const struct config_shared_guest *g)
{
	struct member *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return -ENOMEM;
	m->set = set;
	identify(m, g);
	m->options = options_of(set->setup.options, g, m->name);
	m->network = *set->setup.network;
	m->network.guest4 = IPADDR_V6_ANY; /* until it has one */
	list_append(&set->members, &m->node);
	r = open_member(m);
	if (r < 0)
		member_free(m);
	return r;
}

static int add_members(struct guest_set *set)
{
	const struct config *config = set->setup.options->config;
	const struct config_shared *shared = config ? config->shared : NULL;
	int result = 0;

	for (unsigned int i = 0; shared && i < shared->n_guests; i++) {
		int r = add_member(set, &shared->guests[i]);

		if (r < 0)
			result = r;
	}
	return result;
}

/* --- life ----------------------------------------------------------------- */

static int add_only(struct guest_set *set)
{
	const struct guest_set_setup *s = &set->setup;
	const struct guest_setup setup = {
		.stack = s->stack,
		.publisher = set->publisher,
		.network = s->network,
		.options = s->options,
		.name = "",
		.vsock = s->vsock,
		.agent_fd = s->agent_fd,
	};

	return guest_new(set->loop, &setup, &set->only);
}

int guest_set_new(struct loop *loop, const struct guest_set_setup *setup, struct guest_set **out)
{
	const struct publisher_config config = { .grace_ms = GRACE_DEFAULT_MS };
	struct guest_set *set = calloc(1, sizeof(*set));
	const struct publisher_dialer dialer = { .tcp = dial_tcp, .udp = dial_udp, .arg = set };
	int r;

	if (!set)
		return -ENOMEM;
	set->loop = loop;
	set->setup = *setup;
	list_init(&set->members);
	r = publisher_new(loop, &config, &dialer, &set->publisher);
	if (r < 0)
		log_error("cannot start: %s", strerror(-r));
	if (r == 0)
		r = add_only(set);
	if (r == 0)
		r = add_members(set);
	if (r < 0)
		guest_set_free(set);
	else
		*out = set;
	return r;
}

int guest_set_start(struct guest_set *set, struct loopbacks *loopbacks)
{
	int r;

	configure(set, set->setup.options->config);
	set->loopbacks = loopbacks;
	if (set->setup.options->is_shared) {
		stack_on_guests(set->setup.stack, on_guests, set);
		on_guests(set);
	}
	r = guest_start(set->only);
	list_for_each(node, &set->members) {
		if (r == 0)
			r = guest_start(container_of(node, struct member, node)->guest);
	}
	return r;
}

void guest_set_free(struct guest_set *set)
{
	if (!set)
		return;
	if (set->setup.options->is_shared)
		stack_on_guests(set->setup.stack, NULL, NULL);
	publisher_free(set->publisher); /* with the connections by all ways */
	list_for_each(node, &set->members)
		member_free(container_of(node, struct member, node));
	guest_free(set->only);
	free(set);
}

struct publisher *guest_set_publisher(struct guest_set *set)
{
	return set->publisher;
}

void guest_set_each(struct guest_set *set,
		    void (*fn)(void *arg, const char *name, struct guest *guest), void *arg)
{
	fn(arg, "", set->only);
	list_for_each(node, &set->members) {
		const struct member *m = container_of(node, struct member, node);

		fn(arg, m->name, m->guest);
	}
}
