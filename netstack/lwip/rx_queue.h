/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What a guest has sent and the stream's owner has not read yet: lwIP's pbuf
 * chains, in order. */
#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

struct pbuf;

struct rx_queue { /* all zero: empty */
	struct pbuf **items;
	unsigned int head, count, capacity; /* capacity: a power of 2 */
};

/* Takes p. False when memory is out: p stays the caller's. */
bool rx_queue_append(struct rx_queue *q, struct pbuf *p);
/* The first bytes in place: fills up to n entries, returns the sum. */
size_t rx_queue_peek(const struct rx_queue *q, struct iovec *iov, int n, int *n_filled);
/* Drops bytes that are there. */
void rx_queue_consume(struct rx_queue *q, size_t len);
/* What is left is left for later. It moves to memory of its own if it lies in
 * buffers that are scarce, so that one slow connection cannot stop a link, and
 * in large pieces if it is in very many: a window counts bytes, but each piece
 * has its cost. */
void rx_queue_settle(struct rx_queue *q);
void rx_queue_clear(struct rx_queue *q);
