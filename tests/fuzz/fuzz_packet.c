/* SPDX-License-Identifier: Apache-2.0 */
/* A virtio-net header and a frame, as a guest may write them: refused, or
 * understood in a way that stays true when the checksum is finished. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "netstack/base/bytes.h"
#include "netstack/checksum.h"
#include "netstack/frame.h"
#include "netstack/packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
	if (!holds)
		abort();
}

/* Or hardly any input would get past it. */
static void fix_ip4_checksum(uint8_t *bytes, size_t len)
{
	size_t size = len > ETH_HEADER_SIZE ? (bytes[ETH_HEADER_SIZE] & 15U) * 4 : 0;
	uint8_t *ip = bytes + ETH_HEADER_SIZE;
	uint16_t sum;

	if (size < 20 || len < ETH_HEADER_SIZE + size || get_be16(bytes + 12) != ETHERTYPE_IP4)
		return;
	put_be16(ip + 10, 0);
	sum = checksum_finish(checksum_add(0, ip, size));
	memcpy(ip + 10, &sum, 2);
}

static void check_packet(const struct frame *frame, const struct packet *p)
{
	const uint8_t *start = frame->refs[0].iov_base;
	const uint8_t *end = start + frame->refs[0].iov_len;

	check(frame->n_refs == 1 && frame->refs[0].iov_len == frame->len);
	if (p->kind == PACKET_ARP)
		return;
	check(p->ip == start + ETH_HEADER_SIZE);
	check(frame->len == ETH_HEADER_SIZE + p->ip_len);
	check(p->ip_header_size >= (p->is_v4 ? 20 : 40));
	check(p->l4 == p->ip + p->ip_header_size);
	check(p->l4 + p->l4_header_size <= end);
	check(ipaddr_is_v4(&p->src.addr) == p->is_v4 && ipaddr_is_v4(&p->dst.addr) == p->is_v4);
	check(!ipaddr_is_multicast(&p->src.addr) && !ipaddr_is_loopback(&p->src.addr));
	if (frame->offload.gso != FRAME_GSO_NONE)
		check(p->kind == PACKET_TCP);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct packet before, after;
	struct frame frame;
	uint8_t *copy;
	size_t len;

	if (size < VNET_HEADER_SIZE)
		return 0;
	len = size - VNET_HEADER_SIZE;
	frame_init(&frame);
	if (frame_decode_vnet(data, len, &frame.offload) < 0)
		return 0;
	copy = malloc(len ? len : 1);
	check(copy != NULL);
	memcpy(copy, data + VNET_HEADER_SIZE, len);
	fix_ip4_checksum(copy, len);
	frame_add(&frame, copy, len);
	if (packet_parse(&frame, &before) == PACKET_OK) {
		check_packet(&frame, &before);
		frame_finish_checksum(&frame);
		frame.offload.gso = FRAME_GSO_NONE; /* goes with a partial checksum */
		check(packet_parse(&frame, &after) == PACKET_OK);
		check(memcmp(&before, &after, sizeof(before)) == 0);
	}
	free(copy);
	return 0;
}
