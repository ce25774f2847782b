/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/link_stream.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/frame_queue.h"
#include "netstack/framing.h"
#include "netstack/link.h"
#include "netstack/rx_buffer.h"
#include "netstack/unix_socket.h"

/* Many frames per read, and several of the largest per buffer. */
#define RX_BUFFER_SIZE (512U << 10)
/* Below this much room, reading on in the same buffer costs more calls than a
 * new buffer costs memory. */
#define RX_MIN_ROOM (64U << 10)
/* Bytes per round, so that one guest does not starve everything else. */
#define RX_BUDGET (1U << 20)

#define TX_QUEUE_SIZE (1U << 20)
/* This much is written without waiting for flush(): the guest can start, and
 * the bytes are still in the cache. (Writing large frames from where they are
 * was measured: saving that copy gains nothing.) */
#define TX_WRITE_AT (128U << 10)

/* SO_SNDBUF; the kernel doubles it. Measured from here to 4 MiB: every doubling
 * makes it slower, because more bytes leave the cache before they are read. */
#define SOCKET_BUFFER_SIZE (128 << 10)
#define RETRY_MS 100

struct link_stream {
	struct link link;
	struct loop *loop;
	struct unix_socket socket; /* fd is -1 if the guest's descriptor was given */
	struct watch *listener;
	struct timer *retry; /* after running out of descriptors or memory */

	int fd; /* the guest's, -1 while there is none */
	struct watch *watch;
	unsigned int wanted;

	struct rx_buffer rx;
	size_t rx_partial; /* bytes of an incomplete frame, the last ones of rx */
	struct frame_queue tx;
	bool is_blocked;  /* the socket is full; frames go to the queue only */
	bool owner_waits; /* for writable(); only while blocked */

	bool is_up; /* as the owner was told */
	struct loop_deferred announce_up;
	struct loop_deferred announce_down;
};

static struct link_stream *from_link(struct link *link)
{
	return container_of(link, struct link_stream, link);
}

static void want(struct link_stream *l, unsigned int events)
{
	l->wanted = events;
	watch_want(l->watch, events);
}

static void tell_state(struct link_stream *l, bool is_up)
{
	l->is_up = is_up;
	l->link.owner->state(l->link.owner_arg, is_up);
}

static void on_announce_up(void *arg)
{
	struct link_stream *l = arg;

	want(l, l->wanted | LOOP_READ);
	tell_state(l, true);
}

static void on_announce_down(void *arg)
{
	tell_state(arg, false);
}

/* Closes the guest's connection and forgets what was under way. The owner is
 * told later: it may be in the middle of a send(). */
static void drop_guest(struct link_stream *l)
{
	watch_free(l->watch);
	close(l->fd);
	l->watch = NULL;
	l->fd = -1;
	l->wanted = 0;
	l->rx_partial = 0;
	frame_queue_reset(&l->tx);
	l->is_blocked = l->owner_waits = false;
	loop_cancel_deferred(&l->announce_up);
	if (l->is_up)
		loop_defer(l->loop, &l->announce_down);
}

static void guest_left(struct link_stream *l, int error)
{
	log_info("%s: guest disconnected%s%s", l->link.name, error ? ": " : "",
		 error ? strerror(error) : "");
	drop_guest(l);
}

/* ---- from the guest ---- */

static void refuse_framing(struct link_stream *l, const uint8_t *at)
{
	l->link.counters.rx_oversized++;
	log_limited(LOG_LEVEL_WARN, "%s: a frame of %u bytes cannot be, guest disconnected",
		    l->link.name, get_be32(at));
	drop_guest(l);
}

static void deliver_one(struct link_stream *l, const struct iovec *bytes)
{
	struct frame frame;

	frame_init(&frame);
	frame.owner = l->rx.current;
	frame_add(&frame, bytes->iov_base, bytes->iov_len);
	l->link.counters.rx_frames++;
	l->link.counters.rx_bytes += bytes->iov_len;
	l->link.owner->receive(l->link.owner_arg, &frame);
}

/* Hands up every whole frame among the bytes read; keeps the rest for later. */
static void deliver(struct link_stream *l, size_t n)
{
	struct framing_window window = {
		.data = rx_buffer_end(&l->rx) - n - l->rx_partial,
		.len = n + l->rx_partial,
	};
	enum framing_status status = FRAMING_FRAME;
	struct iovec bytes;

	/* the owner may drop the guest, by a send() that fails */
	while (l->fd >= 0 && (status == FRAMING_FRAME || status == FRAMING_RUNT)) {
		status = framing_next(&window, &bytes);
		if (status == FRAMING_FRAME)
			deliver_one(l, &bytes);
		else if (status == FRAMING_RUNT)
			l->link.counters.rx_runt++;
	}
	if (l->fd < 0)
		return;
	l->rx_partial = window.len;
	if (status == FRAMING_OVERSIZED)
		refuse_framing(l, window.data);
}

