/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* struct virtio_vsock_hdr (virtio 1.1, section 5.10.6): 44 bytes, little-endian. */
#include <stdint.h>

#define VSOCK_HEADER_SIZE 44U

#define VSOCK_TYPE_STREAM 1U

enum vsock_op {
	VSOCK_OP_REQUEST = 1,
	VSOCK_OP_RESPONSE = 2,
	VSOCK_OP_RST = 3,
	VSOCK_OP_SHUTDOWN = 4,
	VSOCK_OP_RW = 5,
	VSOCK_OP_CREDIT_UPDATE = 6,
	VSOCK_OP_CREDIT_REQUEST = 7,
};

/* Flags of SHUTDOWN: what its sender does no more. */
#define VSOCK_SHUTDOWN_RECEIVE 1U
#define VSOCK_SHUTDOWN_SEND 2U
#define VSOCK_SHUTDOWN_BOTH 3U

struct vsock_header {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port;
	uint32_t len; /* of the payload */
	uint16_t type;
	uint16_t op;
	uint32_t flags;
	uint32_t buf_alloc; /* room for what the sender receives, all in all */
	uint32_t fwd_cnt;   /* bytes that have left that room, modulo 2^32 */
};

void vsock_header_encode(const struct vsock_header *h, uint8_t out[static VSOCK_HEADER_SIZE]);
void vsock_header_decode(const uint8_t in[static VSOCK_HEADER_SIZE], struct vsock_header *h);
