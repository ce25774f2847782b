/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/dhcp_server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "netstack/base/list.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/lease_file.h"

#define MAX_PROBES 128U
#define PROBE_MS 250U
/* Addresses in use that are passed over for one client before it has to ask
 * again. */
#define MAX_CONFLICTS 8U
#define SAVE_MS 500U
/* A lease that nobody renews but the next start of the program. */
#define ASSIGNED_S (UINT64_C(30) * 24 * 3600)

/* An offer that waits for an address to be known as free. */
struct probe {
	struct list node; /* dhcp_server.probes, the first to end first */
	struct dhcp_request request;
	struct ipaddr addr;
	uint64_t ends_ms;
	unsigned int n_conflicts;
};

struct dhcp_server {
	struct loop *loop;
	struct dhcp_server_config config;
	uint64_t wall_s;    /* of the wall clock when the loop's was 0 */
	struct list probes; /* probe.node */
	unsigned int n_probes;
	struct timer *probe_timer, *save_timer;
	bool is_changed; /* since the leases were saved */
	bool is_told_exhausted;
	struct dhcp_server_counters counters;
	struct lease_table leases;
};

static uint64_t now_s(const struct dhcp_server *s)
{
	return s->wall_s + loop_now_ms(s->loop) / 1000;
}

/* --- the file ------------------------------------------------------------- */

static void save(struct dhcp_server *s)
{
	int r;

	if (!s->is_changed || !s->config.path)
		return;
	r = lease_file_write(s->config.path, &s->leases);
	if (r < 0)
		log_warn("%s: the leases could not be saved: %s", s->config.path, strerror(-r));
	s->is_changed = false;
}

static void on_save(void *arg)
{
	save(arg);
}

static void changed(struct dhcp_server *s)
{
	s->is_changed = true;
	if (s->config.path && !timer_is_running(s->save_timer))
		timer_start(s->save_timer, SAVE_MS);
}

int dhcp_server_load(struct dhcp_server *s)
{
	return s->config.path ? lease_file_read(s->config.path, &s->leases) : 0;
}

/* --- answers -------------------------------------------------------------- */

static void answer(struct dhcp_server *s, const struct dhcp_request *request,
		   const struct dhcp_reply *reply)
{
	static const struct dhcp_destination everybody = {
		.mac = { { 255, 255, 255, 255, 255, 255 } },
		.addr = IPADDR_V4(255, 255, 255, 255),
	};
	struct dhcp_destination to = { .mac = request->client.mac };
	uint8_t message[DHCP_REPLY_MAX];
	size_t len = dhcp_write(&s->config.settings, request, reply, message);

	to.addr = ipaddr_is_any(&request->ciaddr) ? reply->yiaddr : request->ciaddr;
	if (reply->type == DHCP_NAK ||
	    (request->wants_broadcast && ipaddr_is_any(&request->ciaddr)))
		to = everybody;
	s->config.owner->reply(s->config.arg, &to, message, len);
}

/* The lease is this client's from now on, which has perhaps another MAC than when
 * it got it. */
static void offer(struct dhcp_server *s, const struct dhcp_request *request,
		  const struct ipaddr *addr)
{
	const struct dhcp_reply reply = { .type = DHCP_OFFER, .yiaddr = *addr };
	struct lease *lease = lease_of_address(&s->leases, addr);

	if (!lease)
		return;
	lease->client = request->client;
	answer(s, request, &reply);
}

static void refuse(struct dhcp_server *s, const struct dhcp_request *request, const char *reason)
{
	const struct dhcp_reply reply = { .type = DHCP_NAK, .nak_reason = reason };

	s->counters.refused++;
	answer(s, request, &reply);
}

static void name_guest(struct dhcp_server *s, struct lease *lease, const char *told)
{
	const char *given = s->config.owner->name(s->config.arg, &lease->client.mac);
	const char *name = given ? given : told;
	char addr[ADDR_TEXT_SIZE];

	if (!*name || (lease->is_static && *lease->name))
		return;
	if (lease_set_name(&s->leases, lease, name) == -EEXIST)
		log_limited(LOG_LEVEL_WARN, "the guest at %s has no name: another has \"%s\"",
			    ipaddr_format(&lease->addr, addr), name);
}

/* The lease is the client's, for as long as it says, and nobody has been told so. */
static void bind_lease(struct dhcp_server *s, struct lease *lease,
		       const struct lease_client *client, const char *name)
{
	uint64_t until_s = now_s(s) + s->config.settings.lease_s;

	/* one that was assigned lasts longer */
	lease_bind(lease, client, lease->until_s > until_s ? lease->until_s : until_s);
	name_guest(s, lease, name);
	changed(s);
}

static void acknowledge(struct dhcp_server *s, const struct dhcp_request *request,
			struct lease *lease)
{
	const struct dhcp_reply reply = { .type = DHCP_ACK, .yiaddr = lease->addr };
	bool was_bound = lease->state == LEASE_BOUND;
	char name[LEASE_NAME_SIZE];

