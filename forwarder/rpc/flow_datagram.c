/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/rpc/flow_datagram.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/rpc/grpc_message.h"
#include "forwarder/rpc/http2.h"

#define PIECES_MAX 16 /* of one datagram that are handed on where they lie */
#define REST_MAX 4096U

struct flow_datagram {
	struct http2_stream *http2; /* NULL: over */
	enum flow_dialect dialect;
	bool is_agent;
	const struct flow_datagram_ops *ops;
	void *arg;
	struct grpc_reader reader;
	bool *freed; /* set when it goes while an op runs */

	/* the datagram that comes: copied, then in place */
	uint8_t *copy;
	size_t n_copy, capacity;
	struct iovec pieces[PIECES_MAX];
	int n_pieces;
};

static const struct http2_stream_ops flow_http2_ops;

static unsigned int data_field(enum flow_dialect dialect)
{
	return dialect == FLOW_NETFWD ? RPC_DATA_FIELD : GUEST_DATA_FIELD;
}

static struct flow_datagram *create(enum flow_dialect dialect,
				    const struct flow_datagram_handler *handler)
{
	struct grpc_limits limits = {
		.payload_field = data_field(dialect),
		.message_max = FLOW_DATAGRAM_MAX + REST_MAX,
		.rest_max = REST_MAX,
	};
	struct flow_datagram *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->dialect = dialect;
	f->ops = handler->ops;
	f->arg = handler->arg;
	grpc_reader_init(&f->reader, &limits);
	return f;
}

static void destroy(struct flow_datagram *f)
{
	if (f->freed)
		*f->freed = true;
	grpc_reader_deinit(&f->reader);
	free(f->copy);
	free(f);
}

int flow_datagram_request(struct http2 *h, const struct flow_datagram_target *target,
			  const struct flow_datagram_handler *handler, struct flow_datagram **out)
{
	struct flow_datagram *f = create(target->dialect, handler);
	struct http2_handler http2_handler = { &flow_http2_ops, f };
	const char *path =
		target->dialect == FLOW_NETFWD ? FLOW_PATH_NETFWD : FLOW_PATH_GUEST_SERVICE;
	int r;

	if (!f)
		return -ENOMEM;
	r = http2_request(h, path, &http2_handler, &f->http2);
	if (r == 0) {
		r = http2_stream_queue(f->http2, target->open->data, target->open->len);
		if (r < 0)
			http2_stream_reset(f->http2);
	}
	if (r < 0) {
		destroy(f);
		return r;
	}
	*out = f;
	return 0;
}

int flow_datagram_accept(struct http2_stream *s, enum flow_dialect dialect,
			 const struct flow_datagram_handler *handler, struct flow_datagram **out)
{
	struct flow_datagram *f = create(dialect, handler);
	struct http2_handler http2_handler = { &flow_http2_ops, f };

	if (!f) {
		http2_stream_refuse(s, GRPC_RESOURCE_EXHAUSTED, "out of memory");
		return -ENOMEM;
	}
	f->is_agent = true;
	f->http2 = s;
	http2_stream_own(s, &http2_handler);
	*out = f;
	return 0;
}

void flow_datagram_free(struct flow_datagram *f, int status, const char *text)
{
	if (f->http2) {
		http2_stream_finish(f->http2, status, text);
		http2_stream_leave(f->http2);
	}
	destroy(f);
}

int flow_datagram_send(struct flow_datagram *f, const void *data, size_t len)
{
	uint8_t head[GRPC_HEAD_MAX];
	size_t n = grpc_head(head, data_field(f->dialect), len);
	struct iovec iov[2] = { { head, n }, { (void *)(uintptr_t)data, len } };

	if (len > FLOW_DATAGRAM_MAX)
		return -EMSGSIZE;
	if (!f->http2)
		return -EAGAIN;
	if (http2_stream_room(f->http2) >= n + len) {
		http2_stream_send(f->http2, iov, 2);
		return 0;
	}
	if (http2_stream_queued(f->http2) + n + len > FLOW_DATAGRAM_QUEUE ||
	    http2_stream_queue(f->http2, head, n) < 0)
		return -EAGAIN;
	/* half a message would be worse than none: the call ends with it */
	if (http2_stream_queue(f->http2, data, len) < 0) {
		http2_stream_reset(f->http2);
		f->http2 = NULL;
		return -ENOMEM;
	}
	return 0;
}

static void send_message(struct flow_datagram *f, const struct rpc_flow_message *flow)
{
	struct message m;

	if (!f->http2 || http2_stream_queued(f->http2) > FLOW_DATAGRAM_QUEUE ||
	    message_flow(flow, &m) < 0)
		return;
	(void)http2_stream_queue(f->http2, m.data, m.len);
	free(m.data);
}

