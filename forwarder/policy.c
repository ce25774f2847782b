/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/policy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/events.h"
#include "forwarder/options_merge.h"
#include "forwarder/publisher.h"
#include "forwarder/reverse.h"
#include "forwarder/static_rules.h"
#include "forwarder/ways.h"
#include "netstack/base/log.h"

/* Linux's ip_local_port_range, if nobody has changed it. */
#define CLIENT_PORT_FIRST 32768
#define CLIENT_PORT_LAST 60999

struct policy {
	struct ways *ways;
	const struct options *options;
	struct rule *rules; /* of set */
	struct rule_set set;
	struct publisher *publisher;
	const char *guest_name;
	/* the sources of the publisher */
	char static_source[PUBLICATION_NAME_SIZE + 8], guest_source[PUBLICATION_NAME_SIZE + 8];
	struct reverses *reverses;
	struct rule_listener *listeners; /* sorted, none twice */
	size_t n_listeners;
	uint16_t client_first, client_last;
};

/* --- the way to the guest ------------------------------------------------ */

/* NULL if there is a way. */
static const char *no_way(const struct policy *p, const struct publication *item)
{
	struct way_request request = publication_request(item);

	return ways_why_not(p->ways, &request);
}

/* --- what rules ask for at once ------------------------------------------- */

static int publish(struct policy *p, const char *source, const struct publication_list *list)
{
	for (unsigned int i = 0; i < list->n; i++)
		(void)snprintf(list->items[i].guest_name, sizeof(list->items[i].guest_name), "%s",
			       p->guest_name);
	if (list->n_left_out)
		log_warn("%u forwards of %s are left out: %u at most", list->n_left_out, source,
			 PUBLISHER_MAX_PER_SOURCE);
	return publisher_set(p->publisher, source, list->items, list->n);
}

/* Says it once for each rule; what is left has a way. */
static void leave_out_wayless(const struct policy *p, struct publication_list *list)
{
	const struct publication *last = NULL;
	unsigned int n = 0;

	for (unsigned int i = 0; i < list->n; i++) {
		const struct publication *item = &list->items[i];
		const char *why = no_way(p, item);

		if (why &&
		    (!last || last->rule_index != item->rule_index || last->proto != item->proto))
			log_warn("portForwards[%u] is not forwarded: %s", item->rule_index, why);
		if (why)
			last = item;
		else
			list->items[n++] = *item;
	}
	list->n = n;
}

