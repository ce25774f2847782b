/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The guest's end of a raw flow of datagrams: a socket of its own, so that the server
 * sees one client for each of the host's. */

/* Without any datagram; longer than the host's flows live. */
#define RAW_UDP_IDLE_MS 300000

struct agent_server_counters;
struct endpoint;
struct loop;
struct raw_udp;
struct stream;

/* Called once, when the host has ended it, or nothing has passed for
 * RAW_UDP_IDLE_MS: the flow is to be freed, in there or later. */
struct raw_udp_owner {
	void (*gone)(void *arg);
	void *arg;
};

/* Connects. 0, -ENOMEM, or -errno of the socket. */
int raw_udp_new(struct loop *loop, const struct endpoint *guest,
		struct agent_server_counters *counters, const struct raw_udp_owner *owner,
		struct raw_udp **out);
/* Takes the host's connection, past the answer. Does not call back. */
void raw_udp_start(struct raw_udp *u, struct stream *host);
void raw_udp_free(struct raw_udp *u); /* accepts NULL */
