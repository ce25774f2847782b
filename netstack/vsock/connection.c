/* SPDX-License-Identifier: Apache-2.0 */
/* One vsock connection as a stream.
 *
 * From the guest: while its owner is called, the bytes of a packet are read where
 * the guest has them; what is left then is copied, so that the guest has its
 * buffer back. It may send as much as VSOCK_BUFFER_SIZE that nobody has read.
 *
 * To the guest: nothing is kept here. A write goes into the guest's buffers, as
 * far as those and the guest's own limit reach. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "netstack/base/iov.h"
#include "netstack/vsock/internal.h"

#define CONNECT_TIMEOUT_MS 10000
/* As Linux waits for the other side to confirm a close. */
#define CLOSE_TIMEOUT_MS 8000

static const struct stream_ops vsock_stream_ops;

static struct vsock_conn *from_stream(struct stream *s)
{
	return container_of(s, struct vsock_conn, base);
}

/* ---- packets ---- */

static struct vsock_header header_of(struct vsock_conn *c, enum vsock_op op, uint32_t len)
{
	c->told_fwd_cnt = c->fwd_cnt;
	return (struct vsock_header){
		.src_cid = VSOCK_CID_HOST,
		.dst_cid = c->device->guest_cid,
		.src_port = c->ports.host_port,
		.dst_port = c->ports.guest_port,
		.len = len,
		.type = VSOCK_TYPE_STREAM,
		.op = (uint16_t)op,
		.flags = op == VSOCK_OP_SHUTDOWN ? c->shutdown : 0,
		.buf_alloc = VSOCK_BUFFER_SIZE,
		.fwd_cnt = c->fwd_cnt,
	};
}

static void block(struct vsock_conn *c)
{
	list_unlink(&c->blocked);
	list_append(&c->device->blocked, &c->blocked);
}

static bool send_control(struct vsock_conn *c, enum vsock_op op)
{
	struct vsock_header h;
	struct vsock_room room;

	if (c->device->n_reserved) { /* it comes from inside another's write */
		block(c);
		loop_defer(c->device->loop, &c->device->retry);
		return false;
	}
	if (vsock_device_take_room(c->device, &room) != 1) {
		block(c);
		return false;
	}
	h = header_of(c, op, 0);
	vsock_device_give(c->device, &room, &h);
	return true;
}

static bool send_pending(struct vsock_conn *c)
{
	static const struct {
		unsigned int bit;
		enum vsock_op op;
	} order[] = {
		{ PENDING_REQUEST, VSOCK_OP_REQUEST },
		{ PENDING_RESPONSE, VSOCK_OP_RESPONSE },
		{ PENDING_CREDIT, VSOCK_OP_CREDIT_UPDATE },
		{ PENDING_SHUTDOWN, VSOCK_OP_SHUTDOWN },
		{ PENDING_RST, VSOCK_OP_RST },
	};

	for (unsigned int i = 0; i < sizeof(order) / sizeof(order[0]) && c->pending; i++) {
		if (!(c->pending & order[i].bit))
			continue;
		if (!send_control(c, order[i].op))
			return false;
		c->pending &= ~order[i].bit;
	}
	return true;
}

bool vsock_conn_send(struct vsock_conn *c, unsigned int pending)
{
	bool is_last = (c->pending | pending) & PENDING_RST;

	c->pending |= pending;
	if (!c->device->is_running || !send_pending(c) || !is_last || c->state != VSOCK_CLOSING)
		return true;
	vsock_conn_free(c);
	return false;
}

/* ---- life ---- */

struct vsock_conn *vsock_conn_new(struct vsock_device *d, const struct vsock_call *ports,
				  enum vsock_state state)
{
	struct vsock_conn *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->base.ops = &vsock_stream_ops;
	c->device = d;
	c->ports = *ports;
	c->state = state;
	list_init(&c->in_table);
	list_init(&c->blocked);
	list_init(&c->news);
	byte_queue_init(&c->rx);
	if (state == VSOCK_CONNECTING) {
		c->deadline_ms = loop_now_ms(d->loop) + CONNECT_TIMEOUT_MS;
		vsock_device_need_tick(d);
	}
	d->counters.connections++;
	return c;
}

void vsock_conn_free(struct vsock_conn *c)
{
	if (c->device->serving == c)
		c->device->serving = NULL;
	list_unlink(&c->in_table);
	list_unlink(&c->blocked);
	list_unlink(&c->news);
	byte_queue_clear(&c->rx);
	c->device->counters.connections--;
	free(c);
}

/* There is nobody at the other end any more. */
static void die(struct vsock_conn *c, int error)
{
	if (c->state == VSOCK_CLOSING) {
		vsock_conn_free(c);
		return;
	}
	c->state = VSOCK_DEAD;
	if (!c->base.error)
		c->base.error = error;
	c->pending = 0;
	c->deadline_ms = 0;
	list_unlink(&c->in_table);
	list_unlink(&c->blocked);
	vsock_device_has_news(c);
}

