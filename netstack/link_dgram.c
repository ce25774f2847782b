/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/link_dgram.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/frame_queue.h"
#include "netstack/link.h"
#include "netstack/unix_socket.h"

/* Datagrams per system call, and calls per round. */
#define RX_BATCH 32
#define RX_CALLS 4
/* Buffers kept for reuse: a batch, and as many that somebody holds. */
#define RX_BUFFERS (2U * RX_BATCH)
#define TX_BATCH 64
#define TX_QUEUE_SIZE (512U << 10)
/* This much is sent without waiting for flush(). */
#define TX_SEND_AT (64U << 10)
/* SO_SNDBUF; the kernel doubles it, and refuses datagrams that are larger. */
#define SOCKET_BUFFER_SIZE (256 << 10)
/* What the kernel charges for a datagram of up to 1.5 KiB. */
#define SMALL_DATAGRAM_COST 2304
#define SMALL_MTU 1536

#define RETRY_MS 5	   /* out of memory, or a full guest that poll calls ready */
#define LOOK_AFTER_MS 1000 /* is the guest still there? */

struct peer {
	struct sockaddr_un sa;
	socklen_t len;
	dev_t dev; /* of its socket file, if it has one */
	ino_t ino;
	struct timespec mtime; /* file systems use an inode's number again */
};

struct link_dgram {
	struct link link;
	struct loop *loop;
	struct unix_socket socket; /* without a path if the descriptor was given */
	bool is_bound;		   /* to a path: guests come and go */
	bool is_seqpacket;
	struct watch *watch;
	unsigned int wanted;
	struct timer *retry, *look_after;

	struct peer peer; /* while is_up and is_bound */
	bool is_up;
	struct loop_deferred announce_down;

	struct buffer_pool pool;
	struct buffer *buffers[RX_BATCH];
	struct sockaddr_un names[RX_BATCH];

	struct frame_queue tx;
	bool is_blocked;  /* the guest is full; frames go to the queue only */
	bool owner_waits; /* for writable(); only while blocked */
};

static struct link_dgram *from_link(struct link *link)
{
	return container_of(link, struct link_dgram, link);
}

static void want(struct link_dgram *l, unsigned int events)
{
	l->wanted = events;
	watch_want(l->watch, events);
}

/* ---- the guest's coming and going ---- */

static void announce_up(struct link_dgram *l)
{
	want(l, l->wanted | LOOP_READ);
	l->link.owner->state(l->link.owner_arg, true);
}

static void on_announce_down(void *arg)
{
	struct link_dgram *l = arg;

	l->link.owner->state(l->link.owner_arg, false);
}

/* Forgets the guest and what was queued for it. The owner is told later: it may
 * be in the middle of a send(). */
static void drop_peer(struct link_dgram *l, const char *why)
{
	const struct sockaddr nobody = { .sa_family = AF_UNSPEC };

	log_info("%s: guest gone: %s", l->link.name, why);
	l->is_up = l->is_blocked = l->owner_waits = false;
	frame_queue_reset(&l->tx);
	timer_stop(l->look_after);
	loop_defer(l->loop, &l->announce_down);
	if (l->is_bound) {
		(void)connect(l->socket.fd, &nobody, sizeof(nobody));
		want(l, l->wanted & ~LOOP_WRITE);
	} else {
		want(l, 0);
	}
}

/* Notes which file the guest's address is at present; there is none for an
 * address in the abstract namespace. */
static void identify(const struct peer *peer, struct peer *out)
{
	struct stat st = { .st_dev = 0 };

	if (peer->sa.sun_path[0] != '\0' && stat(peer->sa.sun_path, &st) < 0)
		st.st_ino = 0; /* not there */
	out->dev = st.st_dev;
	out->ino = st.st_ino;
	out->mtime = st.st_mtim;
}

static bool is_same_file(const struct peer *a, const struct peer *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->mtime.tv_sec == b->mtime.tv_sec &&
	       a->mtime.tv_nsec == b->mtime.tv_nsec;
}

/* A guest that dies leaves its file behind, and its successor binds a new one.
 * Nobody tells us, and while we are connected to the dead one its successor
 * cannot reach us. Connecting again is harmless if it lives. */
static void on_look_after(void *arg)
{
	struct link_dgram *l = arg;
	struct peer now;

	identify(&l->peer, &now);
	if (!is_same_file(&now, &l->peer)) {
		drop_peer(l, "its socket was removed or replaced");
		return;
	}
	if (connect(l->socket.fd, (struct sockaddr *)&l->peer.sa, l->peer.len) < 0) {
		drop_peer(l, strerror(errno));
		return;
	}
	timer_start(l->look_after, LOOK_AFTER_MS);
}

