/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/policy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/events.h"
#include "forwarder/options_merge.h"
#include "forwarder/publisher.h"
#include "forwarder/ways.h"
#include "netstack/base/log.h"

#define SOURCE_STATIC "config"
#define SOURCE_GUEST "guest:default"

struct policy {
	struct ways *ways;
	const struct options *options;
	struct rule *rules; /* of set */
	struct rule_set set;
	struct publisher *publisher;
	struct rule_listener *listeners; /* sorted, none twice */
	size_t n_listeners;
};

/* Being made of rules, to be handed to the publisher. */
struct wanted {
	struct publication items[PUBLISHER_MAX_PER_SOURCE];
	unsigned int n, n_left_out;
};

/* --- the way to the guest ------------------------------------------------ */

struct way_request publication_request(const struct publication *p)
{
	return (struct way_request){
		.via = (enum rule_via)p->via,
		.proto = p->proto,
		.guest = { .endpoint = p->guest,
			   .path = p->guest_socket[0] ? p->guest_socket : NULL },
		.is_static = p->is_static,
	};
}

static int dial_tcp(void *arg, const struct publication *item, struct stream **out)
{
	struct policy *p = arg;
	struct way_request request = publication_request(item);

	return ways_dial(p->ways, &request, out);
}

static int dial_udp(void *arg, const struct publication *item, const struct udp_flow_owner *owner,
		    void *owner_arg, struct udp_flow **out)
{
	struct policy *p = arg;
	struct way_request request = publication_request(item);

	return ways_open_udp(p->ways, &request, owner, owner_arg, out);
}

/* NULL if there is a way. */
static const char *no_way(const struct policy *p, const struct publication *item)
{
	struct way_request request = publication_request(item);

	return ways_why_not(p->ways, &request);
}

/* --- static rules -------------------------------------------------------- */

static void want(struct wanted *w, const struct publication *item)
{
	if (w->n == PUBLISHER_MAX_PER_SOURCE)
		w->n_left_out++;
	else
		w->items[w->n++] = *item;
}

static void want_static(const struct policy *p, struct wanted *w, const struct rule *rule,
			enum forward_proto proto)
{
	struct publication item = {
		.proto = proto,
		.host.addr = rule->host_ip,
		.guest.addr = rule->guest_ip,
		.has_also = !rule->is_host_ip_given && !rule->host_socket,
		.is_static = true,
		.via = (int)rule_via_of(&p->set, rule, proto),
		.rule_origin = (int)rule->origin,
		.rule_index = rule->index,
	};
	const char *why = no_way(p, &item);

	if (why) {
		log_warn("portForwards[%u] is not forwarded: %s", rule->index, why);
		return;
	}
	if (rule->host_socket)
		(void)snprintf(item.host_socket, sizeof(item.host_socket), "%s", rule->host_socket);
	for (unsigned int i = 0; i <= (unsigned int)(rule->guest_last - rule->guest_first); i++) {
		item.host.port = (uint16_t)(rule->host_first + i);
		item.guest.port = (uint16_t)(rule->guest_first + i);
		want(w, &item);
	}
}

static void want_rule(const struct policy *p, struct wanted *w, const struct rule *rule)
{
	const struct rule_types *types = &p->set.types;

	if (rule->origin != RULE_ORIGIN_USER)
		return; /* --forward: forwards.c has it */
	if (rule->is_reverse || rule->guest_socket) {
		log_warn("portForwards[%u] is not forwarded: %s is not in this version yet",
			 rule->index, rule->is_reverse ? "reverse" : "guestSocket");
		return;
	}
	if (!rule->is_static || rule->is_ignore)
		return;
	if (rule->proto != RULE_PROTO_UDP && types->tcp != RULE_VIA_NONE)
		want_static(p, w, rule, FORWARD_TCP);
	if (rule->proto != RULE_PROTO_TCP && types->udp != RULE_VIA_NONE && !rule->host_socket)
		want_static(p, w, rule, FORWARD_UDP);
}

static int publish(struct policy *p, const char *source, const struct wanted *w)
{
	if (w->n_left_out)
		log_warn("%u forwards of %s are left out: %u at most", w->n_left_out, source,
			 PUBLISHER_MAX_PER_SOURCE);
	return publisher_set(p->publisher, source, w->items, w->n);
}

static int publish_static(struct policy *p)
{
	struct wanted *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	for (unsigned int i = 0; i < p->set.n_rules; i++)
		want_rule(p, w, &p->set.rules[i]);
	r = publish(p, SOURCE_STATIC, w);
	free(w);
	return r;
}

/* --- what the guest listens on ------------------------------------------- */

static int compare_listeners(const void *a, const void *b)
{
	const struct rule_listener *x = a, *y = b;
	int r = memcmp(&x->guest.addr, &y->guest.addr, sizeof(x->guest.addr));

	if (r != 0)
		return r;
	if (x->guest.port != y->guest.port)
		return x->guest.port < y->guest.port ? -1 : 1;
	return (int)x->proto - (int)y->proto;
}

