/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/rpc/flow_stream.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/rpc/flow_input.h"
#include "forwarder/rpc/grpc_message.h"
#include "forwarder/rpc/http2.h"
#include "netstack/base/list.h"
#include "netstack/base/loop.h"
#include "netstack/stream.h"

#define MESSAGE_MAX (16UL * 1024 * 1024)
#define REST_MAX 4096U

struct flow_stream {
	struct stream base;
	struct stream_ops ops; /* splice_* only where the transport has them */
	struct loop *loop;
	struct http2_stream *http2; /* NULL: not yet, or over */
	struct flow_observer observer;
	struct grpc_reader reader;
	enum flow_dialect dialect;
	bool is_agent;
	bool is_open;	/* connected */
	bool has_ended; /* the peer sends no more */
	bool is_over;	/* the call is, in order */
	bool has_shut;	/* we send no more */
	unsigned int wanted;
	struct loop_deferred notify;
	bool *freed; /* set when it goes while ready() runs */

	struct flow_input input;
};

static const struct stream_ops flow_stream_ops;
static const struct http2_stream_ops flow_http2_ops;

static struct flow_stream *from_stream(struct stream *s)
{
	return container_of(s, struct flow_stream, base);
}

static unsigned int data_field(const struct flow_stream *f)
{
	return f->dialect == FLOW_NETFWD ? RPC_DATA_FIELD : GUEST_DATA_FIELD;
}

/* False when the stream is gone. */
static bool tell_ready(struct flow_stream *f)
{
	bool freed = false;

	if (!f->base.ready)
		return true;
	f->freed = &freed;
	f->base.ready(f->base.ready_arg);
	if (freed)
		return false;
	f->freed = NULL;
	return true;
}

static void on_notify(void *arg)
{
	(void)tell_ready(arg);
}

static struct flow_stream *create(struct loop *loop, bool is_agent)
{
	struct flow_stream *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->ops = flow_stream_ops;
	f->base.ops = &f->ops;
	f->loop = loop;
	f->is_agent = is_agent;
	loop_deferred_init(&f->notify, on_notify, f);
	return f;
}

static ssize_t flow_splice_from(struct stream *base, int pipe, size_t max);
static ssize_t flow_splice_to(struct stream *base, int pipe, size_t max);

static void set_dialect(struct flow_stream *f, enum flow_dialect dialect)
{
	struct grpc_limits limits = { .message_max = MESSAGE_MAX, .rest_max = REST_MAX };

	f->dialect = dialect;
	limits.payload_field = data_field(f);
	grpc_reader_init(&f->reader, &limits);
	if (!http2_stream_can_splice(f->http2))
		return;
	f->ops.splice_from = flow_splice_from;
	f->ops.splice_to = flow_splice_to;
}

int flow_stream_new(struct loop *loop, const struct flow_observer *observer,
		    struct flow_stream **out)
{
	struct flow_stream *f = create(loop, false);

	if (!f)
		return -ENOMEM;
	if (observer)
		f->observer = *observer;
	*out = f;
	return 0;
}

void flow_stream_set_observer(struct flow_stream *f, const struct flow_observer *observer)
{
	f->observer = observer ? *observer : (struct flow_observer){ 0 };
}

struct stream *flow_stream_base(struct flow_stream *f)
{
	return &f->base;
}

static void destroy(struct flow_stream *f)
{
	if (f->freed)
		*f->freed = true;
	if (f->observer.gone)
		f->observer.gone(f->observer.arg);
	loop_cancel_deferred(&f->notify);
	grpc_reader_deinit(&f->reader);
	flow_input_deinit(&f->input);
	free(f);
}

void flow_stream_fail(struct flow_stream *f, int error)
{
	f->base.error = error;
	if (f->http2)
		http2_stream_reset(f->http2);
	f->http2 = NULL;
	loop_defer(f->loop, &f->notify);
}

int flow_stream_request(struct flow_stream *f, struct http2 *h, enum flow_dialect dialect,
			const struct message *open)
{
	struct http2_handler handler = { &flow_http2_ops, f };
	const char *path = dialect == FLOW_NETFWD ? FLOW_PATH_NETFWD : FLOW_PATH_GUEST_SERVICE;
	int r = http2_request(h, path, &handler, &f->http2);

	if (r < 0)
		return r;
	set_dialect(f, dialect);
	if (http2_stream_queue(f->http2, open->data, open->len) < 0) {
		flow_stream_fail(f, -ENOMEM);
	} else if (dialect == FLOW_GUEST_SERVICE) {
		f->is_open = true; /* nobody will tell */
		loop_defer(f->loop, &f->notify);
	}
	return 0;
}

