/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the guest listens on, told to whoever has asked: everything at first, then
 * what changes. */
#include "forwarder/port_listener.h"
#include "forwarder/rpc/flow_stream.h"

struct http2_stream;
struct message;
struct reports;

int reports_new(struct reports **out);
/* After the connections of the host. Accepts NULL. */
void reports_free(struct reports *r);

/* See forwarder/agent/server.h. */
void reports_set(struct reports *r, const struct port_listener *all, unsigned int n);
void reports_set_ephemeral(struct reports *r, struct port_range range);

/* Answers a call for events. */
void reports_subscribe(struct reports *r, struct http2_stream *s, enum flow_dialect dialect);
/* GuestService's GetInfo. 0 or -ENOMEM. */
int reports_info(const struct reports *r, struct message *out);
