/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The TCP connections of one forward, each a client joined with the server that was
 * dialled for it: counted, and ended with their owner. Embedded by the owner. */
#include <stdint.h>

#include "netstack/addr.h"
#include "netstack/base/list.h"

struct loop;
struct stream;

struct connection_counters {
	uint64_t refused; /* nobody listens where the server should be */
	uint64_t broken;  /* one side failed in another way */
	uint64_t closed;  /* both sides ended in order */
	uint64_t to_server_bytes, to_client_bytes;
};

struct connections {
	struct loop *loop;
	const char *name; /* of the forward, for logs; the owner's */
	struct list all;  /* connection.node */
	unsigned int n;
	struct connection_counters counters; /* of those that have ended */
	/* The last one has ended; the owner may go with it. NULL: nobody asks. */
	void (*drained)(void *arg);
	void *arg;
};

void connections_init(struct connections *c, struct loop *loop, const char *name);
/* Takes both streams. from is the client's address. 0 or -ENOMEM. */
int connections_join(struct connections *c, struct stream *client, struct stream *server,
		     const struct endpoint *from);
/* With the bytes of the open ones. */
struct connection_counters connections_count(const struct connections *c);
/* Resets them all. */
void connections_reset(struct connections *c);
