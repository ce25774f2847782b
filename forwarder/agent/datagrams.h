/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The datagram flows that the host has in the guest: each has a socket of its own,
 * so the server in the guest sees one client for each of the host's, and answers
 * find their way. A flow ends with its call, when nothing has passed for long, and
 * when there are too many: the longest unused goes first. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "forwarder/agent/flows_config.h"
#include "forwarder/rpc/flow_stream.h"

struct datagram_flow;
struct datagrams;
struct endpoint;
struct http2_stream;
struct loop;

/* Longer than the host's flows live without traffic: Lima's never end. */
#define DATAGRAMS_IDLE_MS 300000U

int datagrams_new(struct loop *loop, const struct flows_config *config, struct datagrams **out);
void datagrams_free(struct datagrams *d); /* accepts NULL */
unsigned int datagrams_count(const struct datagrams *d);

/* Takes a call. 0, or -errno after it was answered. */
int datagrams_begin(struct datagrams *d, struct http2_stream *s, enum flow_dialect dialect,
		    const struct endpoint *guest, struct datagram_flow **out);
/* Bytes of the call that came before it was taken; the flow may end by them. */
struct datagram_feed {
	struct datagram_flow *flow;
	bool has_ended;
};
void datagrams_feed(void *feed, const uint8_t *data, size_t len);