	memcpy(name, lease->name, sizeof(name));
	bind_lease(s, lease, &request->client, request->name);
	answer(s, request, &reply);
	if (!was_bound || strcmp(name, lease->name) != 0)
		s->config.owner->changed(s->config.arg);
}

/* --- probing -------------------------------------------------------------- */

static void probe_free(struct dhcp_server *s, struct probe *p)
{
	list_unlink(&p->node);
	s->n_probes--;
	free(p);
}

static void tell_exhausted(const struct dhcp_server *s, const struct mac *guest)
{
	const struct lease_range *range = &s->config.range;
	char first[ADDR_TEXT_SIZE], last[ADDR_TEXT_SIZE], mac[MAC_TEXT_SIZE];

	log_warn("no address is left for guest %s: all of %s to %s are leased",
		 mac_format(guest, mac), ipaddr_format(&range->first, first),
		 ipaddr_format(&range->last, last));
	log_event("addresses-exhausted", "guest", mac, "first", first, "last", last, NULL);
}

/* NULL, counted and told, when there is nothing left. */
static struct lease *choose(struct dhcp_server *s, const struct dhcp_request *request)
{
	struct lease *lease =
		lease_choose(&s->leases, &request->client, &request->requested, now_s(s));

	if (lease) {
		s->is_told_exhausted = false;
		return lease;
	}
	s->counters.exhausted++;
	if (!s->is_told_exhausted)
		tell_exhausted(s, &request->client.mac);
	s->is_told_exhausted = true;
	return NULL;
}

static void start_probe(struct dhcp_server *s, struct probe *p, const struct ipaddr *addr)
{
	p->addr = *addr;
	p->ends_ms = loop_now_ms(s->loop) + PROBE_MS;
	list_unlink(&p->node);
	list_append(&s->probes, &p->node);
	if (!timer_is_running(s->probe_timer))
		timer_start(s->probe_timer, PROBE_MS);
	s->config.owner->probe(s->config.arg, addr);
}

static void on_probe_timer(void *arg)
{
	struct dhcp_server *s = arg;
	uint64_t now = loop_now_ms(s->loop);

	list_for_each(node, &s->probes) {
		struct probe *p = container_of(node, struct probe, node);

		if (p->ends_ms > now) {
			timer_start(s->probe_timer, p->ends_ms - now);
			return;
		}
		offer(s, &p->request, &p->addr); /* nobody has answered */
		probe_free(s, p);
	}
}

static struct probe *find_probe(struct dhcp_server *s, const struct mac *mac)
{
	list_for_each(node, &s->probes) {
		struct probe *p = container_of(node, struct probe, node);

		if (mac_equal(&p->request.client.mac, mac))
			return p;
	}
	return NULL;
}

static void conflict(struct dhcp_server *s, struct probe *p)
{
	const struct lease *lease = lease_of_address(&s->leases, &p->addr);
	char addr[ADDR_TEXT_SIZE];

	s->counters.conflicts++;
	if (lease && !mac_equal(&lease->client.mac, &p->request.client.mac)) {
		p->request.client.id_len = 0; /* of one id are two guests: copies */
	} else {
		log_limited(LOG_LEVEL_WARN, "%s is in use without a lease: not given to a guest",
			    ipaddr_format(&p->addr, addr));
		lease_decline(&s->leases, &p->addr, now_s(s));
	}
	p->request.requested = IPADDR_V6_ANY;
	lease = ++p->n_conflicts < MAX_CONFLICTS ? choose(s, &p->request) : NULL;
	if (lease)
		start_probe(s, p, &lease->addr);
	else
		probe_free(s, p);
}

void dhcp_server_saw(struct dhcp_server *s, const struct ipaddr *addr, const struct mac *mac)
{
	list_for_each(node, &s->probes) {
		struct probe *p = container_of(node, struct probe, node);

		if (ipaddr_equal(&p->addr, addr) && !mac_equal(&p->request.client.mac, mac)) {
			conflict(s, p);
			return;
		}
	}
}

/* --- messages ------------------------------------------------------------- */

static void discover(struct dhcp_server *s, const struct dhcp_request *request)
{
	struct probe *p = find_probe(s, &request->client.mac);
	const struct lease *lease;

	if (p) { /* the client repeats itself */
		p->request.xid = request->xid;
		return;
	}
	lease = choose(s, request);
	if (!lease)
		return;
	if (!s->config.probes ||
	    (lease->state == LEASE_BOUND && mac_equal(&lease->client.mac, &request->client.mac))) {
		offer(s, request, &lease->addr);
		return;
	}
	p = s->n_probes < MAX_PROBES ? calloc(1, sizeof(*p)) : NULL;
	if (!p) {
		s->counters.busy++;
		return;
	}
	list_init(&p->node);
	s->n_probes++;
	p->request = *request;
	start_probe(s, p, &lease->addr);
}

/* By its MAC: another guest's id is not enough. */
static struct lease *own_lease(struct dhcp_server *s, const struct dhcp_request *request)
{
	struct lease *lease = lease_find(&s->leases, &request->client);

	return lease && mac_equal(&lease->client.mac, &request->client.mac) ? lease : NULL;
}

