/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/rpc/call.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "forwarder/rpc/grpc_message.h"
#include "forwarder/rpc/http2.h"

struct call {
	struct http2_stream *http2; /* NULL: it is over */
	const struct call_ops *ops;
	void *arg;
	struct grpc_reader reader;
	bool is_client;
	bool *freed; /* set by call_free(), while an op runs */
};

static const struct http2_stream_ops call_http2_ops;
static const struct grpc_limits limits = { .message_max = CALL_MESSAGE_MAX,
					   .rest_max = CALL_MESSAGE_MAX };

static struct call *create(const struct call_handler *handler, bool is_client)
{
	struct call *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->ops = handler->ops;
	c->arg = handler->arg;
	c->is_client = is_client;
	grpc_reader_init(&c->reader, &limits);
	return c;
}

int call_new(struct http2 *h, const char *path, const struct call_handler *handler,
	     struct call **out)
{
	struct call *c = create(handler, true);
	struct http2_handler http2_handler = { &call_http2_ops, c };
	int r;

	if (!c)
		return -ENOMEM;
	r = http2_request(h, path, &http2_handler, &c->http2);
	if (r < 0) {
		free(c);
		return r;
	}
	*out = c;
	return 0;
}

int call_accept(struct http2_stream *s, const struct call_handler *handler, struct call **out)
{
	struct call *c = create(handler, false);
	struct http2_handler http2_handler = { &call_http2_ops, c };

	if (!c) {
		http2_stream_refuse(s, GRPC_RESOURCE_EXHAUSTED, "out of memory");
		return -ENOMEM;
	}
	c->http2 = s;
	http2_stream_own(s, &http2_handler);
	*out = c;
	return 0;
}

int call_send(struct call *c, struct message *m)
{
	int r = c->http2 ? http2_stream_queue(c->http2, m->data, m->len) : 0;

	free(m->data);
	m->data = NULL;
	return r;
}

size_t call_queued(const struct call *c)
{
	return c->http2 ? http2_stream_queued(c->http2) : 0;
}

void call_finish(struct call *c, int status, const char *text)
{
	if (c->http2)
		http2_stream_finish(c->http2, status, text);
}

void call_free(struct call *c)
{
	if (!c)
		return;
	if (c->freed)
		*c->freed = true;
	if (c->http2 && c->is_client)
		http2_stream_reset(c->http2);
	else if (c->http2)
		http2_stream_leave(c->http2);
	grpc_reader_deinit(&c->reader);
	free(c);
}

static void lose(struct call *c, int error)
{
	c->http2 = NULL;
	c->ops->gone(c->arg, error);
}

static void on_body(void *arg, const uint8_t *data, size_t len)
{
	struct call *c = arg;
	bool freed = false;
	int found;

	http2_stream_consume(c->http2, len);
	while ((found = grpc_reader_next(&c->reader, &data, &len)) == GRPC_MESSAGE) {
		c->freed = &freed;
		c->ops->message(c->arg, c->reader.rest, c->reader.rest_len);
		if (freed)
			return;
		c->freed = NULL;
		if (!c->http2)
			return;
	}
	if (found < 0) {
		http2_stream_reset(c->http2);
		lose(c, found);
	}
}

static void on_nothing(void *arg)
{
	(void)arg;
}

static void on_end(void *arg, int status, const char *text)
{
	struct call *c = arg;

	if (!c->is_client) {
		c->ops->end(c->arg, status, text);
		return;
	}
	http2_stream_leave(c->http2);
	c->http2 = NULL;
	c->ops->end(c->arg, status, text);
}

static void on_closed(void *arg, int error)
{
	lose(arg, error ? error : -ECONNRESET);
}

static const struct http2_stream_ops call_http2_ops = {
	.body = on_body,
	.settle = on_nothing,
	.writable = on_nothing,
	.end = on_end,
	.closed = on_closed,
};