int flow_stream_accept(struct loop *loop, struct http2_stream *s, enum flow_dialect dialect,
		       struct flow_stream **out)
{
	struct flow_stream *f = create(loop, true);
	struct http2_handler handler = { &flow_http2_ops, f };

	if (!f) {
		http2_stream_refuse(s, GRPC_RESOURCE_EXHAUSTED, "out of memory");
		return -ENOMEM;
	}
	f->http2 = s;
	set_dialect(f, dialect);
	http2_stream_own(s, &handler);
	*out = f;
	return 0;
}

/* --- reading --- */

/* What was not read stays with us. The window bounds how much that is. */
static void keep_pieces(struct flow_stream *f)
{
	int r = flow_input_keep(&f->input);

	if (r < 0)
		flow_stream_fail(f, r);
}

static ssize_t flow_peek(struct stream *base, struct iovec *iov, int n, int *n_filled)
{
	struct flow_stream *f = from_stream(base);
	size_t sum;

	*n_filled = 0;
	if (f->base.error)
		return f->base.error;
	sum = flow_input_peek(&f->input, iov, n, n_filled);
	if (sum)
		return (ssize_t)sum;
	return f->has_ended ? 0 : -EAGAIN;
}

static void flow_consume(struct stream *base, size_t len)
{
	struct flow_stream *f = from_stream(base);

	flow_input_consume(&f->input, len);
	if (f->http2)
		http2_stream_consume(f->http2, len);
}

static ssize_t flow_read(struct stream *base, const struct iovec *iov, int n)
{
	struct iovec first;
	int n_refs;
	ssize_t r = flow_peek(base, &first, 1, &n_refs);

	if (r <= 0)
		return r;
	r = (ssize_t)flow_input_copy(&from_stream(base)->input, iov, n);
	flow_consume(base, (size_t)r);
	return r;
}

static bool takes_payload(const struct flow_stream *f)
{
	return !f->has_ended && (f->is_agent || f->is_open);
}

/* What is not in our memory yet. */
static ssize_t flow_splice_to(struct stream *base, int pipe, size_t max)
{
	struct flow_stream *f = from_stream(base);
	size_t left = grpc_reader_payload_left(&f->reader);
	ssize_t r;

	assert(flow_input_is_empty(&f->input));
	if (!f->http2 || !takes_payload(f))
		return -EAGAIN;
	r = http2_stream_splice_to(f->http2, pipe, max < left ? max : left);
	if (r > 0)
		grpc_reader_skip_payload(&f->reader, (size_t)r);
	return r;
}

/* --- what comes --- */

static bool take_piece(struct flow_stream *f)
{
	if (flow_input_is_full(&f->input)) {
		if ((f->wanted & STREAM_READ) && !tell_ready(f))
			return false;
		keep_pieces(f);
		if (!f->http2)
			return false;
	}
	flow_input_add(&f->input, f->reader.piece, f->reader.piece_len);
	return true;
}

static int take_message(struct flow_stream *f)
{
	struct rpc_flow_message m;

	if (f->dialect == FLOW_GUEST_SERVICE || f->reader.rest_len == 0)
		return 0; /* what each message repeats of the first */
	if (message_parse_flow(f->reader.rest, f->reader.rest_len, &m) < 0)
		return -EPROTO;
	switch (m.kind) {
	case RPC_FLOW_OPENED:
		if (f->is_agent || f->is_open)
			return -EPROTO;
		f->is_open = m.error == 0;
		if (m.error < 0)
			return m.error;
		loop_defer(f->loop, &f->notify);
		return 0;
	case RPC_FLOW_FIN:
		f->has_ended = true;
		return 0;
	case RPC_FLOW_OPEN:
	case RPC_FLOW_REFUSED:
		return -EPROTO;
	case RPC_FLOW_DATA_ONLY:
		break;
	}
	return 0;
}

