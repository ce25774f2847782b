/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/tenancy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/listen_socket.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"

/* How far the next free port is looked for. */
#define MAX_PORT_STEPS 100

const char *publication_state_name(enum publication_state state)
{
	static const char *const names[] = {
		[PUBLICATION_FORWARDING] = "forwarding",
		[PUBLICATION_WAITING] = "waiting",
		[PUBLICATION_FAILED] = "failed",
	};

	return names[state];
}

static void on_timer(void *arg);

int outlets_new(struct loop *loop, const struct publisher_config *config,
		const struct publisher_dialer *dialer, struct outlets **out)
{
	struct outlets *all = calloc(1, sizeof(*all));
	int r;

	if (!all)
		return -ENOMEM;
	all->loop = loop;
	all->config = *config;
	all->dialer = *dialer;
	all->on_timer = on_timer;
	list_init(&all->dirty);
	for (unsigned int i = 0; i < OUTLET_BUCKETS; i++)
		list_init(&all->buckets[i]);
	r = host_listeners_new(loop, &all->listeners);
	if (r < 0) {
		free(all);
		return r;
	}
	*out = all;
	return 0;
}

void outlets_configure(struct outlets *all, const struct publisher_config *config)
{
	all->config = *config;
}

static bool is_same_guest(const struct tenant *a, const struct tenant *b)
{
	return strcmp(a->last.guest_name, b->last.guest_name) == 0;
}

static void tenant_free(struct tenant *t)
{
	struct forward_route route = outlet_route(t->outlet, t);

	if (t->has_failed)
		event_not_forwarding(&route, "withdrawn before the host port could be had");
	list_unlink(&t->node);
	free(t);
}

/* ---- who gets it ---- */

static struct tenant *tenant_find(const struct outlet *o, const struct claim *claim,
				  const struct host_place *wanted)
{
	const struct publication *p = &claim->publication;

	list_for_each(node, &o->tenants) {
		struct tenant *t = container_of(node, struct tenant, node);

		if (t->last.guest.port == p->guest.port &&
		    strcmp(t->last.guest_socket, p->guest_socket) == 0 &&
		    strcmp(t->last.guest_name, p->guest_name) == 0 &&
		    host_place_equal(&t->wanted, wanted))
			return t;
	}
	return NULL;
}

static struct host_place place_of(const struct publication *p)
{
	struct host_place place = { .proto = p->proto };

	if (p->host_socket[0])
		memcpy(place.path, p->host_socket, sizeof(place.path));
	else
		place.host = p->host;
	return place;
}

static int tenant_new(struct outlet *o, const struct host_place *wanted, struct tenant **out)
{
	struct tenant *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->outlet = o;
	t->wanted = *wanted;
	list_init(&t->claims);
	list_append(&o->tenants, &t->node);
	*out = t;
	return 0;
}

/* The tenant may have had to move to a port further on. */
static struct tenant *find_moved(struct outlets *all, const struct claim *claim,
				 const struct host_place *wanted)
{
	struct host_place place = *wanted;

	for (int i = 0; i < MAX_PORT_STEPS && !place.path[0] && place.host.port < UINT16_MAX; i++) {
		struct outlet *o;
		struct tenant *t;

		place.host.port++;
		o = outlet_find(all, &place);
		t = o ? tenant_find(o, claim, wanted) : NULL;
		if (t)
			return t;
	}
	return NULL;
}

int outlets_add(struct outlets *all, struct claim *claim)
{
	struct host_place wanted = place_of(&claim->publication);
	struct outlet *o = outlet_find(all, &wanted);
	struct tenant *t = o ? tenant_find(o, claim, &wanted) : NULL;
	int r = 0;

	if (!t && all->config.next_free_port)
		t = find_moved(all, claim, &wanted);
	if (!t && !o)
		r = outlet_new(all, &wanted, &o);
	if (!t && r == 0)
		r = tenant_new(o, &wanted, &t);
	if (!t) {
		if (o && list_empty(&o->tenants))
			outlet_free(o);
		return r;
	}
	claim->tenant = t;
	list_append(&t->claims, &claim->in_tenant);
	t->last = claim->publication;
	outlet_mark_dirty(t->outlet);
	return 0;
}

void outlets_remove(struct claim *claim)
{
	struct tenant *t = claim->tenant;

	list_unlink(&claim->in_tenant);
	t->last = claim->publication;
	outlet_mark_dirty(t->outlet);
}

static void tenant_move(struct tenant *t, struct outlet *to)
{
	list_unlink(&t->node);
	list_append(&to->tenants, &t->node);
	t->outlet = to;
}

static bool may_move(const struct tenant *t)
{
	const struct outlet *o = t->outlet;

	return o->all->config.next_free_port && !o->place.path[0] &&
	       !tenant_publication(t)->keeps_port;
}

/* Whether there was one, and the tenant has it now. */
static bool move_to_next_free_port(struct tenant *t)
{
	struct outlet *from = t->outlet, *to;
	struct host_place place = from->place;

	if (!may_move(t))
		return false;
	for (int i = 0; i < MAX_PORT_STEPS && place.host.port < UINT16_MAX; i++) {
		place.host.port++;
		if (outlet_find(from->all, &place))
			continue;
		if (outlet_new(from->all, &place, &to) < 0)
			return false;
		outlet_open(to);
		if (to->state == OUTLET_LISTENING) {
			log_info("%s port %u of the host is taken; %u is used in its place",
				 forward_proto_name(place.proto), from->place.host.port,
				 place.host.port);
			tenant_move(t, to);
			outlet_mark_dirty(to);
			return true;
		}
		outlet_free(to);
	}
	return false;
}

