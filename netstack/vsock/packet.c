/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/vsock/packet.h"

#include <assert.h>
#include <endian.h>
#include <string.h>

/* The wire form; no field needs padding. */
struct wire {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port, len;
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
} __attribute__((packed));

static_assert(sizeof(struct wire) == VSOCK_HEADER_SIZE, "as specified");

void vsock_header_encode(const struct vsock_header *h, uint8_t out[static VSOCK_HEADER_SIZE])
{
	const struct wire w = {
		.src_cid = htole64(h->src_cid),
		.dst_cid = htole64(h->dst_cid),
		.src_port = htole32(h->src_port),
		.dst_port = htole32(h->dst_port),
		.len = htole32(h->len),
		.type = htole16(h->type),
		.op = htole16(h->op),
		.flags = htole32(h->flags),
		.buf_alloc = htole32(h->buf_alloc),
		.fwd_cnt = htole32(h->fwd_cnt),
	};

	memcpy(out, &w, sizeof(w));
}

void vsock_header_decode(const uint8_t in[static VSOCK_HEADER_SIZE], struct vsock_header *h)
{
	struct wire w;

	memcpy(&w, in, sizeof(w));
	*h = (struct vsock_header){
		.src_cid = le64toh(w.src_cid),
		.dst_cid = le64toh(w.dst_cid),
		.src_port = le32toh(w.src_port),
		.dst_port = le32toh(w.dst_port),
		.len = le32toh(w.len),
		.type = le16toh(w.type),
		.op = le16toh(w.op),
		.flags = le32toh(w.flags),
		.buf_alloc = le32toh(w.buf_alloc),
		.fwd_cnt = le32toh(w.fwd_cnt),
	};
}
