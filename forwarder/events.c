/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/events.h"

#include <stddef.h>

#include "netstack/base/log.h"

#define MAX_PAIRS 6

struct pairs {
	const char *text[2 * MAX_PAIRS]; /* key, value, ..., NULL */
	unsigned int n;
};

static void add(struct pairs *p, const char *key, const char *value)
{
	p->text[p->n++] = key;
	p->text[p->n++] = value;
}

static void add_route(struct pairs *p, const struct forward_route *route,
		      char text[2][ADDR_TEXT_SIZE])
{
	add(p, "protocol", forward_proto_name(route->proto));
	if (route->host_socket)
		add(p, "host", route->host_socket);
	else if (route->host.port != 0) /* it is not on the host */
		add(p, "host", endpoint_format(&route->host, text[0]));
	add(p, "guest",
	    route->guest_socket ? route->guest_socket : endpoint_format(&route->guest, text[1]));
	if (route->guest_name && *route->guest_name)
		add(p, "guest_name", route->guest_name);
	if (route->is_reverse)
		add(p, "reverse", "true");
}

static void emit(const char *name, const struct forward_route *route, const char *error)
{
	struct pairs p = { .n = 0 };
	char text[2][ADDR_TEXT_SIZE];
	const char *const *t = p.text;

	add_route(&p, route, text);
	if (error)
		add(&p, "error", error);
	log_event(name, t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], t[9], t[10], t[11],
		  NULL);
}

void event_forwarding(const struct forward_route *route)
{
	emit("forwarding", route, NULL);
}

void event_not_forwarding(const struct forward_route *route, const char *why)
{
	emit("not-forwarding", route, why);
}

void event_stopping(const struct forward_route *route)
{
	emit("stopping", route, NULL);
}

void event_failed(const struct forward_route *route, const char *error)
{
	emit("failed", route, error);
}

void event_recovered(const struct forward_route *route)
{
	emit("recovered", route, NULL);
}