static void settle_waiting(struct outlet *o, struct tenant *t)
{
	const struct tenant *holder = outlet_holder(o);
	const struct publication *has = tenant_publication(holder);
	char guest[ADDR_TEXT_SIZE], error[LISTEN_ERROR_SIZE];

	if (!is_same_guest(t, holder) && move_to_next_free_port(t))
		return;
	(void)snprintf(error, sizeof(error), "in use for %s%s: %s",
		       has->guest_name[0] ? "guest " : "the guest", has->guest_name,
		       endpoint_format(&has->guest, guest));
	outlet_tell_failed(o, t, error);
}

/* A port without claims keeps its holder for a while, unless the same guest
 * wants it for another one of its ports. */
static bool may_linger(const struct outlet *o)
{
	const struct tenant *holder = outlet_holder(o), *next;

	if ((o->state != OUTLET_LISTENING && o->state != OUTLET_PAUSED) ||
	    o->all->config.grace_ms == 0)
		return false;
	if (holder->node.next == &o->tenants)
		return true;
	next = container_of(holder->node.next, struct tenant, node);
	return !is_same_guest(holder, next);
}

static void linger(struct outlet *o)
{
	if (o->state == OUTLET_PAUSED)
		return;
	host_listener_pause(o->listener);
	o->state = OUTLET_PAUSED;
	outlet_start_timer(o, o->all->config.grace_ms);
}

static void serve(struct outlet *o)
{
	struct tenant *holder = outlet_holder(o);

	if (o->state == OUTLET_NEW || o->state == OUTLET_PAUSED)
		outlet_open(o);
	if (o->state == OUTLET_FAILED && o->bind_error == -EADDRINUSE &&
	    move_to_next_free_port(holder)) {
		outlet_mark_dirty(o); /* for those that waited, or the end */
		return;
	}
	if (o->state == OUTLET_FAILED) {
		outlet_tell_failed(o, holder, o->error);
	} else {
		outlet_tell_forwarding(o, holder);
		if (!o->place.path[0])
			outlet_sync_also(o);
	}
	list_for_each(node, &o->tenants) {
		struct tenant *t = container_of(node, struct tenant, node);

		if (t != holder)
			settle_waiting(o, t);
	}
}

/* The holder's time is over. */
static void dismiss(struct outlet *o)
{
	struct tenant *holder = outlet_holder(o);

	if (o->announced == holder)
		outlet_tell_stopping(o);
	tenant_free(holder);
}

static void settle(struct outlet *o)
{
	struct tenant *first = outlet_holder(o);

	if (!first) {
		outlet_free(o);
		return;
	}
	list_for_each(node, &o->tenants) {
		struct tenant *t = container_of(node, struct tenant, node);

		if (t != first && !tenant_has_claims(t))
			tenant_free(t);
	}
	if (!tenant_has_claims(first) && may_linger(o)) {
		linger(o);
		return;
	}
	if (!tenant_has_claims(first))
		dismiss(o);
	if (list_empty(&o->tenants))
		outlet_free(o);
	else
		serve(o);
}

static void on_timer(void *arg)
{
	struct outlet *o = arg;
	struct outlets *all = o->all;

	if (o->state == OUTLET_PAUSED)
		dismiss(o);
	else if (o->state == OUTLET_FAILED)
		outlet_open(o);
	if (list_empty(&o->tenants))
		outlet_free(o);
	else
		outlet_mark_dirty(o);
	outlets_settle(all);
}

void outlets_settle(struct outlets *all)
{
	struct list *node;

	all->n_explained = 0;
	while ((node = list_take(&all->dirty)))
		settle(container_of(node, struct outlet, in_dirty));
}

void outlets_free(struct outlets *all)
{
	if (!all)
		return;
	all->config.grace_ms = 0;
	for (unsigned int i = 0; i < OUTLET_BUCKETS; i++) {
		list_for_each(node, &all->buckets[i])
			outlet_mark_dirty(container_of(node, struct outlet, in_bucket));
	}
	outlets_settle(all);
	host_listeners_free(all->listeners);
	free(all);
}

/* ---- status ---- */

void outlets_status(const struct claim *claim, struct publication_status *out)
{
	const struct tenant *t = claim->tenant;
	const struct outlet *o = t->outlet;
	uint64_t now = loop_now_ms(o->all->loop);

	*out = (struct publication_status){
		.publication = &claim->publication,
		.host = o->place.host,
		.is_shared = t->claims.next != &claim->in_tenant,
	};
	if (t != outlet_holder(o)) {
		out->state = PUBLICATION_WAITING;
		out->error = "the host port is in use for another guest port";
		return;
	}
	if (o->state == OUTLET_FAILED) {
		out->state = PUBLICATION_FAILED;
		out->error = o->error;
		out->retry_in_ms = o->due_ms > now ? o->due_ms - now : 0;
	} else {
		out->error = o->dial_error[0] ? o->dial_error : NULL;
	}
	out->is_also_open = host_listener_has_also(o->listener);
	if (!out->is_shared)
		host_listener_count(o->listener, &out->counters);
}
