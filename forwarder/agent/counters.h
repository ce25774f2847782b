/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What became of what the host asked the agent for. */
#include <stdint.h>

struct agent_server_counters {
	uint64_t connections;	       /* accepted */
	uint64_t connections_lost;     /* ended by an error, be it of the protocol */
	uint64_t connections_replaced; /* max_connections */
	uint64_t flows;		       /* TCP, UNIX and UDP flows begun */
	uint64_t flows_refused;	       /* max_flows, bad addresses */
	uint64_t dials_failed;	       /* the guest said no */
	uint64_t datagrams_dropped;    /* no room towards the host or the guest */
};