void vsock_conn_fail(struct vsock_conn *c, int error)
{
	struct vsock_device *d = c->device;
	struct vsock_call ports = c->ports;

	die(c, error);
	if (d->is_running) /* a guest that is late is told that nobody waits */
		vsock_device_refuse(d, &ports);
}

/* ---- from the guest ---- */

static uint32_t credit(const struct vsock_conn *c)
{
	uint32_t in_flight = c->tx_cnt - c->peer_fwd_cnt;

	return in_flight < c->peer_buf_alloc ? c->peer_buf_alloc - in_flight : 0;
}

static size_t unread(const struct vsock_conn *c)
{
	return c->rx.len + c->direct_len;
}

/* What the reader left goes where it may stay. */
static bool settle_direct(struct vsock_conn *c)
{
	const struct iovec *iov = c->direct;
	bool is_kept = true;

	if (c->direct_len)
		is_kept = byte_queue_append(&c->rx, iov, (int)c->n_direct, c->direct_skip) == 0;
	c->direct = NULL;
	c->direct_len = 0;
	return is_kept;
}

static void receive_bytes(struct vsock_conn *c, const struct vsock_header *h,
			  const struct iovec *iov, unsigned int n)
{
	struct vsock_device *d = c->device;

	if (c->state == VSOCK_CLOSING || h->len > VSOCK_BUFFER_SIZE - unread(c)) {
		d->counters.over_credit += c->state != VSOCK_CLOSING;
		vsock_conn_fail(c, -EPROTO);
		return;
	}
	c->direct = iov;
	c->n_direct = n;
	c->direct_skip = VSOCK_HEADER_SIZE;
	c->direct_len = h->len;
	d->serving = c;
	if ((c->wanted & STREAM_READ) && c->base.ready)
		c->base.ready(c->base.ready_arg);
	if (d->serving != c)
		return; /* its owner has ended it */
	d->serving = NULL;
	if (!settle_direct(c))
		vsock_conn_fail(c, -ENOMEM);
}

static void receive_shutdown(struct vsock_conn *c, uint32_t flags)
{
	c->peer_shutdown |= flags & VSOCK_SHUTDOWN_BOTH;
	if (c->state == VSOCK_CLOSING) {
		if (c->peer_shutdown == VSOCK_SHUTDOWN_BOTH)
			(void)vsock_conn_send(c, PENDING_RST);
		return;
	}
	vsock_device_has_news(c);
}

/* A reset after all was said is how the other side confirms the end. */
static void receive_reset(struct vsock_conn *c)
{
	if (c->state == VSOCK_CONNECTING)
		die(c, -ECONNREFUSED);
	else if (c->state == VSOCK_OPEN && (c->peer_shutdown & VSOCK_SHUTDOWN_SEND))
		die(c, 0);
	else
		die(c, -ECONNRESET);
}

static void receive_response(struct vsock_conn *c)
{
	c->state = VSOCK_OPEN;
	c->deadline_ms = 0;
	vsock_device_has_news(c);
}

static void receive_open(struct vsock_conn *c, const struct vsock_header *h,
			 const struct iovec *iov, unsigned int n)
{
	switch (h->op) {
	case VSOCK_OP_RW:
		receive_bytes(c, h, iov, n);
		break;
	case VSOCK_OP_SHUTDOWN:
		receive_shutdown(c, h->flags);
		break;
	case VSOCK_OP_RST:
		receive_reset(c);
		break;
	case VSOCK_OP_CREDIT_UPDATE:
		break;
	case VSOCK_OP_CREDIT_REQUEST:
		(void)vsock_conn_send(c, PENDING_CREDIT);
		break;
	default:
		c->device->counters.bad_packets++;
		vsock_conn_fail(c, -EPROTO);
	}
}

void vsock_conn_receive(struct vsock_conn *c, const struct vsock_header *h, const struct iovec *iov,
			unsigned int n)
{
	bool was_full = credit(c) == 0;

	c->peer_buf_alloc = h->buf_alloc;
	c->peer_fwd_cnt = h->fwd_cnt;
	if (was_full && credit(c) && (c->wanted & STREAM_WRITE))
		vsock_device_has_news(c);
	if (c->state != VSOCK_CONNECTING)
		receive_open(c, h, iov, n);
	else if (h->op == VSOCK_OP_RESPONSE)
		receive_response(c);
	else if (h->op == VSOCK_OP_RST)
		receive_reset(c);
	else
		vsock_conn_fail(c, -EPROTO);
}

