/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* One Ethernet frame on its way through the stack: a list of references to
 * bytes that somebody else owns, and what is still to be done to it.
 *
 * References are valid until the call that carries the frame returns. Who
 * needs the bytes for longer takes a reference on `owner`, or copies when
 * owner is NULL. From a link, refs[0] holds all headers (Ethernet to TCP/UDP,
 * or the whole frame if shorter than FRAME_MAX_HEADERS), contiguous, writable
 * and private: the guest cannot change them any more. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "netstack/buffer.h"

#define FRAME_MAX_REFS 64
#define FRAME_MAX_HEADERS 256
#define ETH_HEADER_SIZE 14U
#define ETH_MIN_SIZE 60U
/* The largest IPv6 packet (its length field leaves the header out) behind an
 * Ethernet header. */
#define FRAME_MAX_SIZE (ETH_HEADER_SIZE + 40U + 65535U)

/* What a virtio-net header says (virtio 1.1, section 5.1.6), in host order;
 * the values of gso are those of its gso_type. */
enum frame_gso {
	FRAME_GSO_NONE = 0,
	FRAME_GSO_TCP4 = 1,
	FRAME_GSO_TCP6 = 4,
};

struct frame_offload {
	enum frame_gso gso;
	uint16_t gso_size;    /* payload bytes of each segment to be cut */
	uint16_t header_size; /* bytes before the payload; for gso only */
	bool csum_partial;    /* the checksum field holds the pseudo-header sum */
	uint16_t csum_start;  /* first byte to be summed */
	uint16_t csum_offset; /* where the sum goes, from csum_start */
};

struct frame {
	struct frame_offload offload;
	struct buffer *owner; /* may be NULL */
	size_t len;	      /* sum of the lengths of refs */
	int n_refs;
	struct iovec refs[FRAME_MAX_REFS];
};

static inline void frame_init(struct frame *f)
{
	f->offload = (struct frame_offload){ 0 };
	f->owner = NULL;
	f->len = 0;
	f->n_refs = 0;
}

static inline void frame_add(struct frame *f, const void *data, size_t len)
{
	f->refs[f->n_refs++] = (struct iovec){ (void *)(uintptr_t)data, len };
	f->len += len;
}

/* Copies bytes [offset, offset + len) out; returns how many there were. */
size_t frame_copy(const struct frame *f, size_t offset, void *to, size_t len);

/* Computes the transport checksum that csum_partial asks for and stores it, for
 * a receiver that cannot. The bytes at the checksum field must be writable. */
void frame_finish_checksum(struct frame *f);

/* The wire form: struct virtio_net_hdr_v1, 12 bytes little-endian. */
#define VNET_HEADER_SIZE 12U
void frame_encode_vnet(const struct frame *f, uint8_t header[static VNET_HEADER_SIZE]);
/* Validates against frame_len. -EINVAL: lies about lengths or unknown gso. */
int frame_decode_vnet(const uint8_t header[static VNET_HEADER_SIZE], size_t frame_len,
		      struct frame_offload *out);
