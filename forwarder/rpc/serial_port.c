/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/rpc/serial_port.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <termios.h>
#include <unistd.h>

#include "forwarder/rpc/serial_frame.h"
#include "forwarder/rpc/serial_session.h"
#include "netstack/base/list.h"
#include "netstack/base/loop.h"
#include "netstack/stream.h"

#define RX_SIZE (2 * (size_t)SERIAL_FRAME_MAX)
/* A call or a hello: the fill, and the frame. Besides it or data: replies. */
#define TX_SIZE (2 * (size_t)SERIAL_FRAME_MAX)
/* Linux' virtio_console takes no more at once, and gives one page. */
#define READS_PER_ROUND 64
/* A port in the guest cannot tell that the host has come, but by asking. */
#define ABSENT_MS 50

/* A session's; it outlives the session, and maybe the port. */
struct serial_stream {
	struct stream base;
	struct serial_port *port; /* NULL: the session is over */
	bool is_ended;		  /* nothing more comes, but maybe base.error */
	bool is_shut;		  /* nothing more is written */
	unsigned int wanted;
	struct loop *loop;
	struct loop_deferred notify;
};

struct serial_port {
	struct loop *loop;
	int fd;
	struct serial_port_owner owner;
	struct serial_session session;
	struct serial_stream *stream; /* of the session; NULL: there is none */
	struct watch *watch;
	struct timer *absent; /* runs while the host is not there */
	struct loop_deferred notify;
	bool is_opened; /* to be told to the owner */
	int error;	/* -errno once the line broke */
	struct serial_port_counters counters;

	const uint8_t *payload; /* in rx, of the session: not yet read */
	size_t payload_len;
	size_t rx_start, rx_end, tx_start, tx_end;
	uint8_t rx[RX_SIZE], tx[TX_SIZE];
};

static const struct stream_ops serial_stream_ops;

static struct serial_stream *from_stream(struct stream *s)
{
	return container_of(s, struct serial_stream, base);
}

static uint64_t new_tag(void)
{
	uint64_t tag = 0;

	while (tag == 0) {
		if (getrandom(&tag, sizeof(tag), 0) != (ssize_t)sizeof(tag))
			abort(); /* never, for so few bytes */
	}
	return tag;
}

/* --- the stream and its session ------------------------------------------ */

static void on_notify(void *arg)
{
	struct serial_stream *s = arg;

	if (s->base.ready)
		s->base.ready(s->base.ready_arg);
}

static void tell(struct serial_stream *s)
{
	if (s)
		loop_defer(s->loop, &s->notify);
}

static void end_reading(struct serial_stream *s)
{
	if (!s)
		return;
	s->is_ended = true;
	tell(s);
}

/* error 0: it ended in order, which is read as the end. */
static void detach(struct serial_port *p, int error)
{
	struct serial_stream *s = p->stream;

	p->stream = NULL;
	p->payload_len = 0;
	if (!s)
		return;
	s->port = NULL;
	s->base.error = error;
	end_reading(s);
}

static int attach(struct serial_port *p)
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

/* --- sending ------------------------------------------------------------- */

static void update_wants(struct serial_port *p)
{
	unsigned int wanted = 0;

	if (p->error == 0 && !timer_is_running(p->absent)) {
		wanted = p->payload_len == 0 ? LOOP_READ : LOOP_HANGUP;
		if (p->tx_end > p->tx_start)
			wanted = (wanted & LOOP_READ) | LOOP_WRITE;
	}
	watch_want(p->watch, wanted);
}

static void break_line(struct serial_port *p, int error)
{
	serial_session_end(&p->session);
	detach(p, -ECONNRESET);
	p->tx_start = p->tx_end = 0;
	p->error = error;
	loop_defer(p->loop, &p->notify);
}

static void send_more(struct serial_port *p)
{
	while (p->tx_end > p->tx_start) {
		ssize_t n = write(p->fd, p->tx + p->tx_start, p->tx_end - p->tx_start);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			break_line(p, -errno);
		if (n < 0)
			return;
		p->tx_start += (size_t)n;
	}
	p->tx_start = p->tx_end = 0;
}

/* Behind what waits to be sent. A peer that asks for more answers than there is
 * room for does not get them. */
