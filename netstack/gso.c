/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/gso.h"

#include <errno.h>
#include <string.h>

#include "netstack/base/bytes.h"
#include "netstack/checksum.h"

#define TCP_SEQ 4U
#define TCP_OFFSET 12U
#define TCP_FLAGS 13U
#define TCP_CHECKSUM 16U
#define FLAG_FIN 0x01U
#define FLAG_PSH 0x08U
#define FLAG_CWR 0x80U

struct cut {
	const struct frame *whole;
	size_t tcp;	    /* where the TCP header is */
	size_t headers;	    /* where the payload starts */
	size_t tcp_len;	    /* of the whole frame, as the pseudo header has it */
	unsigned int index; /* of the segment being made */
	uint8_t bytes[FRAME_MAX_HEADERS];
};

static void add_payload(struct frame *to, const struct frame *from, size_t offset, size_t len)
{
	for (int i = 0; i < from->n_refs && len; i++) {
		size_t have = from->refs[i].iov_len, n;

		if (offset >= have) {
			offset -= have;
			continue;
		}
		n = have - offset < len ? have - offset : len;
		frame_add(to, (uint8_t *)from->refs[i].iov_base + offset, n);
		len -= n;
		offset = 0;
	}
}

static void put_lengths(struct cut *c, size_t len)
{
	uint8_t *ip = c->bytes + ETH_HEADER_SIZE;
	size_t ip_len = c->headers - ETH_HEADER_SIZE + len;
	size_t ip_size = (ip[0] & 15U) * (size_t)4;
	uint16_t sum = 0;

	if (c->whole->offload.gso == FRAME_GSO_TCP6) {
		put_be16(ip + 4, (uint16_t)(ip_len - 40));
		return;
	}
	put_be16(ip + 2, (uint16_t)ip_len);
	put_be16(ip + 4, (uint16_t)(get_be16(ip + 4) + c->index));
	memcpy(ip + 10, &sum, 2);
	sum = checksum_finish(checksum_add(0, ip, ip_size));
	memcpy(ip + 10, &sum, 2);
}

/* The field holds the sum of the pseudo header: all of it but the length stays
 * as the sender has it (RFC 1624). */
static void put_checksum(struct cut *c, size_t len)
{
	uint8_t *field = c->bytes + c->tcp + TCP_CHECKSUM;
	size_t tcp_len = c->headers - c->tcp + len;
	uint8_t be_old[2], be_new[2];
	uint16_t was, is, sum;

	put_be16(be_old, (uint16_t)c->tcp_len);
	put_be16(be_new, (uint16_t)tcp_len);
	memcpy(&was, be_old, 2);
	memcpy(&is, be_new, 2);
	memcpy(&sum, field, 2);
	sum = checksum_fold((uint64_t)sum + (uint16_t)~was + is);
	memcpy(field, &sum, 2);
}

static void put_flags(struct cut *c, bool is_last)
{
	uint8_t *flags = c->bytes + c->tcp + TCP_FLAGS;

	if (!is_last)
		*flags &= (uint8_t) ~(FLAG_FIN | FLAG_PSH);
	if (c->index > 0)
		*flags &= (uint8_t)~FLAG_CWR;
}

static int make_segment(struct cut *c, size_t offset, size_t len, gso_fn *fn, void *arg)
{
	const struct frame *whole = c->whole;
	struct frame segment;

	memcpy(c->bytes, whole->refs[0].iov_base, c->headers);
	put_lengths(c, len);
	put_be32(c->bytes + c->tcp + TCP_SEQ,
		 get_be32(c->bytes + c->tcp + TCP_SEQ) + (uint32_t)offset);
	put_flags(c, c->headers + offset + len == whole->len);
	put_checksum(c, len);
	frame_init(&segment);
	segment.owner = whole->owner;
	segment.offload.csum_partial = true;
	segment.offload.csum_start = whole->offload.csum_start;
	segment.offload.csum_offset = whole->offload.csum_offset;
	frame_add(&segment, c->bytes, c->headers);
	add_payload(&segment, whole, c->headers + offset, len);
	c->index++;
	return fn(arg, &segment);
}

int gso_cut(const struct frame *f, gso_fn *fn, void *arg)
{
	struct cut c = { .whole = f, .tcp = f->offload.csum_start };
	const uint8_t *bytes = f->refs[0].iov_base;
	size_t payload, offset = 0, size = f->offload.gso_size;
	int r;

	c.headers = c.tcp + (size_t)(bytes[c.tcp + TCP_OFFSET] >> 4) * 4;
	/* a segment may need one reference more than the whole */
	if (size < GSO_MIN_SIZE || c.headers > sizeof(c.bytes) || f->n_refs == FRAME_MAX_REFS)
		return -EMSGSIZE;
	payload = f->len - c.headers;
	c.tcp_len = f->len - c.tcp;
	do {
		size_t len = payload - offset < size ? payload - offset : size;

		r = make_segment(&c, offset, len, fn, arg);
		offset += len;
	} while (r == 0 && offset < payload);
	return r;
}