/* The path for logs, or what stands for one. */
static const char *peer_text(const struct sockaddr_un *sa)
{
	return sa->sun_path[0] ? sa->sun_path : "an abstract address";
}

/* Makes the sender the guest; false if it cannot be one. */
static bool adopt(struct link_dgram *l, const struct sockaddr_un *sa, socklen_t len)
{
	if (connect(l->socket.fd, (const struct sockaddr *)sa, len) < 0) {
		log_limited(LOG_LEVEL_WARN, "%s: cannot answer to %s: %s", l->link.name,
			    peer_text(sa), strerror(errno));
		return false;
	}
	l->peer.sa = *sa;
	l->peer.len = len;
	identify(&l->peer, &l->peer);
	l->is_up = true;
	timer_start(l->look_after, LOOK_AFTER_MS);
	log_info("%s: guest at %s", l->link.name, peer_text(sa));
	if (!list_empty(&l->announce_down.node)) { /* of the last guest */
		loop_cancel_deferred(&l->announce_down);
		on_announce_down(l);
	}
	announce_up(l);
	return true;
}

/* ---- from the guest ---- */

static bool is_from_guest(struct link_dgram *l, const struct msghdr *msg)
{
	const struct sockaddr_un *sa = msg->msg_name;

	if (!l->is_bound)
		return l->is_up;
	if (msg->msg_namelen <= sizeof(sa->sun_family)) {
		log_limited(LOG_LEVEL_WARN, "%s: a sender without an address cannot be a guest",
			    l->link.name);
		return false;
	}
	if (!l->is_up)
		return adopt(l, sa, msg->msg_namelen);
	return msg->msg_namelen == l->peer.len && memcmp(sa, &l->peer.sa, l->peer.len) == 0;
}

static void take_datagram(struct link_dgram *l, struct buffer *buffer, const struct msghdr *msg,
			  size_t len)
{
	bool is_hello = len == 4 && memcmp(buffer->data, "VFKT", 4) == 0;
	struct frame frame;

	if (msg->msg_flags & MSG_TRUNC) {
		l->link.counters.rx_oversized++;
	} else if (len < ETH_HEADER_SIZE && !is_hello) {
		l->link.counters.rx_runt++;
	} else if (!is_from_guest(l, msg)) {
		l->link.counters.rx_refused++;
	} else if (!is_hello) {
		frame_init(&frame);
		frame.owner = buffer;
		frame_add(&frame, buffer->data, len);
		l->link.counters.rx_frames++;
		l->link.counters.rx_bytes += len;
		l->link.owner->receive(l->link.owner_arg, &frame);
	}
}

/* Replaces the buffers that the owner has kept; returns how many there are. */
static unsigned int fill_buffers(struct link_dgram *l)
{
	for (unsigned int i = 0; i < RX_BATCH; i++) {
		if (l->buffers[i] && l->buffers[i]->n_refs == 1)
			continue;
		buffer_unref(l->buffers[i]);
		l->buffers[i] = buffer_take(&l->pool);
		if (!l->buffers[i])
			return i;
	}
	return RX_BATCH;
}

static int receive_many(struct link_dgram *l, struct mmsghdr *msgs)
{
	unsigned int n = fill_buffers(l);
	struct iovec iov[RX_BATCH];

	if (n == 0) {
		l->link.counters.rx_no_memory++;
		want(l, l->wanted & ~LOOP_READ);
		timer_start(l->retry, RETRY_MS);
		return 0;
	}
	for (unsigned int i = 0; i < n; i++) {
		iov[i] = (struct iovec){ l->buffers[i]->data, l->pool.size };
		msgs[i].msg_hdr = (struct msghdr){
			.msg_name = &l->names[i],
			.msg_namelen = sizeof(l->names[i]),
			.msg_iov = &iov[i],
			.msg_iovlen = 1,
		};
	}
	return recvmmsg(l->socket.fd, msgs, n, MSG_DONTWAIT, NULL);
}

/* Returns the datagrams read; 0 when there are no more for now. */
static int receive_batch(struct link_dgram *l)
{
	struct mmsghdr msgs[RX_BATCH];
	int n = receive_many(l, msgs);

	if (n < 0 && errno != EAGAIN && errno != EINTR && l->is_up)
		drop_peer(l, strerror(errno));
	if (n <= 0)
		return 0;
	for (int i = 0; i < n; i++) {
		if (l->is_seqpacket && msgs[i].msg_len == 0) {
			if (l->is_up)
				drop_peer(l, "disconnected");
			break;
		}
		take_datagram(l, l->buffers[i], &msgs[i].msg_hdr, msgs[i].msg_len);
	}
	l->link.owner->batch_done(l->link.owner_arg);
	return n;
}