static void send_control(struct serial_port *p, enum serial_type type)
{
	struct serial_frame frame = serial_session_control(&p->session, type);
	uint8_t *at = p->tx + p->tx_end;

	if (TX_SIZE - p->tx_end < SERIAL_HEADER_SIZE + SERIAL_TAG_SIZE + SERIAL_MARK_SIZE)
		return;
	serial_tag_write(p->session.ours, at + SERIAL_HEADER_SIZE);
	p->tx_end += serial_frame_wrap(&frame, at);
	send_more(p);
}

/* The first that is heard of us. Who wrote here before may have stopped in a frame,
 * whose rest the other end waits for: it gets as many zeros as that may take. */
static void introduce(struct serial_port *p, enum serial_type type)
{
	memset(p->tx, 0, SERIAL_FRAME_MAX);
	p->tx_start = 0;
	p->tx_end = SERIAL_FRAME_MAX;
	send_control(p, type);
}

/* --- receiving ----------------------------------------------------------- */

static void open_session(struct serial_port *p)
{
	p->counters.sessions++;
	if (p->session.is_host) {
		tell(p->stream);
		return;
	}
	detach(p, -ECONNRESET);
	p->is_opened = true;
	loop_defer(p->loop, &p->notify);
}

static void on_frame(struct serial_port *p, const struct serial_frame *frame)
{
	enum serial_reply reply;

	switch (serial_session_receive(&p->session, frame, new_tag(), &reply)) {
	case SERIAL_EVENT_STALE:
		p->counters.stale_frames++;
		break;
	case SERIAL_EVENT_OPENED:
		open_session(p);
		break;
	case SERIAL_EVENT_DATA:
		p->payload = frame->payload;
		p->payload_len = frame->len;
		break;
	case SERIAL_EVENT_ENDED:
		end_reading(p->stream);
		break;
	case SERIAL_EVENT_CLOSED:
		detach(p, 0);
		break;
	case SERIAL_EVENT_LOST:
		detach(p, -ECONNRESET);
		break;
	}
	if (reply == SERIAL_REPLY_ANSWER)
		send_control(p, SERIAL_ANSWER);
	else if (reply == SERIAL_REPLY_CALL)
		introduce(p, SERIAL_CALL);
}

/* Up to the next payload. What follows CALL is for the next stream, so it waits
 * until the owner has that. */
static void take_frames(struct serial_port *p)
{
	while (p->payload_len == 0 && !p->is_opened && p->rx_end > p->rx_start) {
		struct serial_frame frame;
		ssize_t n =
			serial_frame_parse(p->rx + p->rx_start, p->rx_end - p->rx_start, &frame);

		if (n == 0)
			break;
		if (n < 0) {
			p->counters.bytes_skipped += (uint64_t)-n;
			p->rx_start += (size_t)-n;
			continue;
		}
		p->rx_start += (size_t)n;
		on_frame(p, &frame);
	}
	if (p->payload_len)
		tell(p->stream);
}

static void make_room(struct serial_port *p)
{
	if (p->rx_start == 0)
		return;
	memmove(p->rx, p->rx + p->rx_start, p->rx_end - p->rx_start);
	p->rx_end -= p->rx_start;
	p->rx_start = 0;
}

/* Nobody is at the other end. A device in the guest stays, and the next host may
 * use it. */
static void on_absence(struct serial_port *p)
{
	if (p->session.is_host) {
		break_line(p, -ECONNRESET);
		return;
	}
	serial_session_end(&p->session);
	detach(p, -ECONNRESET);
	p->rx_start = p->rx_end = p->tx_start = p->tx_end = 0;
	timer_start(p->absent, ABSENT_MS);
}

static void read_more(struct serial_port *p)
{
	make_room(p);
	for (int i = 0; i < READS_PER_ROUND && p->rx_end < RX_SIZE; i++) {
		ssize_t n = read(p->fd, p->rx + p->rx_end, RX_SIZE - p->rx_end);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0)
			break_line(p, -errno);
		if (n == 0)
			on_absence(p);
		if (n <= 0)
			return;
		p->rx_end += (size_t)n;
	}
}

static bool has_hung_up(const struct serial_port *p)
{
	struct pollfd now = { .fd = p->fd, .events = POLLIN };

	return poll(&now, 1, 0) == 1 && (now.revents & POLLHUP);
}

