/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/outlet.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/listen_socket.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"

/* Who has a busy port is looked up in /proc, for so many per settlement. */
#define MAX_EXPLAINED 10

static struct list *bucket_of(struct outlets *all, const struct host_place *place)
{
	uint32_t hash = place->path[0] ?
				hash_bytes(place->path, (unsigned int)strlen(place->path)) :
				place->host.port;

	return &all->buckets[hash % OUTLET_BUCKETS];
}

struct outlet *outlet_find(struct outlets *all, const struct host_place *place)
{
	list_for_each(node, bucket_of(all, place)) {
		struct outlet *o = container_of(node, struct outlet, in_bucket);

		if (host_place_equal(&o->place, place))
			return o;
	}
	return NULL;
}

struct tenant *outlet_holder(const struct outlet *o)
{
	return list_empty(&o->tenants) ? NULL : container_of(o->tenants.next, struct tenant, node);
}

const struct publication *tenant_publication(const struct tenant *t)
{
	if (list_empty(&t->claims))
		return &t->last;
	return &container_of(t->claims.next, struct claim, in_tenant)->publication;
}

bool tenant_has_claims(const struct tenant *t)
{
	return !list_empty(&t->claims);
}

void outlet_mark_dirty(struct outlet *o)
{
	if (list_empty(&o->in_dirty))
		list_append(&o->all->dirty, &o->in_dirty);
}

/* ---- dialling ---- */

/* What a connection is dialled with: each claim in turn, until one works. */
static int dial_tcp(void *arg, struct stream **out)
{
	struct outlet *o = arg;
	struct publisher_dialer *dialer = &o->all->dialer;
	int r = -ENOTCONN;

	list_for_each(node, &outlet_holder(o)->claims) {
		const struct claim *claim = container_of(node, struct claim, in_tenant);

		r = dialer->tcp(dialer->arg, &claim->publication, out);
		if (r == 0)
			return 0;
	}
	(void)snprintf(o->dial_error, sizeof(o->dial_error), "%s", strerror(-r));
	return r;
}

static int dial_udp(void *arg, const struct udp_flow_owner *owner, void *owner_arg,
		    struct udp_flow **out)
{
	struct outlet *o = arg;
	struct publisher_dialer *dialer = &o->all->dialer;
	int r = -ENOTCONN;

	list_for_each(node, &outlet_holder(o)->claims) {
		const struct claim *claim = container_of(node, struct claim, in_tenant);

		r = dialer->udp(dialer->arg, &claim->publication, owner, owner_arg, out);
		if (r == 0)
			return 0;
	}
	(void)snprintf(o->dial_error, sizeof(o->dial_error), "%s", strerror(-r));
	return r;
}

/* ---- events ---- */

struct forward_route outlet_route(const struct outlet *o, const struct tenant *t)
{
	const struct publication *guest = tenant_publication(t);

	return (struct forward_route){
		.proto = o->place.proto,
		.host = o->place.host,
		.guest = guest->guest,
		.host_socket = o->place.path[0] ? o->place.path : NULL,
		.guest_socket = guest->guest_socket[0] ? guest->guest_socket : NULL,
		.guest_name = guest->guest_name,
	};
}

void outlet_tell_stopping(struct outlet *o)
{
	if (o->announced)
		event_stopping(&o->route);
	o->announced = NULL;
}

void outlet_tell_forwarding(struct outlet *o, struct tenant *t)
{
	if (o->announced == t)
		return;
	outlet_tell_stopping(o);
	o->route = outlet_route(o, t);
	(void)snprintf(o->guest_name, sizeof(o->guest_name), "%s", o->route.guest_name);
	o->route.guest_name = o->guest_name;
	if (o->route.guest_socket) {
		(void)snprintf(o->guest_socket, sizeof(o->guest_socket), "%s",
			       o->route.guest_socket);
		o->route.guest_socket = o->guest_socket;
	}
	if (t->has_failed)
		event_recovered(&o->route);
	t->has_failed = false;
	o->announced = t;
	event_forwarding(&o->route);
}

void outlet_tell_failed(struct outlet *o, struct tenant *t, const char *error)
{
	struct forward_route route = outlet_route(o, t);

	if (t->has_failed)
		return;
	t->has_failed = true;
	event_failed(&route, error);
}

static void explain(struct outlet *o, int error)
{
	if (!o->place.path[0] && o->all->n_explained++ < MAX_EXPLAINED)
		(void)listen_socket_explain(o->place.proto, &o->place.host, error, o->error);
	else if (error == -EEXIST)
		(void)snprintf(o->error, sizeof(o->error),
			       "the path is there and is not a socket; remove it, or take another");
	else
		(void)snprintf(o->error, sizeof(o->error), "cannot be had: %s", strerror(-error));
}

/* ---- an outlet's life ---- */

int outlet_new(struct outlets *all, const struct host_place *place, struct outlet **out)
{
	struct outlet *o = calloc(1, sizeof(*o));
	const struct host_dialers dialers = { { dial_tcp, o }, { dial_udp, o } };
	int r;

	if (!o)
		return -ENOMEM;
	o->all = all;
	o->place = *place;
	list_init(&o->tenants);
	list_init(&o->in_dirty);
	r = host_listener_new(all->listeners, place, &dialers, &o->listener);
	if (r == 0)
		r = timer_new(all->loop, all->on_timer, o, &o->timer);
	if (r < 0) {
		host_listener_free(o->listener);
		free(o);
		return r;
	}
	list_append(bucket_of(all, place), &o->in_bucket);
	*out = o;
	return 0;
}

