/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/ssh/ssh_transport.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A packet is at most 35000 bytes (RFC 4253, section 6.1); that many answers to
 * what one round receives may be kept. */
#define KEPT_SIZE (512UL * 1024)
#define KEPT_FULL (64UL * 1024)
/* What comes in less than this is no bulk transfer. */
#define SMALL 4096
/* Of the agent: somebody may have to confirm. */
#define AGENT_PATIENCE_MS 20000

int ssh_transport_init(struct ssh_transport *t, int fd)
{
	*t = (struct ssh_transport){ .fd = fd, .may_receive = SIZE_MAX };
	t->kept = malloc(KEPT_SIZE);
	if (t->kept)
		return 0;
	close(fd);
	return -ENOMEM;
}

void ssh_transport_deinit(struct ssh_transport *t)
{
	free(t->kept);
	close(t->fd);
}

void ssh_transport_allow(struct ssh_transport *t, size_t n)
{
	t->may_receive = n;
	t->is_dry = false;
}

bool ssh_transport_has_more(const struct ssh_transport *t)
{
	return !t->is_dry && ssh_transport_has_room(t);
}

bool ssh_transport_has_room(const struct ssh_transport *t)
{
	return t->kept_len < KEPT_FULL;
}

short ssh_transport_events(const struct ssh_transport *t)
{
	short events = 0;

	if (ssh_transport_has_room(t))
		events |= POLLIN;
	if (t->kept_len > 0)
		events |= POLLOUT;
	return events;
}

static ssize_t send_now(struct ssh_transport *t, const void *bytes, size_t len)
{
	ssize_t n = send(t->fd, bytes, len, MSG_NOSIGNAL | (t->has_more_to_send ? MSG_MORE : 0));

	if (n >= 0) {
		t->is_corked = t->has_more_to_send;
		return n;
	}
	if (errno == EAGAIN || errno == EINTR)
		return 0;
	t->is_dead = true;
	return -errno;
}

int ssh_transport_flush(struct ssh_transport *t)
{
	ssize_t n = 0;

	if (t->kept_len > 0)
		n = send_now(t, t->kept + t->kept_start, t->kept_len);
	if (n < 0)
		return (int)n;
	t->kept_start += (size_t)n;
	t->kept_len -= (size_t)n;
	if (t->kept_len == 0)
		t->kept_start = 0;
	return 0;
}

/* Setting TCP_NODELAY, which it has, is how TCP is told (tcp(7)); others do not wait. */
void ssh_transport_push(struct ssh_transport *t)
{
	const int one = 1;

	if (t->is_corked)
		(void)setsockopt(t->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	t->is_corked = false;
}

static int keep(struct ssh_transport *t, const uint8_t *bytes, size_t len)
{
	if (len > KEPT_SIZE - t->kept_len) {
		t->is_dead = true;
		return -ENOBUFS;
	}
	if (len > KEPT_SIZE - t->kept_start - t->kept_len) {
		memmove(t->kept, t->kept + t->kept_start, t->kept_len);
		t->kept_start = 0;
	}
	memcpy(t->kept + t->kept_start + t->kept_len, bytes, len);
	t->kept_len += len;
	return 0;
}

static int wait_for_agent(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, AGENT_PATIENCE_MS) == 1 ? 0 : -ETIMEDOUT;
}

static ssize_t send_to_agent(int fd, const void *bytes, size_t len)
{
	ssize_t r = wait_for_agent(fd, POLLOUT);

	if (r == 0)
		r = send(fd, bytes, len, MSG_NOSIGNAL);
	return r < 0 ? -ECONNRESET : r;
}

static ssize_t receive_from_agent(int fd, void *bytes, size_t len)
{
	ssize_t r = wait_for_agent(fd, POLLIN);

	if (r == 0)
		r = recv(fd, bytes, len, 0);
	return r < 0 ? -ECONNRESET : r;
}

ssize_t ssh_transport_send(int fd, const void *bytes, size_t len, int flags, void **abstract)
{
	struct ssh_transport *t = *abstract;
	ssize_t n = 0;
	int r;

	(void)flags;
	if (fd != t->fd)
		return send_to_agent(fd, bytes, len);
	if (t->is_dead)
		return -ECONNRESET;
	if (t->kept_len == 0)
		n = send_now(t, bytes, len);
	if (n < 0 || (size_t)n == len)
		return n;
	r = keep(t, (const uint8_t *)bytes + n, len - (size_t)n);
	return r < 0 ? r : (ssize_t)len;
}

/* sshd does not set TCP_NODELAY: what it says next may wait for this, and by default
 * the kernel takes 40 ms over it (tcp(7), TCP_QUICKACK, which does not last). */
static void acknowledge(struct ssh_transport *t)
{
	const int one = 1;

	(void)setsockopt(t->fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof(one)); /* if it is TCP */
}

ssize_t ssh_transport_receive(int fd, void *bytes, size_t len, int flags, void **abstract)
{
	struct ssh_transport *t = *abstract;
	ssize_t n;

	(void)flags;
	if (fd != t->fd)
		return receive_from_agent(fd, bytes, len);
	if (t->is_dead)
		return -ECONNRESET;
	if (t->may_receive == 0 || !ssh_transport_has_more(t))
		return -EAGAIN;
	n = recv(fd, bytes, len, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		t->is_dry = true;
		return -EAGAIN;
	}
	if (n <= 0) {
		t->is_dead = true;
		return -ECONNRESET;
	}
	if (n < SMALL)
		acknowledge(t);
	t->is_dry = (size_t)n < len;
	t->n_received += (uint64_t)n;
	t->may_receive -= (size_t)n < t->may_receive ? (size_t)n : t->may_receive;
	return n;
}