static void on_event(void *arg, unsigned int events)
{
	struct serial_port *p = arg;

	if ((events & LOOP_WRITE) && p->tx_end > p->tx_start) {
		send_more(p);
		if (p->tx_end == 0)
			tell(p->stream);
		else if (!p->session.is_host && has_hung_up(p))
			on_absence(p);
	}
	if (p->error == 0 && p->payload_len == 0 && (events & (LOOP_READ | LOOP_HANGUP))) {
		read_more(p);
		take_frames(p);
	}
	update_wants(p);
}

static void on_absent_timer(void *arg)
{
	struct serial_port *p = arg;

	if (has_hung_up(p))
		timer_start(p->absent, ABSENT_MS);
	else
		update_wants(p);
}

/* What the owner is told, when nobody up the stack uses the port. */
static void on_port_notify(void *arg)
{
	struct serial_port *p = arg;

	if (p->error) {
		update_wants(p);
		p->owner.broken(p->owner.arg, p->error);
		return;
	}
	if (!p->is_opened)
		return;
	p->is_opened = false;
	if (p->session.state != SERIAL_OPEN || attach(p) < 0) {
		serial_session_end(&p->session);
		return;
	}
	take_frames(p);
	update_wants(p);
	p->owner.accepted(p->owner.arg, &p->stream->base);
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
	take_frames(p);
	update_wants(p);
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
	send_more(p);
	update_wants(p);
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
		tell(s);
	s->wanted = events;
}

static int serial_stream_shutdown(struct stream *base)
{
	struct serial_stream *s = from_stream(base);

	if (s->port && !s->is_shut && s->port->session.state == SERIAL_OPEN)
		send_control(s->port, SERIAL_END);
	s->is_shut = true;
	if (s->port)
		update_wants(s->port);
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
			send_control(p, SERIAL_CLOSE);
		serial_session_end(&p->session);
		take_frames(p);
		update_wants(p);
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

/* --- life ---------------------------------------------------------------- */

int serial_port_call(struct serial_port *p, struct stream **out)
{
	int r;

	assert(p->session.is_host);
	if (p->error)
		return p->error;
	detach(p, -ECONNRESET);
	r = attach(p);
	if (r < 0)
		return r;
	*out = &p->stream->base; /* also if it breaks now, which it tells */
	serial_session_call(&p->session, new_tag());
	introduce(p, SERIAL_CALL);
	take_frames(p);
	update_wants(p);
	return 0;
}

/* 8-bit bytes, untouched. */
static int make_raw(int fd)
{
	struct termios settings;

	if (!isatty(fd))
		return 0;
	if (tcgetattr(fd, &settings) < 0)
		return -errno;
	cfmakeraw(&settings);
	return tcsetattr(fd, TCSANOW, &settings) < 0 ? -errno : 0;
}

static int set_up(struct serial_port *p)
{
	int r = make_raw(p->fd);

	if (r == 0 && fcntl(p->fd, F_SETFL, fcntl(p->fd, F_GETFL) | O_NONBLOCK) < 0)
		r = -errno;
	if (r == 0)
		r = timer_new(p->loop, on_absent_timer, p, &p->absent);
	if (r == 0)
		r = watch_new(p->loop, p->fd, on_event, p, &p->watch);
	return r;
}

int serial_port_new(struct loop *loop, int fd, const struct serial_port_owner *owner,
		    struct serial_port **out)
{
	struct serial_port *p = calloc(1, sizeof(*p));
	int r;

	if (!p) {
		close(fd);
		return -ENOMEM;
	}
	p->loop = loop;
	p->fd = fd;
	p->owner = *owner;
	p->session = owner->accepted ? serial_session_guest() : serial_session_host();
	loop_deferred_init(&p->notify, on_port_notify, p);
	r = set_up(p);
	if (r < 0) {
		serial_port_free(p);
		return r;
	}
	if (!p->session.is_host)
		introduce(p, SERIAL_HELLO);
	update_wants(p);
	*out = p;
	return 0;
}

void serial_port_free(struct serial_port *p)
{
	if (!p)
		return;
	detach(p, -ECONNRESET);
	loop_cancel_deferred(&p->notify);
	watch_free(p->watch);
	timer_free(p->absent);
	close(p->fd);
	free(p);
}

const struct serial_port_counters *serial_port_counters(const struct serial_port *p)
{
	return &p->counters;
}
