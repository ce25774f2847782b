/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The pipe that one direction of a relay between two sockets goes through by
 * splice(2). Plain data of its owner. */
#include <stdbool.h>
#include <stddef.h>

struct relay_pipe {
	int read_end, write_end; /* -1: closed */
	size_t size;		 /* what it takes at once */
	size_t len;		 /* what is in it; the owner's to count */
	bool has_failed;	 /* there was no pipe to be had: once is enough */
};

#define RELAY_PIPE_CLOSED                       \
	{                                       \
		.read_end = -1, .write_end = -1 \
	}

static inline bool relay_pipe_is_open(const struct relay_pipe *p)
{
	return p->read_end >= 0;
}

/* 0 or -errno: the bytes have to be copied, then. */
int relay_pipe_open(struct relay_pipe *p);
void relay_pipe_close(struct relay_pipe *p); /* accepts a closed one */
