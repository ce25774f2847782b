/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/events.h"

#include <stddef.h>

#include "netstack/base/log.h"

static void emit(const char *name, const struct forward_route *route, const char *error)
{
	char host[ADDR_TEXT_SIZE], guest[ADDR_TEXT_SIZE];

	const char *host_text =
		route->host_socket ? route->host_socket : endpoint_format(&route->host, host);
	const char *guest_text =
		route->guest_socket ? route->guest_socket : endpoint_format(&route->guest, guest);

	if (route->is_reverse)
		log_event(name, "protocol", forward_proto_name(route->proto), "host", host_text,
			  "guest", guest_text, "reverse", "true", error ? "error" : NULL, error,
			  NULL);
	else
		log_event(name, "protocol", forward_proto_name(route->proto), "host", host_text,
			  "guest", guest_text, error ? "error" : NULL, error, NULL);
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
