/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The datagrams of one client on a raw flow (raw_header.h), either end: each whole, in
 * order. What cannot be had at once is dropped: datagrams are not waited for. */
#include <stddef.h>
#include <sys/uio.h>

struct raw_datagrams;
struct stream;

#define RAW_DATAGRAM_MAX 65527U
/* What waits for the peer of one flow; more is dropped. */
#define RAW_DATAGRAMS_QUEUE (256UL * 1024)

/* The flow may be freed in each of them. None is called from inside a call here. */
struct raw_datagrams_ops {
	/* Valid during the call. */
	void (*receive)(void *arg, const struct iovec *iov, int n);
	/* Nobody listens there; it goes on. */
	void (*refused)(void *arg);
	/* The connection is over; the flow is to be freed. */
	void (*gone)(void *arg);
};

/* Without a connection: what is sent waits. 0 or -ENOMEM. */
int raw_datagrams_new(const struct raw_datagrams_ops *ops, void *arg, struct raw_datagrams **out);
/* Takes the connection, past the answer. */
void raw_datagrams_attach(struct raw_datagrams *f, struct stream *peer);
void raw_datagrams_free(struct raw_datagrams *f); /* ends the connection; accepts NULL */

/* 0; -EMSGSIZE; -EAGAIN: dropped for want of room. */
int raw_datagrams_send(struct raw_datagrams *f, const void *data, size_t len);
/* Whose end the server is at: nobody listens there. */
void raw_datagrams_refuse(struct raw_datagrams *f);