static bool is_same_port(const struct outlet *a, const struct outlet *b)
{
	return a != b && a->place.proto == b->place.proto && !a->place.path[0] &&
	       !b->place.path[0] && a->place.host.port == b->place.host.port;
}

void outlet_start_timer(struct outlet *o, uint64_t delay_ms)
{
	o->due_ms = loop_now_ms(o->all->loop) + delay_ms;
	timer_start(o->timer, delay_ms);
}

/* The port is free: others of ours may wait for it at another address. */
static void outlet_close(struct outlet *o)
{
	bool was_ours = o->state == OUTLET_LISTENING || o->state == OUTLET_PAUSED;

	host_listener_close(o->listener);
	outlet_tell_stopping(o);
	o->state = OUTLET_NEW;
	list_for_each(node, bucket_of(o->all, &o->place)) {
		struct outlet *other = container_of(node, struct outlet, in_bucket);

		if (was_ours && is_same_port(o, other) && other->state == OUTLET_FAILED)
			outlet_start_timer(other, 0);
	}
}

void outlet_free(struct outlet *o)
{
	list_unlink(&o->in_bucket);
	outlet_close(o);
	list_unlink(&o->in_dirty);
	host_listener_free(o->listener);
	timer_free(o->timer);
	free(o);
}

/* What of ours is in the way of a new listener and is not wanted there: ports
 * that are only held for a while, and ::1 served on the side. */
static void make_room(struct outlet *o)
{
	const struct ipaddr also = { { [15] = 1 } };

	list_for_each(node, bucket_of(o->all, &o->place)) {
		struct outlet *other = container_of(node, struct outlet, in_bucket);
		struct tenant *holder = outlet_holder(other);

		if (!is_same_port(o, other) || !holder)
			continue;
		if (!tenant_has_claims(holder) && other->state != OUTLET_NEW) {
			outlet_close(other);
			outlet_mark_dirty(other);
		} else if (ipaddr_equal(&o->place.host.addr, &also) ||
			   ipaddr_equal(&o->place.host.addr, &IPADDR_V6_ANY)) {
			host_listener_close_also(other->listener);
		}
	}
}

/* Doubling, and spread so that many do not try at the same moment. */
static void plan_retry(struct outlet *o)
{
	const uint64_t salt[2] = { (uintptr_t)o, loop_now_ms(o->all->loop) };
	unsigned int spread;

	o->retry_ms = o->retry_ms ? o->retry_ms * 2 : RETRY_MIN_MS;
	if (o->retry_ms > RETRY_MAX_MS)
		o->retry_ms = RETRY_MAX_MS;
	spread = o->retry_ms / 5;
	outlet_start_timer(o, o->retry_ms - spread / 2 +
				      hash_bytes(salt, sizeof(salt)) % (spread + 1));
}

/* From NEW, PAUSED or FAILED. */
void outlet_open(struct outlet *o)
{
	int r;

	if (o->state == OUTLET_NEW)
		make_room(o);
	r = host_listener_open(o->listener);
	if (r == 0) {
		timer_stop(o->timer);
		o->retry_ms = 0;
		o->state = OUTLET_LISTENING;
		return;
	}
	if (o->state != OUTLET_FAILED)
		explain(o, r);
	outlet_tell_stopping(o);
	o->state = OUTLET_FAILED;
	o->bind_error = r;
	plan_retry(o);
}

static bool wants_also(const struct tenant *t)
{
	list_for_each(node, &t->claims) {
		if (container_of(node, struct claim, in_tenant)->publication.has_also)
			return true;
	}
	return false;
}

/* A rule of ours may serve ::1 in its own right. */
static bool is_also_ours(const struct outlet *o)
{
	const struct ipaddr also = { { [15] = 1 } };

	list_for_each(node, bucket_of(o->all, &o->place)) {
		const struct outlet *other = container_of(node, struct outlet, in_bucket);

		if (is_same_port(o, other) && other->state == OUTLET_LISTENING &&
		    (ipaddr_equal(&other->place.host.addr, &also) ||
		     ipaddr_equal(&other->place.host.addr, &IPADDR_V6_ANY)))
			return true;
	}
	return false;
}

/* Whoever resolves localhost to ::1 first reaches somebody else. */
static void tell_no_also(struct outlet *o, int error)
{
	struct forward_route route = outlet_route(o, outlet_holder(o));
	char why[LISTEN_ERROR_SIZE];

	if (is_also_ours(o))
		return;
	route.host = (struct endpoint){ { { [15] = 1 } }, o->place.host.port };
	if (o->all->n_explained++ < MAX_EXPLAINED)
		(void)listen_socket_explain(o->place.proto, &route.host, error, why);
	else
		(void)snprintf(why, sizeof(why), "cannot be had: %s", strerror(-error));
	event_not_forwarding(&route, why);
}

/* That ::1 cannot be had is no failure. Without IPv6 it is not tried again. */
void outlet_sync_also(struct outlet *o)
{
	int r;

	if (!wants_also(outlet_holder(o))) {
		host_listener_close_also(o->listener);
		return;
	}
	if (host_listener_has_also(o->listener))
		return;
	r = host_listener_open_also(o->listener);
	if (r == 0)
		o->retry_ms = 0;
	if (r == 0 || r == -EADDRNOTAVAIL || r == -EAFNOSUPPORT)
		return;
	if (!o->retry_ms)
		tell_no_also(o, r);
	plan_retry(o);
}
