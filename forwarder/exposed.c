/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/exposed.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/publisher.h"
#include "forwarder/ways.h"

struct exposed {
	struct publisher *publisher;
	const struct ways *ways;
	struct control_forward *forwards; /* n of them */
	unsigned int n, size;
};

int exposed_new(struct publisher *publisher, const struct ways *ways, struct exposed **out)
{
	struct exposed *e = calloc(1, sizeof(*e));

	if (!e)
		return -ENOMEM;
	e->publisher = publisher;
	e->ways = ways;
	*out = e;
	return 0;
}

void exposed_free(struct exposed *exposed)
{
	if (!exposed)
		return;
	(void)publisher_set(exposed->publisher, EXPOSED_SOURCE, NULL, 0);
	free(exposed->forwards);
	free(exposed);
}

static struct publication publication_of(const struct control_forward *f, unsigned int i)
{
	struct publication p = {
		.proto = f->spec.proto,
		.host = f->spec.host,
		.guest = f->spec.guest,
		.is_static = true,
		.keeps_port = true,
		.via = (int)f->via,
	};

	/* the guest's own address: as a listener on all of them */
	if (ipaddr_equal(&p.guest.addr, &IPADDR_V6_ANY))
		p.guest.addr = IPADDR_V4(0, 0, 0, 0);
	p.host.port = (uint16_t)(p.host.port + i);
	p.guest.port = (uint16_t)(p.guest.port + i);
	return p;
}

static unsigned int count_ports(const struct exposed *e)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < e->n; i++)
		n += e->forwards[i].spec.n_ports;
	return n;
}

static int publish(struct exposed *e)
{
	struct publication *items = calloc(count_ports(e) + 1, sizeof(*items));
	unsigned int n = 0;
	int r;

	if (!items)
		return -ENOMEM;
	for (unsigned int i = 0; i < e->n; i++) {
		for (unsigned int j = 0; j < e->forwards[i].spec.n_ports; j++)
			items[n++] = publication_of(&e->forwards[i], j);
	}
	r = publisher_set(e->publisher, EXPOSED_SOURCE, items, n);
	free(items);
	return r;
}

static bool is_same_spec(const struct forward_spec *a, const struct forward_spec *b)
{
	return a->proto == b->proto && a->n_ports == b->n_ports &&
	       endpoint_equal(&a->host, &b->host) && endpoint_equal(&a->guest, &b->guest);
}

/* Whether it can be added, before anything is changed. */
static int check(const struct exposed *e, const struct control_forward *forward, char *error)
{
	unsigned int n_ports = count_ports(e) + forward->spec.n_ports;
	const struct publication first = publication_of(forward, 0);
	const struct way_request request = publication_request(&first);
	const char *why = ways_why_not(e->ways, &request);
	uint16_t port;

	if (why) {
		(void)snprintf(error, CONTROL_ERROR_SIZE, "%s", why);
		return -EOPNOTSUPP;
	}
	if (n_ports > PUBLISHER_MAX_PER_SOURCE) {
		(void)snprintf(error, CONTROL_ERROR_SIZE, "%u ports would be exposed; %d may be",
			       n_ports, PUBLISHER_MAX_PER_SOURCE);
		return -ENOSPC;
	}
	for (unsigned int i = 0; i < e->n; i++) {
		if (is_same_spec(&e->forwards[i].spec, &forward->spec)) {
			(void)snprintf(error, CONTROL_ERROR_SIZE, "this is exposed already");
			return -EEXIST;
		}
		if (forward_spec_overlap(&e->forwards[i].spec, &forward->spec, &port)) {
			(void)snprintf(error, CONTROL_ERROR_SIZE,
				       "%s port %u of the host is exposed already, to another "
				       "port of the guest",
				       forward_proto_name(forward->spec.proto), port);
			return -EADDRINUSE;
		}
	}
	return 0;
}

struct verdict {
	const struct forward_spec *spec;
	char *error;
	int result;
};

/* Keeps the first port of the forward that is not open. */
static void on_publication(void *arg, const char *source, const struct publication_status *status)
{
	const struct publication *p = status->publication;
	struct verdict *v = arg;
	char host[ADDR_TEXT_SIZE];

	if (v->result < 0 || status->state == PUBLICATION_FORWARDING ||
	    strcmp(source, EXPOSED_SOURCE) != 0 || p->proto != v->spec->proto ||
	    !ipaddr_equal(&p->host.addr, &v->spec->host.addr) ||
	    p->host.port < v->spec->host.port ||
	    p->host.port >= v->spec->host.port + v->spec->n_ports)
		return;
	v->result = -EADDRINUSE;
	(void)snprintf(v->error, CONTROL_ERROR_SIZE, "%s %s: %s", forward_proto_name(p->proto),
		       endpoint_format(&p->host, host),
		       status->error ? status->error : "taken by another forward");
}

