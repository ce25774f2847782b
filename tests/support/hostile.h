/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The other end of the agent's connection, byte by byte: a host that an agent has,
 * or the agent of a host. What it sends is put together by h2_frames.h. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/support/h2_frames.h"

struct agent_client;
struct agent_server;
struct loop;

struct hostile {
	struct loop *loop;
	struct agent_server *server;
	struct agent_client *client;
	int peer; /* our end of the last connection, -1: it is closed */
	unsigned int n_connects, n_told, n_listeners;
	struct h2_bytes out;
	uint8_t heard[256 * 1024]; /* what the peer has sent last */
	size_t n_heard;
	bool has_ended;
};

/* An agent without a host; a host that has connected, and says hello. For cmocka. */
int hostile_setup_host(void **state);
int hostile_setup_agent(void **state);
int hostile_teardown(void **state);

/* Connects to the agent; the beginning of HTTP/2 is put together. */
void hostile_connect(struct hostile *t);
/* Sends what was put together, as far as anybody reads it, and reads. */
void hostile_flush(struct hostile *t);
void hostile_hear(struct hostile *t);
bool hostile_is_closed(struct hostile *t);
