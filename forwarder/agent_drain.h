/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Connections to an agent that has said it goes away (GOAWAY, RFC 9113 section 6.8):
 * what is carried by them goes on until it ends, and what is new takes another. */

struct agent_drain;
struct http2;

/* More are not kept: the oldest is closed. */
#define AGENT_DRAIN_MAX 4U

int agent_drain_new(struct agent_drain **out); /* 0 or -ENOMEM */
/* Closes what is left. Accepts NULL. */
void agent_drain_free(struct agent_drain *drain);
/* 0, and the connection is its own; or -ENOMEM. */
int agent_drain_take(struct agent_drain *drain, struct http2 *http2);
