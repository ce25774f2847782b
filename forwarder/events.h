/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What happens to forwards, for whoever follows the log: one structured line
 * each, emitted after the fact. Keys: protocol, host, guest, guest_name (of a
 * shared network), reverse (true, where it is) and error. */
#include <stdbool.h>

#include "forwarder/forward_spec.h"
#include "netstack/addr.h"

/* One port of the host and where it leads. */
struct forward_route {
	enum forward_proto proto;
	struct endpoint host;
	struct endpoint guest;
	const char *host_socket;  /* a path instead of host; or NULL */
	const char *guest_socket; /* likewise */
	const char *guest_name;	  /* of a shared network; NULL or "": the only one */
	bool is_reverse;	  /* the guest's side is listened on, and "open" below */
};

/* The host port is open; connections are accepted. */
void event_forwarding(const struct forward_route *route);
/* It was asked for and is not opened; why says by what decision. */
void event_not_forwarding(const struct forward_route *route, const char *why);
/* The host port was open and is closed. */
void event_stopping(const struct forward_route *route);
/* The host port could not be opened. */
void event_failed(const struct forward_route *route, const char *error);
/* A host port that had failed could be opened after all; `forwarding` follows. */
void event_recovered(const struct forward_route *route);
