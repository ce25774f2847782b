/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/frame.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "netstack/checksum.h"

size_t frame_copy(const struct frame *f, size_t offset, void *to, size_t len)
{
	uint8_t *out = to;
	size_t copied = 0;

	for (int i = 0; i < f->n_refs && copied < len; i++) {
		size_t have = f->refs[i].iov_len;
		size_t n;

		if (offset >= have) {
			offset -= have;
			continue;
		}
		n = have - offset < len - copied ? have - offset : len - copied;
		memcpy(out + copied, (uint8_t *)f->refs[i].iov_base + offset, n);
		copied += n;
		offset = 0;
	}
	return copied;
}

void frame_finish_checksum(struct frame *f)
{
	size_t field = (size_t)f->offload.csum_start + f->offload.csum_offset;
	uint16_t sum;

	if (!f->offload.csum_partial)
		return;
	sum = checksum_finish(checksum_iov(0, f->refs, f->n_refs, f->offload.csum_start));
	if (sum == 0)
		sum = 0xffff; /* the same number; zero means "none" to UDP */
	assert(field + 2 <= f->refs[0].iov_len);
	memcpy((uint8_t *)f->refs[0].iov_base + field, &sum, 2);
	f->offload.csum_partial = false;
}

/* Little-endian fields of struct virtio_net_hdr_v1. */
enum {
	VNET_FLAGS,
	VNET_GSO_TYPE,
	VNET_HDR_LEN,
	VNET_GSO_SIZE = 4,
	VNET_CSUM_START = 6,
	VNET_CSUM_OFFSET = 8,
	VNET_NUM_BUFFERS = 10
};
#define VNET_F_NEEDS_CSUM 1
#define VNET_GSO_ECN 0x80

static void put_le16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static uint16_t get_le16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

void frame_encode_vnet(const struct frame *f, uint8_t header[static VNET_HEADER_SIZE])
{
	memset(header, 0, VNET_HEADER_SIZE);
	header[VNET_FLAGS] = f->offload.csum_partial ? VNET_F_NEEDS_CSUM : 0;
	header[VNET_GSO_TYPE] = (uint8_t)f->offload.gso;
	put_le16(header + VNET_HDR_LEN, f->offload.header_size);
	put_le16(header + VNET_GSO_SIZE, f->offload.gso_size);
	put_le16(header + VNET_CSUM_START, f->offload.csum_start);
	put_le16(header + VNET_CSUM_OFFSET, f->offload.csum_offset);
	put_le16(header + VNET_NUM_BUFFERS, 1);
}

int frame_decode_vnet(const uint8_t header[static VNET_HEADER_SIZE], size_t frame_len,
		      struct frame_offload *out)
{
	struct frame_offload o = {
		.gso = (enum frame_gso)(header[VNET_GSO_TYPE] & ~VNET_GSO_ECN),
		.gso_size = get_le16(header + VNET_GSO_SIZE),
		.header_size = get_le16(header + VNET_HDR_LEN),
		.csum_partial = header[VNET_FLAGS] & VNET_F_NEEDS_CSUM,
		.csum_start = get_le16(header + VNET_CSUM_START),
		.csum_offset = get_le16(header + VNET_CSUM_OFFSET),
	};

	if (o.csum_partial && (size_t)o.csum_start + o.csum_offset + 2 > frame_len)
		return -EINVAL;
	if (o.gso == FRAME_GSO_NONE)
		o.gso_size = o.header_size = 0;
	else if ((o.gso != FRAME_GSO_TCP4 && o.gso != FRAME_GSO_TCP6) || o.gso_size == 0 ||
		 o.header_size > frame_len)
		return -EINVAL;
	*out = o;
	return 0;
}
