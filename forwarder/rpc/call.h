/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A call whose messages are small enough to be put together: all but flows. */
#include <stddef.h>
#include <stdint.h>

#include "forwarder/rpc/messages.h"

struct call;
struct http2;
struct http2_stream;

#define CALL_MESSAGE_MAX (4UL * 1024 * 1024) /* gRPC's own default */

/* The call may be freed in each of them. */
struct call_ops {
	void (*message)(void *arg, const uint8_t *data, size_t len);
	/* Clients: the call is over, with that status. Servers: the client sends
	 * no more messages. */
	void (*end)(void *arg, int status, const char *text);
	/* Lost, reset by the peer (as struct http2_stream_ops has it), or -EPROTO
	 * for a message that is none. Not after a client's end(). */
	void (*gone)(void *arg, int error);
};

struct call_handler {
	const struct call_ops *ops;
	void *arg;
};

/* Clients; errors as of http2_request(). */
int call_new(struct http2 *h, const char *path, const struct call_handler *handler,
	     struct call **out);
/* Servers: answers a request. 0, or -ENOMEM after it was refused. */
int call_accept(struct http2_stream *s, const struct call_handler *handler, struct call **out);
/* Takes m->data. 0 or -ENOMEM. */
int call_send(struct call *c, struct message *m);
/* Bytes that wait for the peer. */
size_t call_queued(const struct call *c);
/* We send no more; a server ends the call with that status. */
void call_finish(struct call *c, int status, const char *text);
/* Lets what was sent be delivered. A client that has not heard the end calls it
 * off. Accepts NULL. */
void call_free(struct call *c);