static void take(struct flow_stream *f, const uint8_t *data, size_t len)
{
	size_t overhead = len;
	int found;

	while ((found = grpc_reader_next(&f->reader, &data, &len)) > 0) {
		if (found == GRPC_PAYLOAD && !takes_payload(f)) {
			found = -EPROTO;
			break;
		}
		if (found == GRPC_PAYLOAD) {
			overhead -= f->reader.piece_len;
			if (!take_piece(f))
				return;
		} else {
			found = take_message(f);
			if (found < 0)
				break;
		}
	}
	if (found < 0)
		flow_stream_fail(f, found);
	else
		http2_stream_consume(f->http2, overhead);
}

static void on_body(void *arg, const uint8_t *data, size_t len)
{
	take(arg, data, len);
}

static void on_settle(void *arg)
{
	struct flow_stream *f = arg;

	if ((f->wanted & STREAM_READ) && (flow_input_has_pieces(&f->input) || f->has_ended) &&
	    !tell_ready(f))
		return;
	keep_pieces(f);
}

static void on_arriving(void *arg)
{
	struct flow_stream *f = arg;

	if ((f->wanted & STREAM_READ) && grpc_reader_payload_left(&f->reader))
		(void)tell_ready(f);
}

void flow_stream_feed(struct flow_stream *f, const uint8_t *data, size_t len)
{
	if (!f->http2) /* broken by what came before */
		return;
	take(f, data, len);
	keep_pieces(f);
}

static void on_writable(void *arg)
{
	struct flow_stream *f = arg;

	if (f->wanted & STREAM_WRITE)
		(void)tell_ready(f);
}

/* What a status other than OK says of the guest's socket; Lima's texts are Go's. */
static int status_error(int status, const char *text)
{
	if (strcasestr(text, "connection refused"))
		return -ECONNREFUSED;
	if (strcasestr(text, "no such file"))
		return -ENOENT;
	if (status == GRPC_UNIMPLEMENTED)
		return -EOPNOTSUPP;
	return -ECONNRESET;
}

static void on_end(void *arg, int status, const char *text)
{
	struct flow_stream *f = arg;

	if (!f->is_agent) {
		http2_stream_leave(f->http2);
		f->http2 = NULL;
		f->is_over = true;
		if (status != GRPC_OK || !f->is_open)
			f->base.error = status_error(status, text);
	} else if (f->dialect == FLOW_NETFWD && !f->has_ended) {
		flow_stream_fail(f, -ECONNRESET); /* without its FIN */
		return;
	}
	f->has_ended = true;
	(void)tell_ready(f);
}

static void on_closed(void *arg, int error)
{
	struct flow_stream *f = arg;
	bool is_in_order = f->is_agent && f->dialect == FLOW_GUEST_SERVICE && f->has_shut;

	f->http2 = NULL;
	f->is_over = true;
	if (is_in_order || (error == 0 && f->has_ended))
		f->has_ended = true;
	else
		f->base.error = error ? error : -ECONNRESET;
	(void)tell_ready(f);
}

static const struct http2_stream_ops flow_http2_ops = {
	.body = on_body,
	.settle = on_settle,
	.arriving = on_arriving,
	.writable = on_writable,
	.end = on_end,
	.closed = on_closed,
};

/* --- writing --- */

/* Payload that goes into one frame now: > 0, or what write() says. */
static ssize_t frame_room(struct flow_stream *f)
{
	size_t room;

	if (f->base.error)
		return f->base.error;
	if (!f->is_open)
		return -EAGAIN;
	if (f->has_shut || f->is_over)
		return -EPIPE;
	room = http2_stream_room(f->http2);
	return room ? (ssize_t)(room - GRPC_HEAD_MAX) : -EAGAIN;
}

static ssize_t flow_write(struct stream *base, const struct iovec *iov, int n)
{
	struct flow_stream *f = from_stream(base);
	struct iovec frame[HTTP2_SEND_REFS];
	uint8_t head[GRPC_HEAD_MAX];
	ssize_t room = n || f->base.error || !f->is_open ? frame_room(f) : 0;
	size_t sum = 0;
	int used = 0;

	if (room <= 0)
		return room;
	for (; used < n && used + 1 < HTTP2_SEND_REFS && sum < (size_t)room; used++) {
		size_t left = (size_t)room - sum;

		frame[used + 1] = iov[used];
		if (iov[used].iov_len > left)
			frame[used + 1].iov_len = left;
		sum += frame[used + 1].iov_len;
	}
	if (sum == 0)
		return 0;
	frame[0] = (struct iovec){ head, grpc_head(head, data_field(f), sum) };
	http2_stream_send(f->http2, frame, used + 1);
	return (ssize_t)sum;
}

