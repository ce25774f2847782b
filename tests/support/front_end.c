/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/front_end.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static void must(bool holds)
{
	if (!holds)
		abort();
}

void front_end_reset_rings(struct front_end *fe)
{
	size_t at = 0;

	for (unsigned int i = 0; i < FRONT_END_QUEUES; i++)
		at = driver_ring_init(&fe->rings[i], &fe->ram, FRONT_END_RING, at);
	fe->free_at = at;
}

void front_end_init(struct front_end *fe, int fd, uint64_t features)
{
	*fe = (struct front_end){ .fd = fd, .features = features };
	guest_ram_init(&fe->ram, FRONT_END_RAM);
	front_end_reset_rings(fe);
	for (unsigned int i = 0; i < FRONT_END_QUEUES; i++) {
		fe->kicks[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		fe->calls[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		must(fe->kicks[i] >= 0 && fe->calls[i] >= 0);
	}
}

void front_end_deinit(struct front_end *fe)
{
	for (unsigned int i = 0; i < FRONT_END_QUEUES; i++) {
		close(fe->kicks[i]);
		close(fe->calls[i]);
	}
	guest_ram_deinit(&fe->ram);
	if (fe->fd >= 0)
		close(fe->fd);
}

/* ---- messages ---- */

static void send_message(struct front_end *fe, const uint32_t header[3], const void *payload,
			 int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { .bytes = { 0 } };
	struct iovec iov[2] = { { (void *)(uintptr_t)header, 12 },
				{ (void *)(uintptr_t)payload, header[2] } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };

	if (fd >= 0) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		CMSG_FIRSTHDR(&msg)->cmsg_level = SOL_SOCKET;
		CMSG_FIRSTHDR(&msg)->cmsg_type = SCM_RIGHTS;
		CMSG_FIRSTHDR(&msg)->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), &fd, sizeof(fd));
	}
	/* the back end may have left already: then so be it */
	(void)!sendmsg(fe->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void front_end_send(struct front_end *fe, enum vhost_request request, const void *payload,
		    size_t size, int fd)
{
	const uint32_t header[3] = { request, 1, (uint32_t)size };

	send_message(fe, header, payload, fd);
}

void front_end_send_ack(struct front_end *fe, enum vhost_request request, const void *payload,
			size_t size, int fd)
{
	const uint32_t header[3] = { request, 1 | VHOST_FLAG_NEED_REPLY, (uint32_t)size };

	send_message(fe, header, payload, fd);
}

void front_end_send_u64(struct front_end *fe, enum vhost_request request, uint64_t value)
{
	front_end_send(fe, request, &value, sizeof(value), -1);
}

int front_end_receive(struct front_end *fe, void *payload, size_t size)
{
	uint32_t header[3];
	ssize_t n = recv(fe->fd, header, sizeof(header), MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN ? -EAGAIN : 0;
	if (n == 0)
		return 0;
	must(n == (ssize_t)sizeof(header) && header[1] == (1 | VHOST_FLAG_REPLY));
	must(header[2] <= size);
	must(header[2] == 0 ||
	     recv(fe->fd, payload, header[2], MSG_DONTWAIT) == (ssize_t)header[2]);
	return (int)header[2];
}

void front_end_negotiate(struct front_end *fe)
{
	front_end_send(fe, VHOST_SET_OWNER, NULL, 0, -1);
	front_end_send_u64(fe, VHOST_SET_PROTOCOL_FEATURES, 1U << VHOST_PROTOCOL_F_REPLY_ACK);
	front_end_send_u64(fe, VHOST_SET_FEATURES, fe->features);
}

void front_end_share_memory(struct front_end *fe)
{
	struct {
		uint32_t n, padding;
		struct guest_region region;
	} table = { 1, 0, guest_ram_region(&fe->ram) };

	front_end_send(fe, VHOST_SET_MEM_TABLE, &table, sizeof(table), fe->ram.fd);
}

void front_end_set_ring(struct front_end *fe, unsigned int queue)
{
	const struct virtqueue_layout l = driver_ring_layout(&fe->rings[queue]);
	const uint32_t size[2] = { queue, l.size }, base[2] = { queue, 0 };
	const struct {
		uint32_t index, flags;
		uint64_t desc, used, avail, log;
	} addr = { queue, 0, l.desc, l.used, l.avail, 0 };

	front_end_send(fe, VHOST_SET_VRING_NUM, size, sizeof(size), -1);
	front_end_send(fe, VHOST_SET_VRING_BASE, base, sizeof(base), -1);
	front_end_send(fe, VHOST_SET_VRING_ADDR, &addr, sizeof(addr), -1);
}

void front_end_set_fds(struct front_end *fe, unsigned int queue)
{
	const uint64_t index = queue;

	front_end_send(fe, VHOST_SET_VRING_CALL, &index, sizeof(index), fe->calls[queue]);
	front_end_send(fe, VHOST_SET_VRING_KICK, &index, sizeof(index), fe->kicks[queue]);
}

void front_end_enable(struct front_end *fe, unsigned int queue, bool is_enabled)
{
	const uint32_t state[2] = { queue, is_enabled };

	front_end_send(fe, VHOST_SET_VRING_ENABLE, state, sizeof(state), -1);
}

/* Enabled before there is anything to enable. */
void front_end_start_like_qemu(struct front_end *fe)
{
	front_end_negotiate(fe);
	for (unsigned int i = 0; i < FRONT_END_QUEUES; i++)
		front_end_enable(fe, i, true);
	front_end_share_memory(fe);
	for (unsigned int i = 0; i < FRONT_END_QUEUES; i++) {
		front_end_set_ring(fe, i);
		front_end_set_fds(fe, i);
	}
}

void front_end_start_like_uml(struct front_end *fe)
{
	front_end_negotiate(fe);
	front_end_share_memory(fe);
	for (unsigned int i = 0; i < FRONT_END_QUEUES; i++)
		front_end_set_ring(fe, i);
	for (unsigned int i = 0; i < FRONT_END_QUEUES; i++) {
		front_end_set_fds(fe, i);
		front_end_enable(fe, i, true);
	}
}

/* ---- the driver ---- */

void front_end_kick(struct front_end *fe, unsigned int queue)
{
	const uint64_t one = 1;

	must(write(fe->kicks[queue], &one, sizeof(one)) == (ssize_t)sizeof(one));
}

bool front_end_was_called(struct front_end *fe, unsigned int queue)
{
	uint64_t count;

	return read(fe->calls[queue], &count, sizeof(count)) == (ssize_t)sizeof(count);
}
