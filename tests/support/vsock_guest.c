/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/vsock_guest.h"

#include <stdlib.h>
#include <string.h>

enum { TO_GUEST, FROM_GUEST };

/* Memory behind the rings: a buffer for each descriptor to the guest, then one of
 * 128 KiB for what it sends; the device reads that before the next one. */
#define SEND_AT ((size_t)FRONT_END_RING * VSOCK_GUEST_BUFFER)

struct vsock_header vsock_guest_header(enum vsock_op op, uint32_t host_port)
{
	return (struct vsock_header){
		.src_cid = VSOCK_GUEST_CID,
		.dst_cid = 2,
		.src_port = VSOCK_GUEST_PORT,
		.dst_port = host_port,
		.type = VSOCK_TYPE_STREAM,
		.op = (uint16_t)op,
		.buf_alloc = 65536,
	};
}

void vsock_guest_send(struct front_end *fe, const struct vsock_header *header, const void *payload)
{
	struct driver_ring *ring = &fe->rings[FROM_GUEST];
	uint16_t at = ring->next_avail & (FRONT_END_RING - 1);
	uint8_t *bytes = fe->ram.bytes + fe->free_at + SEND_AT;
	const struct driver_desc d = {
		.addr = RAM_GUEST_ADDR + fe->free_at + SEND_AT,
		.len = VSOCK_HEADER_SIZE + header->len,
	};
	uint32_t head, len;

	while (driver_ring_take(ring, &head, &len))
		;
	vsock_header_encode(header, bytes);
	if (header->len)
		memcpy(bytes + VSOCK_HEADER_SIZE, payload, header->len);
	driver_ring_set(ring, at, d);
	driver_ring_offer(ring, at);
	front_end_kick(fe, FROM_GUEST);
}

void vsock_guest_offer(struct front_end *fe, unsigned int n)
{
	struct driver_ring *ring = &fe->rings[TO_GUEST];

	for (unsigned int i = 0; i < n; i++) {
		uint16_t at = ring->next_avail & (FRONT_END_RING - 1);
		const struct driver_desc d = {
			.addr = RAM_GUEST_ADDR + fe->free_at + (size_t)at * VSOCK_GUEST_BUFFER,
			.len = VSOCK_GUEST_BUFFER,
			.flags = DESC_WRITE,
		};

		driver_ring_set(ring, at, d);
		driver_ring_offer(ring, at);
	}
}

bool vsock_guest_take(struct front_end *fe, struct vsock_packet *packet)
{
	const uint8_t *bytes;
	uint32_t head, len;

	if (!driver_ring_take(&fe->rings[TO_GUEST], &head, &len))
		return false;
	bytes = fe->ram.bytes + fe->free_at + (size_t)head * VSOCK_GUEST_BUFFER;
	vsock_header_decode(bytes, &packet->header);
	if (len != VSOCK_HEADER_SIZE + packet->header.len)
		abort();
	memcpy(packet->payload, bytes + VSOCK_HEADER_SIZE, packet->header.len);
	return true;
}
