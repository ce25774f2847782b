/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/agent/reports.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/port_list.h"
#include "forwarder/rpc/call.h"
#include "forwarder/rpc/http2.h"
#include "netstack/base/list.h"

/* What a host that does not read may have waiting: it is to ask again. */
#define QUEUE_MAX (8UL * 1024 * 1024)

struct reports {
	struct list subscribers;   /* subscriber.node */
	struct port_listener *all; /* sorted */
	unsigned int n;
	bool is_known;
	struct port_range ephemeral;
};

struct subscriber {
	struct list node; /* reports.subscribers */
	struct call *call;
	enum flow_dialect dialect;
	bool has_all; /* has got everything once */
};

static void end(struct subscriber *s)
{
	list_unlink(&s->node);
	call_free(s->call);
	free(s);
}

static struct rpc_listener *convert(const struct port_listener *from, unsigned int n)
{
	struct rpc_listener *to = calloc(n + 1U, sizeof(*to));

	for (unsigned int i = 0; to && i < n; i++)
		to[i] = (struct rpc_listener){ from[i].proto == FORWARD_UDP, from[i].guest };
	return to;
}

/* The difference of two lists, in the form of messages. */
struct change {
	struct rpc_listener *added, *removed;
	unsigned int n_added, n_removed;
};

static struct rpc_listener *difference(const struct port_list *a, const struct port_list *b,
				       unsigned int *n)
{
	struct port_listener *only = calloc(a->n + 1U, sizeof(*only));
	struct rpc_listener *converted = NULL;

	if (only) {
		*n = port_list_without(a, b, only);
		converted = convert(only, *n);
	}
	free(only);
	return converted;
}

static int change_init(struct change *c, const struct port_list *before,
		       const struct port_list *now)
{
	c->added = difference(now, before, &c->n_added);
	c->removed = difference(before, now, &c->n_removed);
	return c->added && c->removed ? 0 : -ENOMEM;
}

static void change_deinit(struct change *c)
{
	free(c->added);
	free(c->removed);
}

/* A subscriber that cannot be told is ended: it asks again, for everything. */
static void tell(const struct reports *r, struct subscriber *s, const struct change *c)
{
	struct rpc_event event = {
		.is_all = !s->has_all,
		.ephemeral_first = r->ephemeral.first,
		.ephemeral_last = r->ephemeral.last,
	};
	struct message_ports ports = { c->added, c->removed, c->n_added, c->n_removed };
	struct message m;
	int error = s->dialect == FLOW_NETFWD ? message_event(&event, &ports, &m) :
						message_guest_event(&ports, &m);

	if (error == 0)
		error = call_send(s->call, &m);
	s->has_all = true;
	if (error < 0 || call_queued(s->call) > QUEUE_MAX) {
		call_finish(s->call, GRPC_RESOURCE_EXHAUSTED, "too slow");
		end(s);
	}
}

static void tell_all(const struct reports *r, struct subscriber *s)
{
	struct rpc_listener *all = convert(r->all, r->n);
	struct change everything = { .added = all, .n_added = r->n };

	if (!all) {
		call_finish(s->call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
		end(s);
		return;
	}
	tell(r, s, &everything);
	free(all);
}

void reports_set(struct reports *r, const struct port_listener *all, unsigned int n)
{
	struct port_list before = { r->all, r->n }, now;
	struct port_listener *copy = calloc(n + 1U, sizeof(*copy));
	struct change c = { 0 };

	if (!copy)
		return; /* tried again when something changes */
	if (n)
		memcpy(copy, all, n * sizeof(*copy));
	now = (struct port_list){ copy, port_list_sort(copy, n) };
	if (r->is_known && (port_list_equal(&before, &now) || change_init(&c, &before, &now) < 0)) {
		change_deinit(&c);
		free(copy);
		return;
	}
	r->all = copy;
	r->n = now.n;
	r->is_known = true;
	list_for_each(node, &r->subscribers) {
		struct subscriber *s = container_of(node, struct subscriber, node);

		if (s->has_all)
			tell(r, s, &c);
		else
			tell_all(r, s);
	}
	change_deinit(&c);
	free((struct port_listener *)(uintptr_t)before.all);
}

void reports_set_ephemeral(struct reports *r, struct port_range range)
{
	r->ephemeral = range;
}

static void on_message(void *arg, const uint8_t *data, size_t len)
{
	(void)arg; /* the request says nothing */
	(void)data;
	(void)len;
}

static void on_end(void *arg, int status, const char *text)
{
	(void)arg; /* of requests */
	(void)status;
	(void)text;
}

static void on_gone(void *arg, int error)
{
	(void)error;
	end(arg);
}

static const struct call_ops call_ops = { on_message, on_end, on_gone };

void reports_subscribe(struct reports *r, struct http2_stream *stream, enum flow_dialect dialect)
{
	struct subscriber *s = calloc(1, sizeof(*s));
	struct call_handler handler = { &call_ops, s };

	if (!s) {
		http2_stream_refuse(stream, GRPC_RESOURCE_EXHAUSTED, "out of memory");
		return;
	}
	if (call_accept(stream, &handler, &s->call) < 0) {
		free(s);
		return;
	}
	s->dialect = dialect;
	list_append(&r->subscribers, &s->node);
	if (r->is_known)
		tell_all(r, s);
}

int reports_info(const struct reports *r, struct message *out)
{
	struct rpc_listener *all = convert(r->all, r->n);
	struct message_ports ports = { .added = all, .n_added = r->n };
	int error;

	if (!all)
		return -ENOMEM;
	error = message_guest_info(&ports, out);
	free(all);
	return error;
}

int reports_new(struct reports **out)
{
	struct reports *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	list_init(&r->subscribers);
	*out = r;
	return 0;
}

void reports_free(struct reports *r)
{
	if (!r)
		return;
	list_for_each(node, &r->subscribers)
		end(container_of(node, struct subscriber, node));
	free(r->all);
	free(r);
}
