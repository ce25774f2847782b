/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What flows of all kinds are given. */
#include <stdint.h>

struct agent_server_counters;
struct guest_client;

struct flows_config {
	unsigned int max; /* at a time, of all kinds */
	struct agent_server_counters *counters;
	/* The descriptor of a connection that was accepted for the host, which is
	 * the caller's then, or -errno. */
	int (*take_accepted)(void *arg, uint64_t id);
	/* The client of that number whose datagrams wait for the host, or NULL. */
	struct guest_client *(*find_client)(void *arg, uint64_t id);
	void *arg;
};
