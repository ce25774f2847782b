/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The datagrams of one client as a call, either end: each is a message, 0 to 65527
 * bytes whole. What cannot be had at once is dropped: datagrams are not waited
 * for. */
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "forwarder/rpc/flow_stream.h"

struct flow_datagram;

/* Longer ones are dropped, and counted by whoever gets -EMSGSIZE. */
#define FLOW_DATAGRAM_MAX 65527U
/* What waits for the peer of one flow; more is dropped. */
#define FLOW_DATAGRAM_QUEUE (256UL * 1024)

/* The flow may be freed in each of them. */
struct flow_datagram_ops {
	/* Valid during the call. */
	void (*receive)(void *arg, const struct iovec *iov, int n);
	/* Nobody listens there; it goes on. */
	void (*refused)(void *arg);
	/* The call is over: 0, or -errno; the flow is of no use any more. */
	void (*gone)(void *arg, int error);
};

struct flow_datagram_handler {
	const struct flow_datagram_ops *ops;
	void *arg;
};

/* The host's end. Errors as of http2_request(), or -ENOMEM. */
struct flow_datagram_target {
	enum flow_dialect dialect;
	const struct message *open;
};
int flow_datagram_request(struct http2 *h, const struct flow_datagram_target *target,
			  const struct flow_datagram_handler *handler, struct flow_datagram **out);
/* The agent's end; as flow_stream_accept(). */
int flow_datagram_accept(struct http2_stream *s, enum flow_dialect dialect,
			 const struct flow_datagram_handler *handler, struct flow_datagram **out);
/* As flow_stream_feed(); not before accept's owner is ready to be called. */
void flow_datagram_feed(struct flow_datagram *f, const uint8_t *data, size_t len);

/* 0; -EMSGSIZE; -EAGAIN: dropped for want of room. */
int flow_datagram_send(struct flow_datagram *f, const void *data, size_t len);
/* Whose end the server is at: nobody listens there. */
void flow_datagram_refuse(struct flow_datagram *f);
/* Ends the call. A status of GRPC_OK and "" when nothing went wrong. */
void flow_datagram_free(struct flow_datagram *f, int status, const char *text);
