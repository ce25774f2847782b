/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* One connection as a call: a struct stream over HTTP/2. On the host it is what
 * was dialled, in the agent it is the host.
 *
 * In netfwd's dialect each direction ends by a message of its own, and the host
 * hears how the dial went before it may write. GuestService has neither: a client
 * may write at once, and the agent ends the call together with its direction. */
#include <stddef.h>
#include <stdint.h>

#include "forwarder/rpc/messages.h"

struct flow_stream;
struct http2;
struct http2_stream;
struct loop;
struct stream;

enum flow_dialect {
	FLOW_NETFWD,
	FLOW_GUEST_SERVICE,
};

#define FLOW_PATH_NETFWD "/netfwd.v1.Agent/Flow"
#define FLOW_PATH_GUEST_SERVICE "/GuestService/Tunnel"

/* What others, who are not the owner of the stream, want to know: that it has
 * been closed or reset. May be NULL. */
struct flow_observer {
	void (*gone)(void *arg);
	void *arg;
};

/* The host's end: not connected, and without a call yet. 0 or -ENOMEM. */
int flow_stream_new(struct loop *loop, const struct flow_observer *observer,
		    struct flow_stream **out);
void flow_stream_set_observer(struct flow_stream *f, const struct flow_observer *observer);
/* Calls: open is the first message. Errors as of http2_request(); the stream is
 * as it was then. */
int flow_stream_request(struct flow_stream *f, struct http2 *h, enum flow_dialect dialect,
			const struct message *open);
/* It is not to be connected: -errno. */
void flow_stream_fail(struct flow_stream *f, int error);

/* The agent's end of a call whose first message was taken. 0, or -ENOMEM with the
 * call refused. */
int flow_stream_accept(struct loop *loop, struct http2_stream *s, enum flow_dialect dialect,
		       struct flow_stream **out);
/* Bytes that came after the first message, and were not consumed. */
void flow_stream_feed(struct flow_stream *f, const uint8_t *data, size_t len);
/* How the dial went, 0 or -errno; after an error f is gone. */
void flow_stream_answer(struct flow_stream *f, int error);

struct stream *flow_stream_base(struct flow_stream *f);