/* Section 4.3.2: by what the message holds it is known what the client is at. */
static void request_address(struct dhcp_server *s, const struct dhcp_request *request)
{
	struct lease *lease = own_lease(s, request);
	const struct ipaddr *wanted = &request->requested;

	if (!ipaddr_is_any(&request->server) &&
	    !ipaddr_equal(&request->server, &s->config.settings.server))
		return; /* it took another's offer */
	if (ipaddr_is_any(wanted))
		wanted = &request->ciaddr;
	if (ipaddr_is_any(wanted)) {
		s->counters.malformed++;
		return;
	}
	if (!lease)
		refuse(s, request, "no lease of this guest");
	else if (!ipaddr_equal(wanted, &lease->addr))
		refuse(s, request, "not the address of this guest");
	else
		acknowledge(s, request, lease);
}

static void decline(struct dhcp_server *s, const struct dhcp_request *request)
{
	const struct lease *lease = own_lease(s, request);

	if (!lease || !ipaddr_equal(&lease->addr, &request->requested))
		return;
	s->counters.conflicts++;
	lease_decline(&s->leases, &request->requested, now_s(s));
	changed(s);
}

/* It has ended, and is the guest's again when it comes back. */
static void release(struct dhcp_server *s, const struct dhcp_request *request)
{
	struct lease *lease = own_lease(s, request);

	if (!lease || lease->is_static || !ipaddr_equal(&lease->addr, &request->ciaddr))
		return;
	lease->until_s = now_s(s);
	changed(s);
}

static void inform(struct dhcp_server *s, const struct dhcp_request *request)
{
	const struct dhcp_reply reply = { .type = DHCP_ACK };

	if (ipaddr_is_any(&request->ciaddr))
		s->counters.malformed++;
	else
		answer(s, request, &reply);
}

void dhcp_server_receive(struct dhcp_server *s, const struct mac *from, const uint8_t *message,
			 size_t len)
{
	struct dhcp_request request;

	if (dhcp_parse(message, len, &request) < 0) {
		s->counters.malformed++;
		return;
	}
	if (!mac_equal(from, &request.client.mac)) {
		s->counters.forged++;
		return;
	}
	switch (request.type) {
	case DHCP_DISCOVER:
		discover(s, &request);
		break;
	case DHCP_REQUEST:
		request_address(s, &request);
		break;
	case DHCP_DECLINE:
		decline(s, &request);
		break;
	case DHCP_RELEASE:
		release(s, &request);
		break;
	case DHCP_INFORM:
		inform(s, &request);
		break;
	case DHCP_OFFER:
	case DHCP_ACK:
	case DHCP_NAK:
		break; /* dhcp_parse() lets none in */
	}
}

/* --- life ----------------------------------------------------------------- */

struct lease_table *dhcp_server_leases(struct dhcp_server *s)
{
	return &s->leases;
}

int dhcp_server_assign(struct dhcp_server *s, const struct mac *mac, const char *name,
		       struct ipaddr *out)
{
	const struct lease_client client = { .mac = *mac };
	struct lease *lease = lease_choose(&s->leases, &client, &IPADDR_V6_ANY, now_s(s));

	if (!lease)
		return -ENOSPC;
	lease_bind(lease, &client, now_s(s) + ASSIGNED_S);
	name_guest(s, lease, name);
	changed(s);
	*out = lease->addr;
	return 0;
}

int dhcp_server_hold(struct dhcp_server *s, const struct mac *mac, const char *name, bool is_taken,
		     struct ipaddr *out)
{
	const struct dhcp_request request = { .client.mac = *mac };
	struct lease *lease = choose(s, &request);
	struct lease_client client;
	bool was_bound;

	if (!lease)
		return -ENOSPC;
	client = lease->client;
	was_bound = lease->state == LEASE_BOUND;
	*out = lease->addr;
	if (!is_taken)
		return 0;
	bind_lease(s, lease, &client, name);
	if (!was_bound)
		s->config.owner->changed(s->config.arg);
	return 0;
}

const struct dhcp_server_counters *dhcp_server_counters(const struct dhcp_server *s)
{
	return &s->counters;
}

int dhcp_server_new(struct loop *loop, const struct dhcp_server_config *config,
		    struct dhcp_server **out)
{
	struct dhcp_server *s = calloc(1, sizeof(*s));
	int r = -ENOMEM;

	if (!s)
		return r;
	s->loop = loop;
	s->config = *config;
	s->wall_s = (uint64_t)time(NULL) - loop_now_ms(loop) / 1000;
	list_init(&s->probes);
	lease_table_init(&s->leases, &config->range);
	r = timer_new(loop, on_probe_timer, s, &s->probe_timer);
	if (r == 0)
		r = timer_new(loop, on_save, s, &s->save_timer);
	if (r < 0) {
		dhcp_server_free(s);
		return r;
	}
	*out = s;
	return 0;
}

void dhcp_server_free(struct dhcp_server *s)
{
	if (!s)
		return;
	save(s);
	list_for_each(node, &s->probes)
		free(container_of(node, struct probe, node));
	timer_free(s->probe_timer);
	timer_free(s->save_timer);
	free(s);
}
