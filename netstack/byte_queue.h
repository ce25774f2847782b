/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Bytes that wait for their reader, copied into blocks: many tiny pieces cost no
 * more than one large one. Whoever fills it bounds it. */
#include <stddef.h>
#include <sys/uio.h>

#include "netstack/base/list.h"

struct byte_queue {
	struct list blocks;
	size_t len;
};

void byte_queue_init(struct byte_queue *q);
/* Drops all; the queue can be used again. */
void byte_queue_clear(struct byte_queue *q);
/* Copies the bytes behind the first `skip`. -ENOMEM: nothing was. */
int byte_queue_append(struct byte_queue *q, const struct iovec *iov, int n, size_t skip);
/* The first bytes in place: fills up to n entries, returns how many. */
int byte_queue_peek(const struct byte_queue *q, struct iovec *iov, int n);
/* len is at most the queue's. */
void byte_queue_consume(struct byte_queue *q, size_t len);
