/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/vhost_user/message.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define VERSION 1U
#define VERSION_MASK 3U

int vhost_message_take_fd(struct vhost_message *m, unsigned int i)
{
	int fd;

	if (i >= m->n_fds)
		return -1;
	fd = m->fds[i];
	m->fds[i] = -1;
	return fd;
}

void vhost_message_close_fds(struct vhost_message *m)
{
	for (unsigned int i = 0; i < m->n_fds; i++) {
		if (m->fds[i] >= 0)
			close(m->fds[i]);
	}
	m->n_fds = 0;
}

void vhost_receiver_next(struct vhost_receiver *receiver)
{
	vhost_message_close_fds(&receiver->message);
	receiver->have = 0;
}

/* Space for more than we take, so that too many are seen and can be closed. */
union control {
	char bytes[CMSG_SPACE((VHOST_MAX_FDS + 1) * sizeof(int))];
	struct cmsghdr align;
};

static bool keep_fd(struct vhost_message *m, int fd)
{
	if (m->n_fds == VHOST_MAX_FDS) {
		close(fd);
		return false;
	}
	m->fds[m->n_fds++] = fd;
	return true;
}

static int take_fds(struct vhost_message *m, struct msghdr *msg)
{
	bool fit = !(msg->msg_flags & MSG_CTRUNC);

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		const unsigned char *at = CMSG_DATA(c);
		int fd;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t left = c->cmsg_len - CMSG_LEN(0); left; left -= sizeof(fd)) {
			memcpy(&fd, at, sizeof(fd));
			at += sizeof(fd);
			fit &= keep_fd(m, fd);
		}
	}
	return fit ? 0 : -EPROTO;
}

/* One read towards a total of `want` bytes. */
static int receive_some(struct vhost_receiver *r, int fd, size_t want)
{
	struct vhost_message *m = &r->message;
	bool is_header = r->have < VHOST_HEADER_SIZE;
	uint8_t *at =
		is_header ? (uint8_t *)m + r->have : m->payload + (r->have - VHOST_HEADER_SIZE);
	struct iovec iov = { at, want - r->have };
	union control control;
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.bytes,
			      .msg_controllen = sizeof(control.bytes) };
	ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	if (n == 0)
		return -ECONNRESET;
	r->have += (size_t)n;
	return take_fds(m, &msg);
}

int vhost_receive(struct vhost_receiver *r, int fd)
{
	struct vhost_message *m = &r->message;
	int e = 0;

	while (e == 0 && r->have < VHOST_HEADER_SIZE)
		e = receive_some(r, fd, VHOST_HEADER_SIZE);
	if (e < 0)
		return e;
	if ((m->flags & VERSION_MASK) != VERSION || (m->flags & VHOST_FLAG_REPLY) ||
	    m->size > VHOST_MAX_PAYLOAD)
		return -EPROTO;
	while (e == 0 && r->have < VHOST_HEADER_SIZE + m->size)
		e = receive_some(r, fd, VHOST_HEADER_SIZE + m->size);
	return e < 0 ? e : 1;
}

int vhost_reply(int fd, uint32_t request, const void *payload, size_t size)
{
	uint32_t header[3] = { request, VERSION | VHOST_FLAG_REPLY, (uint32_t)size };
	struct iovec iov[2] = { { header, sizeof(header) }, { (void *)(uintptr_t)payload, size } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	ssize_t n = sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0)
		return -errno;
	return (size_t)n == sizeof(header) + size ? 0 : -EAGAIN;
}