static bool has_listener(const struct rule_listener *sorted, size_t n,
			 const struct rule_listener *listener)
{
	return n && bsearch(listener, sorted, n, sizeof(*sorted), compare_listeners);
}

static void want_listener(struct policy *p, struct wanted *w, const struct rule_listener *listener,
			  bool is_new)
{
	struct rule_decision d = rule_decide(&p->set, listener);
	const struct forward_route route = { .proto = listener->proto, .guest = listener->guest };
	struct publication item = {
		.proto = listener->proto,
		.host = d.host,
		.has_also = d.has_also,
		.guest = listener->guest,
		.via = (int)d.via,
		.rule_origin = (int)d.origin,
		.rule_index = d.index,
	};
	const char *why = "no rule forwards it";

	if (d.origin == RULE_ORIGIN_OPTION)
		return; /* forwards.c has it */
	if (d.is_forward)
		why = no_way(p, &item);
	else if (d.origin != RULE_ORIGIN_NONE)
		why = "a rule ignores it";
	if (why) {
		if (is_new)
			event_not_forwarding(&route, why);
		return;
	}
	if (d.host_socket)
		(void)snprintf(item.host_socket, sizeof(item.host_socket), "%s", d.host_socket);
	want(w, &item);
}

/* `before` of `n_before` are those that were decided and told already. */
static int publish_guest(struct policy *p, const struct rule_listener *before, size_t n_before)
{
	struct wanted *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	for (size_t i = 0; i < p->n_listeners; i++)
		want_listener(p, w, &p->listeners[i],
			      !has_listener(before, n_before, &p->listeners[i]));
	r = publish(p, SOURCE_GUEST, w);
	free(w);
	return r;
}

static size_t drop_duplicates(struct rule_listener *sorted, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		if (kept == 0 || compare_listeners(&sorted[kept - 1], &sorted[i]) != 0)
			sorted[kept++] = sorted[i];
	}
	return kept;
}

/* Takes `all`. */
static int replace_listeners(struct policy *p, struct rule_listener *all, size_t n)
{
	struct rule_listener *before = p->listeners;
	size_t n_before = p->n_listeners;
	int r;

	qsort(all, n, sizeof(*all), compare_listeners);
	p->listeners = all;
	p->n_listeners = drop_duplicates(all, n);
	r = publish_guest(p, before, n_before);
	free(before);
	return r;
}

void policy_set_listeners(struct policy *p, const struct rule_listener *listeners, size_t n)
{
	struct rule_listener *all = calloc(n + 1, sizeof(*all));

	if (!all) {
		log_error("no memory for what the guest listens on");
		return;
	}
	memcpy(all, listeners, n * sizeof(*all));
	(void)replace_listeners(p, all, n);
}

int policy_change_listeners(struct policy *p, const struct rule_listener *added, size_t n_added,
			    const struct rule_listener *removed, size_t n_removed)
{
	struct rule_listener *all, *gone;
	size_t n = 0;

	if (p->n_listeners + n_added > POLICY_MAX_LISTENERS)
		return -ENOSPC;
	all = calloc(p->n_listeners + n_added + 1, sizeof(*all));
	gone = calloc(n_removed + 1, sizeof(*gone));
	if (!all || !gone) {
		free(all);
		free(gone);
		return -ENOMEM;
	}
	memcpy(gone, removed, n_removed * sizeof(*gone));
	qsort(gone, n_removed, sizeof(*gone), compare_listeners);
	for (size_t i = 0; i < p->n_listeners; i++) {
		if (!has_listener(gone, n_removed, &p->listeners[i]))
			all[n++] = p->listeners[i];
	}
	memcpy(all + n, added, n_added * sizeof(*all));
	free(gone);
	return replace_listeners(p, all, n + n_added);
}

/* --- life ---------------------------------------------------------------- */

int policy_use(struct policy *p, const struct config *config)
{
	struct rule *rules;
	struct rule_set set;
	int r = options_rules(p->options, config, &rules, &set);

	if (r < 0)
		return r;
	free(p->rules);
	p->rules = rules;
	p->set = set;
	r = publish_static(p);
	return r < 0 ? r : publish_guest(p, p->listeners, p->n_listeners);
}

int policy_start(struct policy *p)
{
	return policy_use(p, p->options->config);
}

struct publisher *policy_publisher(struct policy *p)
{
	return p->publisher;
}

int policy_new(struct loop *loop, const struct policy_setup *setup, struct policy **out)
{
	const struct publisher_config config = { .grace_ms = GRACE_DEFAULT_MS };
	struct policy *p = calloc(1, sizeof(*p));
	const struct publisher_dialer dialer = { .tcp = dial_tcp, .udp = dial_udp, .arg = p };
	int r;

	if (!p)
		return -ENOMEM;
	p->ways = setup->ways;
	p->options = setup->options;
	r = publisher_new(loop, &config, &dialer, &p->publisher);
	if (r < 0) {
		free(p);
		return r;
	}
	*out = p;
	return 0;
}

void policy_free(struct policy *p)
{
	if (!p)
		return;
	publisher_free(p->publisher);
	free(p->listeners);
	free(p->rules);
	free(p);
}