static int publish_static(struct policy *p)
{
	struct reverse_list *reverse = calloc(1, sizeof(*reverse));
	struct publication_list list;
	int r;

	if (!reverse)
		return -ENOMEM;
	r = publication_list_init(&list, PUBLISHER_MAX_PER_SOURCE);
	if (r == 0) {
		static_rules_list(&p->set, &list, reverse);
		leave_out_wayless(p, &list);
		r = publish(p, p->static_source, &list);
		publication_list_deinit(&list);
	}
	if (r == 0)
		r = reverses_set(p->reverses, reverse);
	free(reverse);
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

static bool is_client_port(const struct policy *p, const struct rule_listener *l)
{
	return l->proto == FORWARD_UDP && l->guest.port >= p->client_first &&
	       l->guest.port <= p->client_last;
}

void policy_set_client_ports(struct policy *p, uint16_t first, uint16_t last)
{
	p->client_first = first;
	p->client_last = last;
}

bool policy_wants_client_ports(const struct policy *p)
{
	for (unsigned int i = 0; i < p->set.n_rules; i++) {
		const struct rule *rule = &p->set.rules[i];
		bool is_every_port = rule->guest_first == 1 && rule->guest_last == UINT16_MAX;

		if (!rule->is_ignore && !is_every_port && rule->proto != RULE_PROTO_TCP &&
		    rule->guest_first <= p->client_last && rule->guest_last >= p->client_first)
			return true;
	}
	return false;
}

/* Being told in one go: a guest may report a hundred thousand. */
#define MAX_TOLD 100

struct telling {
	const char *guest_name;
	const struct rule_listener *before; /* decided and told already; n_before of them */
	size_t n_before;
	unsigned int n_told;
};

static void tell_not_forwarding(struct telling *t, const struct rule_listener *l, const char *why)
{
	const struct forward_route route = { .proto = l->proto,
					     .guest = l->guest,
					     .guest_name = t->guest_name };

	if (has_listener(t->before, t->n_before, l))
		return;
	if (t->n_told++ < MAX_TOLD)
		event_not_forwarding(&route, why);
}

static struct publication publication_from(const struct rule_listener *l,
					   const struct rule_decision *d)
{
	struct publication item = {
		.proto = l->proto,
		.host = d->host,
		.has_also = d->has_also,
		.guest = l->guest,
		.via = (int)d->via,
		.rule_origin = (int)d->origin,
		.rule_index = d->index,
	};

	if (d->host_socket)
		(void)snprintf(item.host_socket, sizeof(item.host_socket), "%s", d->host_socket);
	return item;
}

/* NULL if it is forwarded. */
static const char *why_not(const struct policy *p, const struct rule_decision *d,
			   const struct publication *item)
{
	if (d->is_forward && d->host_socket && item->proto == FORWARD_UDP)
		return "its rule leads to a socket of the host, which UDP has none of";
	if (d->is_forward)
		return no_way(p, item);
	return d->origin == RULE_ORIGIN_NONE ? "no rule forwards it" : "a rule ignores it";
}

static void want_listener(const struct policy *p, const struct rule_listener *l,
			  struct publication_list *list, struct telling *telling)
{
	struct rule_decision d = rule_decide(&p->set, l);
	struct publication item = publication_from(l, &d);
	const char *why = why_not(p, &d, &item);

	if (d.origin == RULE_ORIGIN_OPTION)
		return; /* it is open anyway */
	if (d.is_reverse)
		return; /* it is ours */
	if (is_client_port(p, l) && !(d.is_forward && d.names_port))
		return; /* there are many, they come and go: no event */
	if (why)
		tell_not_forwarding(telling, l, why);
	else
		publication_list_add(list, &item);
}

/* `before` of `n_before` are those that were decided and told already. */
static int publish_guest(struct policy *p, const struct rule_listener *before, size_t n_before)
{
	struct telling telling = { .guest_name = p->guest_name,
				   .before = before,
				   .n_before = n_before };
	struct publication_list list;
	int r = publication_list_init(&list, PUBLISHER_MAX_PER_SOURCE);

	if (r < 0)
		return r;
	for (size_t i = 0; i < p->n_listeners; i++)
		want_listener(p, &p->listeners[i], &list, &telling);
	if (telling.n_told > MAX_TOLD)
		log_info("%u more ports of the guest are not forwarded", telling.n_told - MAX_TOLD);
	r = publish(p, p->guest_source, &list);
	publication_list_deinit(&list);
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
	if (n > 0)
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
	if (n_removed > 0)
		memcpy(gone, removed, n_removed * sizeof(*gone));
	qsort(gone, n_removed, sizeof(*gone), compare_listeners);
	for (size_t i = 0; i < p->n_listeners; i++) {
		if (!has_listener(gone, n_removed, &p->listeners[i]))
			all[n++] = p->listeners[i];
	}
	if (n_added > 0)
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
	if (publish_static(p) < 0 || publish_guest(p, p->listeners, p->n_listeners) < 0)
		log_error("out of memory: some forwards are missing");
	return 0;
}

int policy_start(struct policy *p)
{
	return policy_use(p, p->options->config);
}

const struct rule_listener *policy_listeners(const struct policy *p, size_t *n)
{
	*n = p->n_listeners;
	return p->listeners;
}

struct reverses *policy_reverses(struct policy *p)
{
	return p->reverses;
}

static void on_ways_changed(void *arg)
{
	struct policy *p = arg;

	reverses_retry(p->reverses);
}

static void name_sources(struct policy *p)
{
	bool is_only = !*p->guest_name;

	(void)snprintf(p->static_source, sizeof(p->static_source), "config%s%s", is_only ? "" : ":",
		       p->guest_name);
	(void)snprintf(p->guest_source, sizeof(p->guest_source), "guest:%s",
		       is_only ? "default" : p->guest_name);
}

int policy_new(struct loop *loop, const struct policy_setup *setup, struct policy **out)
{
	struct policy *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->ways = setup->ways;
	p->publisher = setup->publisher;
	p->options = setup->options;
	p->guest_name = setup->guest_name;
	name_sources(p);
	p->client_first = CLIENT_PORT_FIRST;
	p->client_last = CLIENT_PORT_LAST;
	r = reverses_new(loop, p->ways, p->guest_name, &p->reverses);
	if (r < 0) {
		free(p);
		return r;
	}
	ways_on_change(p->ways, on_ways_changed, p);
	*out = p;
	return 0;
}

void policy_free(struct policy *p)
{
	if (!p)
		return;
	ways_on_change(p->ways, NULL, NULL);
	reverses_free(p->reverses);
	free(p->listeners);
	free(p->rules);
	free(p);
}
