/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Messages between a vhost-user front end (QEMU, User-Mode Linux) and us, its
 * back end: three words, a payload and descriptors, on a UNIX stream socket, in
 * the byte order of the machine (QEMU docs/interop/vhost-user.rst, "Message
 * Specification"). */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum vhost_request {
	VHOST_GET_FEATURES = 1,
	VHOST_SET_FEATURES = 2,
	VHOST_SET_OWNER = 3,
	VHOST_RESET_OWNER = 4,
	VHOST_SET_MEM_TABLE = 5,
	VHOST_SET_VRING_NUM = 8,
	VHOST_SET_VRING_ADDR = 9,
	VHOST_SET_VRING_BASE = 10,
	VHOST_GET_VRING_BASE = 11,
	VHOST_SET_VRING_KICK = 12,
	VHOST_SET_VRING_CALL = 13,
	VHOST_SET_VRING_ERR = 14,
	VHOST_GET_PROTOCOL_FEATURES = 15,
	VHOST_SET_PROTOCOL_FEATURES = 16,
	VHOST_GET_QUEUE_NUM = 17,
	VHOST_SET_VRING_ENABLE = 18,
	VHOST_SET_BACKEND_REQ_FD = 21,
	VHOST_GET_CONFIG = 24,
	VHOST_RESET_DEVICE = 34,
};

/* Bits of GET_PROTOCOL_FEATURES. */
#define VHOST_PROTOCOL_F_REPLY_ACK 3U
#define VHOST_PROTOCOL_F_BACKEND_REQ 5U
#define VHOST_PROTOCOL_F_CONFIG 9U
#define VHOST_PROTOCOL_F_RESET_DEVICE 13U

/* In the flags word, besides the version, 1, in the two lowest bits. */
#define VHOST_FLAG_REPLY 4U
#define VHOST_FLAG_NEED_REPLY 8U

#define VHOST_MAX_FDS 8U
/* The largest that we know is a memory table, 8 + 8 * 32 bytes, or the space of
 * a device's configuration, 12 + 256. */
#define VHOST_MAX_PAYLOAD 512U
#define VHOST_HEADER_SIZE 12U

struct vhost_message {
	uint32_t request, flags, size;
	uint32_t unused; /* aligns the payload */
	uint8_t payload[VHOST_MAX_PAYLOAD];
	unsigned int n_fds;
	int fds[VHOST_MAX_FDS]; /* the message's, until taken */
};

/* Descriptor i is the caller's from now on; -1 when there was none. */
int vhost_message_take_fd(struct vhost_message *m, unsigned int i);
/* Closes those that nobody took. */
void vhost_message_close_fds(struct vhost_message *m);

/* A message on its way in; all zero at the start. */
struct vhost_receiver {
	struct vhost_message message;
	size_t have; /* bytes of header and payload */
};

/* Reads what there is of one message. 1 when it is whole: it is the caller's
 * until vhost_receiver_next(). -EAGAIN; -ECONNRESET when the peer has closed;
 * -EPROTO for what is no message, or more descriptors than one may have. */
int vhost_receive(struct vhost_receiver *receiver, int fd);
/* Closes the descriptors that are left, and begins a new message. */
void vhost_receiver_next(struct vhost_receiver *receiver);

/* Sends an answer, whole or not at all: -EAGAIN from a peer that does not read. */
int vhost_reply(int fd, uint32_t request, const void *payload, size_t size);