static int prepare_rx(struct link_stream *l)
{
	struct framing_window partial = { .len = l->rx_partial };
	size_t room;
	int r;

	if (l->rx.current)
		partial.data = rx_buffer_end(&l->rx) - partial.len;
	room = framing_missing(&partial);
	if (room < RX_MIN_ROOM)
		room = RX_MIN_ROOM;
	r = rx_buffer_prepare(&l->rx, l->rx_partial, room);
	if (r < 0) {
		l->link.counters.rx_no_memory++;
		want(l, l->wanted & ~LOOP_READ);
		timer_start(l->retry, RETRY_MS);
	}
	return r;
}

/* One read and its frames. Returns the bytes read, or 0 when there are no more
 * for now. */
static size_t receive_batch(struct link_stream *l)
{
	size_t room;
	ssize_t n;

	if (prepare_rx(l) < 0)
		return 0;
	room = rx_buffer_room(&l->rx);
	n = recv(l->fd, rx_buffer_end(&l->rx), room, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		guest_left(l, n < 0 ? errno : 0);
		return 0;
	}
	rx_buffer_commit(&l->rx, (size_t)n);
	deliver(l, (size_t)n);
	l->link.owner->batch_done(l->link.owner_arg);
	return (size_t)n;
}

/* ---- to the guest ---- */

static void set_blocked(struct link_stream *l, bool is_blocked)
{
	l->is_blocked = is_blocked;
	want(l, is_blocked ? l->wanted | LOOP_WRITE : l->wanted & ~LOOP_WRITE);
}

static void send_failed(struct link_stream *l)
{
	if (errno == EAGAIN || errno == EINTR) {
		set_blocked(l, true);
	} else if (errno == ENOBUFS || errno == ENOMEM) {
		set_blocked(l, false);
		l->is_blocked = true; /* the socket would say writable at once */
		timer_start(l->retry, RETRY_MS);
	} else {
		guest_left(l, errno);
	}
}

static void write_queue(struct link_stream *l)
{
	struct iovec iov[2];
	struct msghdr msg = { .msg_iov = iov };
	ssize_t n;

	if (l->tx.len == 0)
		return;
	msg.msg_iovlen = (size_t)frame_queue_peek(&l->tx, 0, l->tx.len, iov);
	n = sendmsg(l->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0) {
		send_failed(l);
		return;
	}
	frame_queue_drop(&l->tx, (size_t)n);
	set_blocked(l, l->tx.len > 0);
}

static int stream_send(struct link *link, struct frame *frame)
{
	struct link_stream *l = from_link(link);

	assert(frame->len >= ETH_HEADER_SIZE && frame->len <= FRAME_MAX_SIZE);
	if (l->fd >= 0 && !l->is_blocked && !frame_queue_fits(&l->tx, frame))
		write_queue(l);
	if (l->fd >= 0 && !frame_queue_fits(&l->tx, frame)) {
		link->counters.tx_blocked++;
		l->owner_waits = true;
		return -EAGAIN;
	}
	if (l->fd < 0) {
		link->counters.tx_dropped++;
		return -ENETDOWN;
	}
	frame_queue_append(&l->tx, frame);
	link->counters.tx_frames++;
	link->counters.tx_bytes += frame->len;
	if (!l->is_blocked && l->tx.len >= TX_WRITE_AT)
		write_queue(l);
	return 0;
}

static void stream_flush(struct link *link)
{
	struct link_stream *l = from_link(link);

	if (l->fd >= 0 && !l->is_blocked)
		write_queue(l);
}

static void on_writable(struct link_stream *l)
{
	write_queue(l);
	if (l->fd < 0 || !l->owner_waits || l->tx.len > l->tx.size / 2)
		return;
	l->owner_waits = false;
	l->link.owner->writable(l->link.owner_arg);
	stream_flush(&l->link);
}

static void on_guest_event(void *arg, unsigned int events)
{
	struct link_stream *l = arg;
	size_t budget = RX_BUDGET;
	size_t n;

	if (events & LOOP_WRITE)
		on_writable(l);
	if (!(events & LOOP_READ))
		return;
	while (l->fd >= 0 && (n = receive_batch(l)) > 0 && n < budget)
		budget -= n;
}

/* ---- guests that come ---- */

/* Only of a UNIX socket: TCP finds the right size by itself. */
static void set_send_buffer(int fd)
{
	const int size = SOCKET_BUFFER_SIZE;
	int domain = 0;
	socklen_t len = sizeof(domain);

	(void)getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len);
	if (domain == AF_UNIX)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

/* Takes fd, also on error. */
static int take_guest(struct link_stream *l, int fd)
{
	int r = watch_new(l->loop, fd, on_guest_event, l, &l->watch);

	if (r < 0) {
		close(fd);
		return r;
	}
	set_send_buffer(fd);
	l->fd = fd;
	return 0;
}

static int peer_pid(int fd)
{
	struct ucred cred = { .pid = 0 };
	socklen_t len = sizeof(cred);

	(void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len);
	return (int)cred.pid;
}

static bool has_hung_up(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLRDHUP };

	return poll(&p, 1, 0) == 1 && (p.revents & (POLLRDHUP | POLLHUP));
}