void flow_datagram_refuse(struct flow_datagram *f)
{
	struct rpc_flow_message refused = { .kind = RPC_FLOW_REFUSED };

	if (f->dialect == FLOW_NETFWD) /* GuestService cannot say it */
		send_message(f, &refused);
}

/* --- what comes --- */

static int copy_piece(struct flow_datagram *f, const struct iovec *piece)
{
	size_t needed = f->n_copy + piece->iov_len;
	uint8_t *larger;

	if (needed > f->capacity) {
		larger = realloc(f->copy, needed);
		if (!larger)
			return -ENOMEM;
		f->copy = larger;
		f->capacity = needed;
	}
	memcpy(f->copy + f->n_copy, piece->iov_base, piece->iov_len);
	f->n_copy = needed;
	return 0;
}

static int copy_pieces(struct flow_datagram *f)
{
	int r = 0;

	for (int i = 0; i < f->n_pieces && r == 0; i++)
		r = copy_piece(f, &f->pieces[i]);
	f->n_pieces = 0;
	return r;
}

static int take_piece(struct flow_datagram *f)
{
	int r = f->n_pieces == PIECES_MAX ? copy_pieces(f) : 0;

	f->pieces[f->n_pieces++] =
		(struct iovec){ (void *)(uintptr_t)f->reader.piece, f->reader.piece_len };
	return r;
}

/* All of it has come. */
static void deliver(struct flow_datagram *f)
{
	struct iovec iov[PIECES_MAX + 1];
	int n = 0;

	if (f->n_copy)
		iov[n++] = (struct iovec){ f->copy, f->n_copy };
	memcpy(iov + n, f->pieces, (size_t)f->n_pieces * sizeof(*iov));
	n += f->n_pieces;
	f->n_copy = 0;
	f->n_pieces = 0;
	f->ops->receive(f->arg, iov, n);
}

static int take_message(struct flow_datagram *f)
{
	struct rpc_flow_message m;

	if (f->reader.has_payload) {
		deliver(f);
		return 0;
	}
	if (f->dialect == FLOW_GUEST_SERVICE)
		return 0;
	if (message_parse_flow(f->reader.rest, f->reader.rest_len, &m) < 0)
		return -EPROTO;
	if (m.kind == RPC_FLOW_REFUSED)
		f->ops->refused(f->arg);
	/* Opened comes with an error when the guest has no such address. */
	return m.kind == RPC_FLOW_OPENED ? m.error : 0;
}

static void lose(struct flow_datagram *f, int error)
{
	if (f->http2)
		http2_stream_reset(f->http2);
	f->http2 = NULL;
	f->ops->gone(f->arg, error);
}

void flow_datagram_feed(struct flow_datagram *f, const uint8_t *data, size_t len)
{
	bool freed = false;
	size_t all = len;
	int r;

	f->freed = &freed;
	while ((r = grpc_reader_next(&f->reader, &data, &len)) > 0) {
		r = r == GRPC_PAYLOAD ? take_piece(f) : take_message(f);
		if (freed)
			return;
		if (r < 0 || !f->http2)
			break;
	}
	f->freed = NULL;
	if (f->http2)
		http2_stream_consume(f->http2, all);
	if (r < 0)
		lose(f, r);
}

static void on_body(void *arg, const uint8_t *data, size_t len)
{
	flow_datagram_feed(arg, data, len);
}

/* What has come of a datagram lies in memory that is used anew. */
static void on_settle(void *arg)
{
	struct flow_datagram *f = arg;

	if (copy_pieces(f) < 0)
		lose(f, -ENOMEM);
}

static void on_writable(void *arg)
{
	(void)arg; /* nobody waits */
}

static void on_end(void *arg, int status, const char *text)
{
	struct flow_datagram *f = arg;

	(void)text;
	if (!f->is_agent) {
		http2_stream_leave(f->http2);
		f->http2 = NULL;
	}
	f->ops->gone(f->arg, f->is_agent || status == GRPC_OK ? 0 : -ECONNRESET);
}

static void on_closed(void *arg, int error)
{
	struct flow_datagram *f = arg;

	f->http2 = NULL;
	f->ops->gone(f->arg, error ? error : -ECONNRESET);
}

static const struct http2_stream_ops flow_http2_ops = {
	.body = on_body,
	.settle = on_settle,
	.writable = on_writable,
	.end = on_end,
	.closed = on_closed,
};
