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

#include "forwarder/rpc/serial_shared.h"

/* Linux' virtio_console takes no more at once, and gives one page. */
#define READS_PER_ROUND 64
/* A port in the guest cannot tell that the host has come, but by asking. */
#define ABSENT_MS 50

static uint64_t new_tag(void)
{
	uint64_t tag = 0;

	while (tag == 0) {
		if (getrandom(&tag, sizeof(tag), 0) != (ssize_t)sizeof(tag))
			abort(); /* never, for so few bytes */
	}
	return tag;
}

/* --- sending ------------------------------------------------------------- */

void serial_port_update_wants(struct serial_port *p)
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
	serial_stream_detach(p, -ECONNRESET);
	p->tx_start = p->tx_end = 0;
	p->error = error;
	loop_defer(p->loop, &p->notify);
}

void serial_port_send_more(struct serial_port *p)
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
void serial_port_send_control(struct serial_port *p, enum serial_type type)
{
	struct serial_frame frame = serial_session_control(&p->session, type);
	uint8_t *at = p->tx + p->tx_end;

	if (TX_SIZE - p->tx_end < SERIAL_HEADER_SIZE + SERIAL_TAG_SIZE + SERIAL_MARK_SIZE)
		return;
	serial_tag_write(p->session.ours, at + SERIAL_HEADER_SIZE);
	p->tx_end += serial_frame_wrap(&frame, at);
	serial_port_send_more(p);
}

/* The first that is heard of us. Who wrote here before may have stopped in a frame,
 * whose rest the other end waits for: it gets as many zeros as that may take. */
static void introduce(struct serial_port *p, enum serial_type type)
{
	memset(p->tx, 0, SERIAL_FRAME_MAX);
	p->tx_start = 0;
	p->tx_end = SERIAL_FRAME_MAX;
	serial_port_send_control(p, type);
}

/* --- receiving ----------------------------------------------------------- */

static void open_session(struct serial_port *p)
{
	p->counters.sessions++;
	if (p->session.is_host) {
		serial_stream_tell(p->stream);
		return;
	}
	serial_stream_detach(p, -ECONNRESET);
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
		serial_stream_end_reading(p->stream);
		break;
	case SERIAL_EVENT_CLOSED:
		serial_stream_detach(p, 0);
		break;
	case SERIAL_EVENT_LOST:
		serial_stream_detach(p, -ECONNRESET);
		break;
	}
	if (reply == SERIAL_REPLY_ANSWER)
		serial_port_send_control(p, SERIAL_ANSWER);
	else if (reply == SERIAL_REPLY_CALL)
		introduce(p, SERIAL_CALL);
}

/* Up to the next payload. What follows CALL is for the next stream, so it waits
 * until the owner has that. */
void serial_port_take_frames(struct serial_port *p)
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
		serial_stream_tell(p->stream);
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
	serial_stream_detach(p, -ECONNRESET);
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
		serial_port_send_more(p);
		if (p->tx_end == 0)
			serial_stream_tell(p->stream);
		else if (!p->session.is_host && has_hung_up(p))
			on_absence(p);
	}
	if (p->error == 0 && p->payload_len == 0 && (events & (LOOP_READ | LOOP_HANGUP))) {
		read_more(p);
		serial_port_take_frames(p);
	}
	serial_port_update_wants(p);
}

static void on_absent_timer(void *arg)
{
	struct serial_port *p = arg;

	if (has_hung_up(p))
		timer_start(p->absent, ABSENT_MS);
	else
		serial_port_update_wants(p);
}

/* What the owner is told, when nobody up the stack uses the port. */
static void on_port_notify(void *arg)
{
	struct serial_port *p = arg;

	if (p->error) {
		serial_port_update_wants(p);
		p->owner.broken(p->owner.arg, p->error);
		return;
	}
	if (!p->is_opened)
		return;
	p->is_opened = false;
	if (p->session.state != SERIAL_OPEN || serial_stream_attach(p) < 0) {
		serial_session_end(&p->session);
		return;
	}
	serial_port_take_frames(p);
	serial_port_update_wants(p);
	p->owner.accepted(p->owner.arg, &p->stream->base);
}

/* --- life ---------------------------------------------------------------- */

int serial_port_call(struct serial_port *p, struct stream **out)
{
	int r;

	assert(p->session.is_host);
	if (p->error)
		return p->error;
	serial_stream_detach(p, -ECONNRESET);
	r = serial_stream_attach(p);
	if (r < 0)
		return r;
	*out = &p->stream->base; /* also if it breaks now, which it tells */
	serial_session_call(&p->session, new_tag());
	introduce(p, SERIAL_CALL);
	serial_port_take_frames(p);
	serial_port_update_wants(p);
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
	serial_port_update_wants(p);
	*out = p;
	return 0;
}

void serial_port_free(struct serial_port *p)
{
	if (!p)
		return;
	serial_stream_detach(p, -ECONNRESET);
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