/* ---- to the guest ---- */

static void set_blocked(struct link_dgram *l, bool is_blocked)
{
	l->is_blocked = is_blocked;
	want(l, is_blocked ? l->wanted | LOOP_WRITE : l->wanted & ~LOOP_WRITE);
}

/* For when poll would say at once that the socket is writable. */
static void block_for_a_while(struct link_dgram *l)
{
	set_blocked(l, false);
	l->is_blocked = true;
	timer_start(l->retry, RETRY_MS);
}

static unsigned int gather(struct link_dgram *l, struct mmsghdr *msgs, struct iovec (*iov)[2])
{
	size_t offset = 0;
	unsigned int n;

	for (n = 0; n < TX_BATCH; n++) {
		int pieces = frame_queue_peek_frame(&l->tx, offset, iov[n], &offset);

		if (pieces == 0)
			break;
		msgs[n].msg_hdr = (struct msghdr){
			.msg_iov = iov[n],
			.msg_iovlen = (size_t)pieces,
		};
	}
	return n;
}

static void drop_sent(struct link_dgram *l, unsigned int n)
{
	struct iovec iov[2];
	size_t end = 0;

	while (n-- > 0)
		(void)frame_queue_peek_frame(&l->tx, end, iov, &end);
	frame_queue_drop(&l->tx, end);
}

/* Whether it is worth to go on with the next datagram. */
static bool send_failed(struct link_dgram *l)
{
	switch (errno) {
	case EAGAIN:
	case EINTR:
		set_blocked(l, true);
		return false;
	case ENOBUFS:
	case ENOMEM:
		block_for_a_while(l);
		return false;
	case EMSGSIZE: /* larger than the kernel allows our buffer to be */
		l->link.counters.tx_dropped++;
		drop_sent(l, 1);
		return true;
	default:
		drop_peer(l, strerror(errno));
		return false;
	}
}

static void write_queue(struct link_dgram *l)
{
	struct mmsghdr msgs[TX_BATCH];
	struct iovec iov[TX_BATCH][2];

	while (l->tx.len > 0) {
		unsigned int n = gather(l, msgs, iov);
		int sent = sendmmsg(l->socket.fd, msgs, n, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent > 0)
			drop_sent(l, (unsigned int)sent);
		else if (!send_failed(l))
			return;
	}
	if (l->is_up)
		set_blocked(l, false);
}

static int dgram_send(struct link *link, struct frame *frame)
{
	struct link_dgram *l = from_link(link);

	assert(frame->len >= ETH_HEADER_SIZE && frame->len <= FRAME_MAX_SIZE);
	if (l->is_up && !l->is_blocked && !frame_queue_fits(&l->tx, frame))
		write_queue(l);
	if (l->is_up && !frame_queue_fits(&l->tx, frame)) {
		link->counters.tx_blocked++;
		l->owner_waits = true;
		return -EAGAIN;
	}
	if (!l->is_up) {
		link->counters.tx_dropped++;
		return -ENETDOWN;
	}
	frame_queue_append(&l->tx, frame);
	link->counters.tx_frames++;
	link->counters.tx_bytes += frame->len;
	if (!l->is_blocked && l->tx.len >= TX_SEND_AT)
		write_queue(l);
	return 0;
}

static void dgram_flush(struct link *link)
{
	struct link_dgram *l = from_link(link);

	if (l->is_up && !l->is_blocked)
		write_queue(l);
}

static void on_writable(struct link_dgram *l)
{
	size_t before = l->tx.len;

	write_queue(l);
	if (!l->is_up)
		return;
	if (l->tx.len == before && l->is_blocked)
		block_for_a_while(l);
	if (!l->owner_waits || l->tx.len > l->tx.size / 2)
		return;
	l->owner_waits = false;
	l->link.owner->writable(l->link.owner_arg);
	dgram_flush(&l->link);
}

static void on_event(void *arg, unsigned int events)
{
	struct link_dgram *l = arg;

	if (events & LOOP_WRITE && l->is_up)
		on_writable(l);
	if (!(events & LOOP_READ))
		return;
	for (int i = 0; i < RX_CALLS; i++)
		if (receive_batch(l) < RX_BATCH)
			break;
}

static void on_retry(void *arg)
{
	struct link_dgram *l = arg;

	if (l->is_up || l->is_bound)
		want(l, l->wanted | LOOP_READ);
	if (l->is_up && l->is_blocked)
		on_writable(l);
}