static void accept_failed(struct link_stream *l)
{
	if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
		return;
	log_limited(LOG_LEVEL_WARN, "%s: cannot accept a guest: %s", l->link.name, strerror(errno));
	watch_want(l->listener, 0);
	timer_start(l->retry, RETRY_MS);
}

static void on_connection(void *arg, unsigned int events)
{
	struct link_stream *l = arg;
	int fd = accept4(l->socket.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	int pid, r;

	(void)events;
	if (fd < 0) {
		accept_failed(l);
		return;
	}
	pid = peer_pid(fd);
	if (l->fd >= 0 && has_hung_up(l->fd))
		guest_left(l, 0); /* both events came in one round */
	if (l->fd >= 0) {
		log_limited(LOG_LEVEL_WARN, "%s: a second guest (process %d) was disconnected",
			    l->link.name, pid);
		close(fd);
		return;
	}
	r = take_guest(l, fd);
	if (r < 0) {
		log_limited(LOG_LEVEL_WARN, "%s: cannot serve a guest: %s", l->link.name,
			    strerror(-r));
		return;
	}
	log_info("%s: guest connected (process %d)", l->link.name, pid);
	loop_defer(l->loop, &l->announce_up); /* behind the last one's going */
}

static void on_retry(void *arg)
{
	struct link_stream *l = arg;

	if (l->listener)
		watch_want(l->listener, LOOP_READ);
	if (l->fd < 0)
		return;
	if (l->is_up)
		want(l, l->wanted | LOOP_READ);
	if (l->is_blocked)
		on_writable(l);
}

/* ---- constructors ---- */

static void stream_free(struct link *link)
{
	struct link_stream *l = from_link(link);

	loop_cancel_deferred(&l->announce_up);
	loop_cancel_deferred(&l->announce_down);
	timer_free(l->retry);
	watch_free(l->watch);
	watch_free(l->listener);
	if (l->fd >= 0)
		close(l->fd);
	unix_socket_close(&l->socket);
	frame_queue_deinit(&l->tx);
	rx_buffer_deinit(&l->rx);
	free(l);
}

static void stream_start(struct link *link)
{
	struct link_stream *l = from_link(link);

	if (l->listener)
		watch_want(l->listener, LOOP_READ);
	if (l->fd >= 0)
		on_announce_up(l);
}

static bool stream_is_lending(const struct link *link)
{
	const struct link_stream *l = container_of(link, const struct link_stream, link);
	const struct buffer *current = l->rx.current;

	return l->rx.pool.n_used > (current ? 1U : 0U) || (current && current->n_refs > 1);
}

static const struct link_ops stream_ops = {
	.start = stream_start,
	.send = stream_send,
	.flush = stream_flush,
	.is_lending = stream_is_lending,
	.free = stream_free,
};

static int link_new(struct loop *loop, uint16_t mtu, struct link_stream **out)
{
	struct link_stream *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return -ENOMEM;
	l->link.ops = &stream_ops;
	l->link.caps = (struct link_caps){ .mtu = mtu, .lossless = true };
	l->loop = loop;
	l->fd = l->socket.fd = -1;
	rx_buffer_init(&l->rx, RX_BUFFER_SIZE);
	loop_deferred_init(&l->announce_up, on_announce_up, l);
	loop_deferred_init(&l->announce_down, on_announce_down, l);
	r = frame_queue_init(&l->tx, TX_QUEUE_SIZE);
	if (r == 0)
		r = timer_new(loop, on_retry, l, &l->retry);
	if (r < 0) {
		stream_free(&l->link);
		return r;
	}
	*out = l;
	return 0;
}

int link_stream_listen(struct loop *loop, const char *path, uint16_t mtu, struct link **out)
{
	struct link_stream *l;
	int r = link_new(loop, mtu, &l);

	if (r < 0)
		return r;
	(void)snprintf(l->link.name, sizeof(l->link.name), "stream:%s", path);
	r = unix_socket_listen(path, &l->socket);
	if (r == 0)
		r = watch_new(loop, l->socket.fd, on_connection, l, &l->listener);
	if (r < 0) {
		stream_free(&l->link);
		return r;
	}
	*out = &l->link;
	return 0;
}

/* Whether fd is a stream socket; makes it non-blocking. */
static int check_fd(int fd)
{
	int type;
	socklen_t len = sizeof(type);
	int flags;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
		return -errno;
	if (type != SOCK_STREAM)
		return -EPROTOTYPE;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	return fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ? -errno : 0;
}

int link_stream_from_fd(struct loop *loop, int fd, uint16_t mtu, struct link **out)
{
	struct link_stream *l;
	int r = check_fd(fd);

	if (r >= 0)
		r = link_new(loop, mtu, &l);
	if (r < 0) {
		close(fd);
		return r;
	}
	(void)snprintf(l->link.name, sizeof(l->link.name), "stream:fd %d", fd);
	l->link.is_transient = true;
	r = take_guest(l, fd);
	if (r < 0) {
		stream_free(&l->link);
		return r;
	}
	*out = &l->link;
	return 0;
}
