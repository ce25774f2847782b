/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/rpc/serial_port.h"
#include "forwarder/rpc/serial_shared.h"
#include "netstack/base/list.h"

static const struct stream_ops serial_stream_ops;

static struct serial_stream *from_stream(struct stream *s)
{
	return container_of(s, struct serial_stream, base);
}

static void on_notify(void *arg)
{
	struct serial_stream *s = arg;

	if (s->base.ready)
		s->base.ready(s->base.ready_arg);
}

void serial_stream_tell(struct serial_stream *s)
{
	if (s)
		loop_defer(s->loop, &s->notify);
}

void serial_stream_end_reading(struct serial_stream *s)
{
	if (!s)
		return;
	s->is_ended = true;
	serial_stream_tell(s);
}

/* error 0: it ended in order, which is read as the end. */
void serial_stream_detach(struct serial_port *p, int error)
{
	struct serial_stream *s = p->stream;

	p->stream = NULL;
	p->payload_len = 0;
	if (!s)
		return;
	s->port = NULL;
	s->base.error = error;
	serial_stream_end_reading(s);
}

int serial_stream_attach(struct serial_port *p)
{
	struct serial_stream *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->base.ops = &serial_stream_ops;
	s->port = p;
	s->loop = p->loop;
	loop_deferred_init(&s->notify, on_notify, s);
	p->stream = s;
	return 0;
}

/* --- the stream's operations --------------------------------------------- */

/* 0, -EAGAIN while it is connecting, or what it broke by. */
static int state_of(const struct serial_stream *s)
{
	if (!s->port || s->base.error)
		return s->base.error;
	return s->port->session.state == SERIAL_OPEN ? 0 : -EAGAIN;
}

static ssize_t serial_stream_peek(struct stream *base, struct iovec *iov, int n, int *n_filled)
{
	struct serial_stream *s = from_stream(base);
	int r = state_of(s);

	*n_filled = 0;
	if (r < 0 || s->is_ended)
		return r;
	if (s->port->payload_len == 0 || n == 0)
		return -EAGAIN;
	iov[0].iov_base = (void *)(uintptr_t)s->port->payload;
	iov[0].iov_len = s->port->payload_len;
	*n_filled = 1;
	return (ssize_t)s->port->payload_len;
}

static void serial_stream_consume(struct stream *base, size_t len)
{
	struct serial_port *p = from_stream(base)->port;

	assert(p && len <= p->payload_len);
	p->payload += len;
	p->payload_len -= len;
	if (p->payload_len)
		return;
	serial_port_take_frames(p);
	serial_port_update_wants(p);
}

static ssize_t serial_stream_read(struct stream *base, const struct iovec *iov, int n)
{
	size_t copied = 0;
	struct iovec from = { 0 };
	int n_filled;
	ssize_t r = serial_stream_peek(base, &from, 1, &n_filled);

	if (r <= 0)
		return r;
	for (int i = 0; i < n && copied < from.iov_len; i++) {
		size_t len = from.iov_len - copied;

		if (len > iov[i].iov_len)
			len = iov[i].iov_len;
		memcpy(iov[i].iov_base, (const uint8_t *)from.iov_base + copied, len);
		copied += len;
	}
	serial_stream_consume(base, copied);
	return (ssize_t)copied;
}

static ssize_t serial_stream_reserve(struct stream *base, struct iovec *iov, int n, int *n_filled)
{
	struct serial_stream *s = from_stream(base);
	int r = state_of(s);

	*n_filled = 0;
	if (r < 0)
		return r;
	if (!s->port || s->is_shut)
		return -EPIPE;
	if (s->port->tx_end > 0 || n == 0)
		return n == 0 ? 0 : -EAGAIN;
	iov[0].iov_base = s->port->tx + SERIAL_HEADER_SIZE;
	iov[0].iov_len = SERIAL_PAYLOAD_MAX;
	*n_filled = 1;
	return SERIAL_PAYLOAD_MAX;
}

static int serial_stream_commit(struct stream *base, size_t len)
{
	struct serial_port *p = from_stream(base)->port;
	struct serial_frame frame;

	if (len == 0)
		return 0;
	frame = serial_session_data(&p->session, (uint32_t)len);
	p->tx_start = 0;
	p->tx_end = serial_frame_wrap(&frame, p->tx);
	serial_port_send_more(p);
	serial_port_update_wants(p);
	return base->error;
}

static ssize_t serial_stream_write(struct stream *base, const struct iovec *iov, int n)
{
	struct iovec to = { 0 };
	size_t copied = 0;
	int n_filled, e;
	ssize_t r = serial_stream_reserve(base, &to, n ? 1 : 0, &n_filled);

	if (r <= 0)
		return r;
	for (int i = 0; i < n && copied < to.iov_len; i++) {
		size_t len = to.iov_len - copied;

		if (len > iov[i].iov_len)
			len = iov[i].iov_len;
		memcpy((uint8_t *)to.iov_base + copied, iov[i].iov_base, len);
		copied += len;
	}
	e = serial_stream_commit(base, copied);
	return e < 0 ? e : (ssize_t)copied;
}

static void serial_stream_want(struct stream *base, unsigned int events)
{
	struct serial_stream *s = from_stream(base);

	/* both are told as they come, so this is for what was there before */
	if ((events & ~s->wanted & STREAM_READ) && s->port && s->port->payload_len)
		serial_stream_tell(s);
	s->wanted = events;
}

static int serial_stream_shutdown(struct stream *base)
{
	struct serial_stream *s = from_stream(base);

	if (s->port && !s->is_shut && s->port->session.state == SERIAL_OPEN)
		serial_port_send_control(s->port, SERIAL_END);
	s->is_shut = true;
	if (s->port)
		serial_port_update_wants(s->port);
	return base->error;
}

static void release(struct serial_stream *s)
{
	loop_cancel_deferred(&s->notify);
	free(s);
}

static void serial_stream_close(struct stream *base)
{
	struct serial_stream *s = from_stream(base);
	struct serial_port *p = s->port;

	if (p) {
		p->stream = NULL;
		p->payload_len = 0;
		if (p->session.state == SERIAL_OPEN)
			serial_port_send_control(p, SERIAL_CLOSE);
		serial_session_end(&p->session);
		serial_port_take_frames(p);
		serial_port_update_wants(p);
	}
	release(s);
}

static const struct stream_ops serial_stream_ops = {
	.read = serial_stream_read,
	.write = serial_stream_write,
	.peek = serial_stream_peek,
	.consume = serial_stream_consume,
	.reserve = serial_stream_reserve,
	.commit = serial_stream_commit,
	.want = serial_stream_want,
	.shutdown = serial_stream_shutdown,
	.close = serial_stream_close,
	.reset = serial_stream_close,
};
