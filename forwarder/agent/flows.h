/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The connections and datagram flows that the host has in the guest: their first
 * message, dialling, and what joins both ends. Each ends by itself, with its call. */
#include "forwarder/agent/flows_config.h"
#include "forwarder/rpc/flow_stream.h"

struct flows;
struct http2_stream;
struct loop;

int flows_new(struct loop *loop, const struct flows_config *config, struct flows **out);
/* After the connections of the host. Accepts NULL. */
void flows_free(struct flows *flows);
/* Answers a call. */
void flows_request(struct flows *flows, struct http2_stream *s, enum flow_dialect dialect);