static int add(struct exposed *e, const struct control_forward *forward)
{
	if (e->n == e->size) {
		unsigned int size = 2 * e->size + 8;
		struct control_forward *forwards = realloc(e->forwards, size * sizeof(*forwards));

		if (!forwards)
			return -ENOMEM;
		e->forwards = forwards;
		e->size = size;
	}
	e->forwards[e->n++] = *forward;
	return publish(e);
}

int exposed_add(struct exposed *exposed, const struct control_forward *forward,
		char error[static CONTROL_ERROR_SIZE])
{
	struct verdict v = { .spec = &forward->spec };
	unsigned int n = exposed->n;
	int r = check(exposed, forward, error);

	if (r < 0)
		return r;
	v.error = error;
	r = add(exposed, forward);
	if (r == 0) {
		publisher_each(exposed->publisher, on_publication, &v);
		r = v.result;
	} else {
		(void)snprintf(error, CONTROL_ERROR_SIZE, "%s", strerror(-r));
	}
	if (r < 0 && exposed->n > n) {
		exposed->n = n;
		(void)publish(exposed); /* less than before: nothing is added */
	}
	return r;
}

int exposed_remove(struct exposed *exposed, const struct control_forward *forward,
		   char error[static CONTROL_ERROR_SIZE])
{
	unsigned int i = 0;
	int r;

	while (i < exposed->n && !is_same_spec(&exposed->forwards[i].spec, &forward->spec))
		i++;
	if (i == exposed->n) {
		(void)snprintf(error, CONTROL_ERROR_SIZE, "this was not exposed");
		return -ENOENT;
	}
	exposed->n--;
	memmove(&exposed->forwards[i], &exposed->forwards[i + 1],
		(exposed->n - i) * sizeof(*exposed->forwards));
	r = publish(exposed);
	if (r < 0)
		(void)snprintf(error, CONTROL_ERROR_SIZE, "%s", strerror(-r));
	return r;
}

/* ---- status ---- */

static const char *rule_text(const struct publication *p, const char *source, char text[32])
{
	switch ((enum rule_origin)p->rule_origin) {
	case RULE_ORIGIN_USER:
		(void)snprintf(text, 32, "%u", p->rule_index);
		return text;
	case RULE_ORIGIN_BUILTIN:
		return "builtin";
	case RULE_ORIGIN_OPTION:
		return "option";
	case RULE_ORIGIN_NONE:
		break;
	}
	return source;
}

struct listing {
	const struct exposed *exposed;
	ways_find_fn *find_ways;
	void *arg;
	struct control_status *s;
};

/* What a connection made now would go through. */
static const char *way_text(const struct listing *l, const struct publication *p)
{
	const struct way_request request = publication_request(p);
	const struct ways *ways = l->find_ways(l->arg, p->guest_name);
	enum rule_via now = ways_now(ways ? ways : l->exposed->ways, &request);

	return now == RULE_VIA_NONE ? NULL : rule_via_name(now);
}

static void list_publication(void *arg, const char *source, const struct publication_status *status)
{
	const struct listing *listing = arg;
	const struct publication *p = status->publication;
	char host[ADDR_TEXT_SIZE], guest[ADDR_TEXT_SIZE], rule[32];
	const struct control_published published = {
		.guest_name = p->guest_name[0] ? p->guest_name : NULL,
		.proto = p->proto,
		.host = p->host_socket[0] ? p->host_socket : endpoint_format(&status->host, host),
		.guest = p->guest_socket[0] ? p->guest_socket : endpoint_format(&p->guest, guest),
		.via = way_text(listing, p),
		.state = publication_state_name(status->state),
		.rule = rule_text(p, source, rule),
		.error = status->error,
		.connections = status->counters.open,
		.connections_total = status->counters.total,
		.bytes_to_guest = status->counters.to_guest_bytes,
		.bytes_to_host = status->counters.to_host_bytes,
	};

	control_status_forward(listing->s, &published);
}

void exposed_list(const struct exposed *exposed, ways_find_fn *find_ways, void *arg,
		  struct control_status *s)
{
	struct listing listing = { exposed, find_ways, arg, s };

	publisher_each(exposed->publisher, list_publication, &listing);
}