void vsock_conn_unblocked(struct vsock_conn *c)
{
	if (!vsock_conn_send(c, 0) || !list_empty(&c->blocked))
		return;
	if ((c->wanted & STREAM_WRITE) && c->base.ready)
		c->base.ready(c->base.ready_arg);
}

/* ---- the stream: reading ---- */

static int peek_direct(const struct vsock_conn *c, struct iovec *iov, int n)
{
	size_t skip = c->direct_skip;
	int filled = 0;

	for (unsigned int i = 0; i < c->n_direct && filled < n && c->direct_len; i++) {
		const struct iovec *piece = &c->direct[i];
		size_t gone = skip < piece->iov_len ? skip : piece->iov_len;

		if (gone < piece->iov_len)
			iov[filled++] = (struct iovec){ (uint8_t *)piece->iov_base + gone,
							piece->iov_len - gone };
		skip -= gone;
	}
	return filled;
}

/* When that much was read, the guest is told. A guest may have no more on its way than its own
 * buffer holds, whatever we offer (Linux since 2026: 256 KiB, if nobody asked for more). */
static uint32_t credit_step(const struct vsock_conn *c)
{
	uint32_t window =
		c->peer_buf_alloc < VSOCK_BUFFER_SIZE ? c->peer_buf_alloc : VSOCK_BUFFER_SIZE;

	return window / 4;
}

static ssize_t conn_peek(struct stream *base, struct iovec *iov, int n, int *n_filled)
{
	struct vsock_conn *c = from_stream(base);
	ssize_t len = 0;

	*n_filled = 0;
	if (base->error)
		return base->error;
	if (unread(c) == 0)
		return c->peer_shutdown & VSOCK_SHUTDOWN_SEND ? 0 : -EAGAIN;
	*n_filled = byte_queue_peek(&c->rx, iov, n);
	*n_filled += peek_direct(c, iov + *n_filled, n - *n_filled);
	for (int i = 0; i < *n_filled; i++)
		len += (ssize_t)iov[i].iov_len;
	return len;
}

static void conn_consume(struct stream *base, size_t len)
{
	struct vsock_conn *c = from_stream(base);
	size_t queued = len < c->rx.len ? len : c->rx.len;

	byte_queue_consume(&c->rx, queued);
	c->direct_skip += len - queued;
	c->direct_len -= len - queued;
	c->fwd_cnt += (uint32_t)len;
	if (c->fwd_cnt - c->told_fwd_cnt >= credit_step(c) && c->state == VSOCK_OPEN)
		(void)vsock_conn_send(c, PENDING_CREDIT);
}

static ssize_t conn_read(struct stream *base, const struct iovec *iov, int n)
{
	struct iovec from[16];
	int n_from;
	ssize_t r = conn_peek(base, from, 16, &n_from);

	if (r <= 0)
		return r;
	r = (ssize_t)iov_copy(iov, n, from, n_from);
	conn_consume(base, (size_t)r);
	return r;
}

/* ---- writing ---- */

/* Whether a write may be tried: 0, -EAGAIN or what is wrong. */
static ssize_t may_write(const struct vsock_conn *c)
{
	if (c->base.error)
		return c->base.error;
	if (c->state == VSOCK_CONNECTING)
		return -EAGAIN;
	if (!c->device->is_running)
		return -ECONNRESET;
	if (c->state == VSOCK_DEAD || (c->peer_shutdown & VSOCK_SHUTDOWN_RECEIVE) ||
	    (c->shutdown & VSOCK_SHUTDOWN_SEND))
		return -EPIPE;
	return 0;
}

/* The part of a buffer that is behind the header, up to max bytes of it. */
static int add_payload(const struct vsock_room *room, size_t max, struct iovec *iov, int n)
{
	size_t skip = VSOCK_HEADER_SIZE;
	int filled = 0;

	for (unsigned int i = 0; i < room->chain.n_in && max; i++) {
		size_t gone = skip < room->iov[i].iov_len ? skip : room->iov[i].iov_len;
		size_t len = room->iov[i].iov_len - gone;

		skip -= gone;
		if (len == 0)
			continue;
		if (filled == n)
			return -ENOBUFS;
		if (len > max)
			len = max;
		iov[filled++] = (struct iovec){ (uint8_t *)room->iov[i].iov_base + gone, len };
		max -= len;
	}
	return filled;
}

/* One more buffer of the guest's; false when that was all. */
static bool reserve_one(struct vsock_conn *c, size_t max, struct iovec *iov, int n, int *n_filled)
{
	struct vsock_device *d = c->device;
	struct vsock_room *room = &d->reserved[d->n_reserved];
	int r = vsock_device_take_room(d, room);

	if (r <= 0)
		return false;
	r = add_payload(room, max, iov + *n_filled, n - *n_filled);
	if (r < 0) {
		vsock_device_unroom(d, 1);
		return false;
	}
	*n_filled += r;
	d->n_reserved++;
	return true;
}