/* ---- constructors ---- */

static void dgram_free(struct link *link)
{
	struct link_dgram *l = from_link(link);

	loop_cancel_deferred(&l->announce_down);
	timer_free(l->retry);
	timer_free(l->look_after);
	watch_free(l->watch);
	if (l->is_bound)
		unix_socket_close(&l->socket);
	else if (l->socket.fd >= 0)
		close(l->socket.fd);
	for (int i = 0; i < RX_BATCH; i++)
		buffer_unref(l->buffers[i]);
	buffer_pool_deinit(&l->pool);
	frame_queue_deinit(&l->tx);
	free(l);
}

static void dgram_start(struct link *link)
{
	struct link_dgram *l = from_link(link);

	want(l, LOOP_READ);
	if (l->is_up)
		announce_up(l);
}

static const struct link_ops dgram_ops = {
	.start = dgram_start,
	.send = dgram_send,
	.flush = dgram_flush,
	.free = dgram_free,
};

static int link_new(struct loop *loop, uint16_t mtu, struct link_dgram **out)
{
	struct link_dgram *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return -ENOMEM;
	l->link.ops = &dgram_ops;
	l->link.caps = (struct link_caps){ .mtu = mtu, .lossless = true };
	l->loop = loop;
	l->socket.fd = -1;
	buffer_pool_init(&l->pool, FRAME_MAX_SIZE, RX_BUFFERS);
	loop_deferred_init(&l->announce_down, on_announce_down, l);
	r = frame_queue_init(&l->tx, TX_QUEUE_SIZE);
	if (r == 0)
		r = timer_new(loop, on_retry, l, &l->retry);
	if (r == 0)
		r = timer_new(loop, on_look_after, l, &l->look_after);
	if (r < 0) {
		dgram_free(&l->link);
		return r;
	}
	*out = l;
	return 0;
}

/* Datagrams that the kernel lets a reader be behind, net.unix.max_dgram_qlen. */
static int queue_length(void)
{
	char text[16] = "";
	int fd = open("/proc/sys/net/unix/max_dgram_qlen", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	return n > 0 ? (int)strtol(text, NULL, 10) : 10;
}

/* A full queue of the guest's wakes us for every datagram it takes; a full
 * buffer of ours only when three quarters are free again. So the buffer is to
 * be full first: a wake-up then moves many small datagrams. */
static int socket_buffer_size(const struct link_dgram *l)
{
	int size = queue_length() * SMALL_DATAGRAM_COST / 2;

	if (l->link.caps.mtu > SMALL_MTU || size > SOCKET_BUFFER_SIZE)
		return SOCKET_BUFFER_SIZE;
	return size;
}

static int watch_socket(struct link_dgram *l)
{
	const int size = socket_buffer_size(l);

	(void)setsockopt(l->socket.fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	return watch_new(l->loop, l->socket.fd, on_event, l, &l->watch);
}

int link_dgram_bind(struct loop *loop, const char *path, uint16_t mtu, struct link **out)
{
	struct link_dgram *l;
	int r = link_new(loop, mtu, &l);

	if (r < 0)
		return r;
	(void)snprintf(l->link.name, sizeof(l->link.name), "dgram:%s", path);
	l->is_bound = true;
	r = unix_socket_bind(SOCK_DGRAM, path, &l->socket);
	if (r == 0)
		r = watch_socket(l);
	if (r < 0) {
		dgram_free(&l->link);
		return r;
	}
	*out = &l->link;
	return 0;
}

/* Makes fd non-blocking; says which of the two types it is. */
static int check_fd(int fd, bool *is_seqpacket)
{
	int type;
	socklen_t len = sizeof(type);
	int flags;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
		return -errno;
	if (type != SOCK_DGRAM && type != SOCK_SEQPACKET)
		return -EPROTOTYPE;
	*is_seqpacket = type == SOCK_SEQPACKET;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	return fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ? -errno : 0;
}

int link_dgram_from_fd(struct loop *loop, int fd, uint16_t mtu, struct link **out)
{
	struct link_dgram *l;
	bool is_seqpacket = false;
	int r = check_fd(fd, &is_seqpacket);

	if (r >= 0)
		r = link_new(loop, mtu, &l);
	if (r < 0) {
		close(fd);
		return r;
	}
	(void)snprintf(l->link.name, sizeof(l->link.name), "dgram:fd %d", fd);
	l->is_seqpacket = is_seqpacket;
	l->socket.fd = fd;
	r = watch_socket(l);
	if (r < 0) {
		dgram_free(&l->link);
		return r;
	}
	l->is_up = true;
	*out = &l->link;
	return 0;
}
