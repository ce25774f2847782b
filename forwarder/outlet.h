/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* One place on the host, in use for at most one guest port: the socket side of
 * what the publisher does. Who holds it is decided in tenancy.c.
 *
 *   NEW -> LISTENING or FAILED
 *   FAILED -> LISTENING           when a later try succeeds
 *   LISTENING -> PAUSED           the holder's last claim went
 *   PAUSED -> LISTENING, or end   a claim came back; the grace period is over
 *
 * Events are told of a tenant: `failed` once, then `recovered` and `forwarding`;
 * `stopping` with the route of the `forwarding` before. */
#include "forwarder/events.h"
#include "forwarder/host_listener.h"
#include "forwarder/listen_socket.h"
#include "forwarder/publication.h"
#include "netstack/base/list.h"
#include "netstack/base/loop.h"

struct stream;

#define OUTLET_BUCKETS 1024
#define RETRY_MIN_MS 100
#define RETRY_MAX_MS 5000
#define GRACE_DEFAULT_MS 300

struct publisher_config {
	unsigned int grace_ms;
	/* Who wants a port that another guest or program has gets the next free port */
	bool next_free_port;
};

struct publisher_dialer {
	/* As tcp_dialer and udp_dialer, for the guest end of a publication. */
	int (*tcp)(void *arg, const struct publication *publication, struct stream **out);
	int (*udp)(void *arg, const struct publication *publication,
		   const struct udp_flow_owner *owner, void *owner_arg, struct udp_flow **out);
	void *arg;
};

/* A publication of one source; the source's user owns it. */
struct claim {
	struct list in_tenant; /* tenant.claims */
	struct tenant *tenant;
	struct publication publication; /* zero where nothing is set */
};

enum outlet_state { OUTLET_NEW, OUTLET_LISTENING, OUTLET_PAUSED, OUTLET_FAILED };

/* All of them. */
struct outlets {
	struct loop *loop;
	struct publisher_config config;
	struct publisher_dialer dialer;
	struct host_listeners *listeners;
	struct list buckets[OUTLET_BUCKETS]; /* outlet.in_bucket */
	struct list dirty;		     /* outlet.in_dirty */
	loop_fn *on_timer;		     /* gets the outlet */
	unsigned int n_explained;
};

struct outlet {
	struct list in_bucket, in_dirty;
	struct outlets *all;
	struct host_place place;
	struct host_listener *listener;
	struct list tenants; /* tenant.node; the first is the holder */
	enum outlet_state state;
	struct timer *timer; /* of the grace period, or of the next try */
	uint64_t due_ms;     /* of the timer */
	unsigned int retry_ms;
	struct tenant *announced; /* whose `forwarding` was the last event */
	struct forward_route route;
	/* of route, which outlives its claim */
	char guest_socket[PUBLICATION_PATH_SIZE], guest_name[PUBLICATION_NAME_SIZE];
	int bind_error; /* -errno, when FAILED */
	char error[LISTEN_ERROR_SIZE];
	char dial_error[64];
};

/* One port of one guest that wants one place. */
struct tenant {
	struct list node; /* outlet.tenants */
	struct outlet *outlet;
	struct list claims;	 /* claim.in_tenant */
	struct publication last; /* of the last claim that there was */
	struct host_place wanted;
	bool has_failed; /* and it was told */
};

const struct publication *tenant_publication(const struct tenant *t);
bool tenant_has_claims(const struct tenant *t);

/* NULL if there is none. */
struct outlet *outlet_find(struct outlets *all, const struct host_place *place);
/* NEW, without tenants. 0 or -ENOMEM. */
int outlet_new(struct outlets *all, const struct host_place *place, struct outlet **out);
/* Closes it, with its event. There are no tenants left. */
void outlet_free(struct outlet *o);
struct tenant *outlet_holder(const struct outlet *o); /* NULL without tenants */
/* To be looked at by the next outlets_settle(). */
void outlet_mark_dirty(struct outlet *o);
/* From NEW, PAUSED or FAILED to LISTENING or FAILED. */
void outlet_open(struct outlet *o);
/* ::1 as the holder's claims want it; LISTENING only. */
void outlet_sync_also(struct outlet *o);
void outlet_start_timer(struct outlet *o, uint64_t delay_ms);

struct forward_route outlet_route(const struct outlet *o, const struct tenant *t);
void outlet_tell_forwarding(struct outlet *o, struct tenant *t);
void outlet_tell_stopping(struct outlet *o);
void outlet_tell_failed(struct outlet *o, struct tenant *t, const char *error);