static ssize_t conn_reserve(struct stream *base, struct iovec *iov, int n, int *n_filled)
{
	struct vsock_conn *c = from_stream(base);
	size_t max = credit(c), len = 0;
	ssize_t r = may_write(c);

	*n_filled = 0;
	if (r < 0)
		return r;
	assert(c->device->n_reserved == 0);
	if (!send_pending(c) || max == 0)
		return -EAGAIN;
	while (len < max && c->device->n_reserved < VSOCK_MAX_RESERVED) {
		int first = *n_filled;

		if (!reserve_one(c, max - len, iov, n, n_filled))
			break;
		for (int i = first; i < *n_filled; i++)
			len += iov[i].iov_len;
	}
	if (len && c->device->is_running)
		return (ssize_t)len;
	vsock_device_unroom(c->device, c->device->n_reserved);
	c->device->n_reserved = 0;
	block(c);
	return c->device->is_running ? -EAGAIN : -ECONNRESET;
}

static int conn_commit(struct stream *base, size_t len)
{
	struct vsock_conn *c = from_stream(base);
	struct vsock_device *d = c->device;
	unsigned int n = d->n_reserved, used = 0;

	d->n_reserved = 0;
	if (!d->is_running)
		return -ECONNRESET;
	for (; used < n && len; used++) {
		const struct vsock_room *room = &d->reserved[used];
		size_t most = room->chain.in_len - VSOCK_HEADER_SIZE;
		uint32_t part = (uint32_t)(len < most ? len : most);
		struct vsock_header h = header_of(c, VSOCK_OP_RW, part);

		vsock_device_give(d, room, &h);
		c->tx_cnt += part;
		len -= part;
	}
	vsock_device_unroom(d, n - used);
	return 0;
}

static ssize_t conn_write(struct stream *base, const struct iovec *iov, int n)
{
	struct iovec to[VSOCK_MAX_RESERVED];
	size_t len;
	int n_to;
	ssize_t r;

	if (n == 0)
		return may_write(from_stream(base));
	r = conn_reserve(base, to, VSOCK_MAX_RESERVED, &n_to);
	if (r < 0)
		return r;
	len = iov_copy(to, n_to, iov, n);
	r = conn_commit(base, len);
	return r < 0 ? r : (ssize_t)len;
}

/* ---- and the rest ---- */

static void conn_want(struct stream *base, unsigned int events)
{
	struct vsock_conn *c = from_stream(base);

	c->wanted = events;
	if ((events & STREAM_READ) && (c->rx.len || (c->peer_shutdown & VSOCK_SHUTDOWN_SEND)))
		vsock_device_has_news(c);
}

static int conn_shutdown(struct stream *base)
{
	struct vsock_conn *c = from_stream(base);

	if (base->error)
		return base->error;
	c->shutdown |= VSOCK_SHUTDOWN_SEND;
	if (c->state == VSOCK_OPEN)
		(void)vsock_conn_send(c, PENDING_SHUTDOWN);
	return 0;
}

/* The owner lets go; the rest is sent, and answered, without it. */
static void let_go(struct vsock_conn *c, unsigned int pending)
{
	if (c->device->serving == c)
		c->device->serving = NULL;
	list_unlink(&c->news);
	byte_queue_clear(&c->rx);
	c->direct_len = 0;
	c->base.ready = NULL;
	if (c->state == VSOCK_DEAD || !c->device->is_running || (c->pending & PENDING_REQUEST)) {
		vsock_conn_free(c);
		return;
	}
	c->state = VSOCK_CLOSING;
	c->deadline_ms = loop_now_ms(c->device->loop) + CLOSE_TIMEOUT_MS;
	vsock_device_need_tick(c->device);
	(void)vsock_conn_send(c, pending);
}

static void conn_close(struct stream *base)
{
	struct vsock_conn *c = from_stream(base);
	bool is_over =
		c->state != VSOCK_OPEN || unread(c) || c->peer_shutdown == VSOCK_SHUTDOWN_BOTH;

	if (!is_over)
		c->shutdown = VSOCK_SHUTDOWN_BOTH;
	let_go(c, is_over ? PENDING_RST : PENDING_SHUTDOWN);
}

static void conn_reset(struct stream *base)
{
	let_go(from_stream(base), PENDING_RST);
}

static const struct stream_ops vsock_stream_ops = {
	.read = conn_read,
	.write = conn_write,
	.peek = conn_peek,
	.consume = conn_consume,
	.reserve = conn_reserve,
	.commit = conn_commit,
	.want = conn_want,
	.shutdown = conn_shutdown,
	.close = conn_close,
	.reset = conn_reset,
};