static ssize_t flow_reserve(struct stream *base, struct iovec *iov, int n, int *n_filled)
{
	struct flow_stream *f = from_stream(base);
	ssize_t room = frame_room(f);

	*n_filled = 0;
	if (room <= 0 || n < 1)
		return room;
	iov[0] = (struct iovec){ http2_stream_scratch(f->http2), (size_t)room };
	*n_filled = 1;
	return room;
}

static int flow_commit(struct stream *base, size_t len)
{
	struct flow_stream *f = from_stream(base);
	uint8_t head[GRPC_HEAD_MAX];
	struct iovec frame[2] = { { head, 0 } };

	if (len == 0)
		return 0;
	frame[0].iov_len = grpc_head(head, data_field(f), len);
	frame[1] = (struct iovec){ http2_stream_scratch(f->http2), len };
	http2_stream_send(f->http2, frame, 2);
	return 0;
}

static ssize_t flow_splice_from(struct stream *base, int pipe, size_t max)
{
	struct flow_stream *f = from_stream(base);
	uint8_t head[GRPC_HEAD_MAX];
	struct iovec iov = { head, 0 };
	ssize_t room = frame_room(f);
	size_t len;

	if (room <= 0 || max == 0)
		return room;
	len = max < (size_t)room ? max : (size_t)room;
	iov.iov_len = grpc_head(head, data_field(f), len);
	http2_stream_splice(f->http2, &iov, pipe, len);
	return (ssize_t)len;
}

static void flow_want(struct stream *base, unsigned int events)
{
	struct flow_stream *f = from_stream(base);
	bool reads = (events & STREAM_READ) && !(f->wanted & STREAM_READ);

	f->wanted = events;
	if (reads && (!flow_input_is_empty(&f->input) || f->has_ended))
		loop_defer(f->loop, &f->notify);
}

static int send_fin(struct flow_stream *f)
{
	struct rpc_flow_message fin = { .kind = RPC_FLOW_FIN };
	struct message m;
	int r = message_flow(&fin, &m);

	if (r == 0) {
		r = http2_stream_queue(f->http2, m.data, m.len);
		free(m.data);
	}
	return r;
}

static int flow_shutdown(struct stream *base)
{
	struct flow_stream *f = from_stream(base);
	int r = 0;

	if (f->has_shut || !f->http2)
		return 0;
	f->has_shut = true;
	if (f->dialect == FLOW_NETFWD)
		r = send_fin(f);
	/* an agent's end is the end of the call, which its FIN is not */
	if (!f->is_agent || f->dialect == FLOW_GUEST_SERVICE)
		http2_stream_finish(f->http2, GRPC_OK, "");
	return r;
}

static void flow_close(struct stream *base)
{
	struct flow_stream *f = from_stream(base);

	if (f->http2) {
		(void)flow_shutdown(base);
		http2_stream_leave(f->http2);
	}
	destroy(f);
}

static void flow_reset(struct stream *base)
{
	struct flow_stream *f = from_stream(base);

	if (f->http2)
		http2_stream_reset(f->http2);
	destroy(f);
}

void flow_stream_answer(struct flow_stream *f, int error)
{
	struct rpc_flow_message opened = { .kind = RPC_FLOW_OPENED, .error = error };
	struct message m;

	f->is_open = error == 0;
	if (f->http2 && f->dialect == FLOW_NETFWD) {
		if (message_flow(&opened, &m) < 0) {
			flow_stream_fail(f, -ENOMEM);
		} else {
			(void)http2_stream_queue(f->http2, m.data, m.len);
			free(m.data);
		}
	}
	if (error == 0)
		return;
	if (f->http2) {
		/* as Go puts it: "connection refused" */
		http2_stream_finish(f->http2, GRPC_UNAVAILABLE,
				    error == -ECONNREFUSED ? "dial: connection refused" :
							     strerror(-error));
		http2_stream_leave(f->http2);
	}
	destroy(f);
}

static const struct stream_ops flow_stream_ops = {
	.read = flow_read,
	.write = flow_write,
	.peek = flow_peek,
	.consume = flow_consume,
	.reserve = flow_reserve,
	.commit = flow_commit,
	.want = flow_want,
	.shutdown = flow_shutdown,
	.close = flow_close,
	.reset = flow_reset,
};
