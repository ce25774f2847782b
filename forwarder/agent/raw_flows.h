/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The raw flows (forwarder/raw_header.h) that the host has in the guest: a connection
 * each, which is read up to the header's end, dialled for, answered, and joined. */
#include "forwarder/agent/flows_config.h"

struct loop;
struct raw_flows;
struct stream;

/* The header has to be there by then. */
#define RAW_FLOWS_PATIENCE_MS 5000

int raw_flows_new(struct loop *loop, const struct flows_config *config, struct raw_flows **out);
void raw_flows_free(struct raw_flows *flows); /* resets them; accepts NULL */
/* Takes a connection of the host, at its first byte. */
void raw_flows_accept(struct raw_flows *flows, struct stream *host);
