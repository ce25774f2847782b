/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Dials that wait for a connection to go by: first come, first served, and each for a
 * bounded time only. All on the loop thread. */
#include <stdbool.h>
#include <stdint.h>

#include "netstack/base/list.h"

struct dial_queue;
struct loop;

/* Embedded by what waits. */
struct dial_waiter {
	struct list node; /* unlinked: it does not wait */
	uint64_t until_ms;
};

struct dial_queue_owner {
	/* There is a connection. 0: it was dialled, and may be gone; -EBUSY: that takes
	 * no more for now, so it waits on, and those behind it too; other -errno: it
	 * fails. */
	int (*dial)(void *arg, struct dial_waiter *waiter);
	/* It does not wait any more, and is not dialled: -errno. */
	void (*failed)(void *arg, struct dial_waiter *waiter, int error);
	void *arg;
};

/* 0 or -ENOMEM. */
int dial_queue_new(struct loop *loop, const struct dial_queue_owner *owner, unsigned int wait_ms,
		   struct dial_queue **out);
void dial_queue_free(struct dial_queue *q); /* when nobody waits; accepts NULL */

void dial_queue_add(struct dial_queue *q, struct dial_waiter *waiter);
void dial_queue_remove(struct dial_waiter *waiter); /* whether it waits or not */
bool dial_queue_is_empty(const struct dial_queue *q);

/* There is a connection from now on: all that wait are dialled. */
void dial_queue_open(struct dial_queue *q);
/* There is none; those that wait do so for as long as they have left. */
void dial_queue_close(struct dial_queue *q);
void dial_queue_fail(struct dial_queue *q, int error); /* all that wait */
