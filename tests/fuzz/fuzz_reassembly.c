/* SPDX-License-Identifier: Apache-2.0 */
/* Fragments in any order. Byte i of every datagram is the same, so a datagram that
 * comes out must be a prefix of that: no hole, nothing from elsewhere. */
#include <string.h>

#include "netstack/reassembly.h"
#include "tests/fuzz/cursor.h"
#include "tests/support/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t payload[65536 + 2048];

static void feed(struct reassembly *r, const uint8_t *bytes, size_t len, uint64_t now_ms,
		 bool is_ours)
{
	static uint8_t copy[FRAME_MAX_SIZE];
	uint8_t *exact = malloc(len);
	struct frame frame, whole;
	struct packet p;

	check(exact != NULL);
	memcpy(exact, bytes, len);
	frame_init(&frame);
	frame_add(&frame, exact, len);
	if (packet_parse(&frame, &p) == PACKET_OK && p.kind == PACKET_FRAGMENT &&
	    reassembly_add(r, &frame, &p, now_ms, &whole)) {
		size_t header = ETH_HEADER_SIZE + (p.is_v4 ? 20 : 40);

		check(whole.n_refs == 1 && whole.len > header && whole.len <= FRAME_MAX_SIZE);
		check(frame_copy(&whole, 0, copy, sizeof(copy)) == whole.len);
		if (is_ours)
			check(memcmp(copy + header, payload, whole.len - header) == 0);
		(void)packet_parse(&whole, &p);
	}
	free(exact);
}

static void feed_piece(struct reassembly *r, struct cursor *c, uint64_t now_ms)
{
	static uint8_t bytes[FRAME_MAX_SIZE];
	uint8_t how = take8(c);
	struct wire w = wire_to(how & 1 ? &wire_gateway6 : &wire_gateway4, 0, 0);
	struct wire_piece piece = {
		.id = how >> 4,
		.protocol = how & 2 ? IP_PROTO_TCP : IP_PROTO_UDP,
		.has_more = how & 4,
		.offset = take16(c) & 0xfff8U,
		.len = how & 8 ? take16(c) % 2048 : take8(c) * (size_t)8,
	};

	feed(r, bytes, wire_fragment(bytes, &w, &piece, payload), now_ms, true);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reassembly r = { 0 };
	struct cursor c = { data, size };
	uint64_t now_ms = 1000;
	bool is_ours = take8(&c) & 1;

	for (size_t i = 0; i < sizeof(payload); i++)
		payload[i] = (uint8_t)(i * 31 + i / 256 + 1);
	while (c.left) {
		const uint8_t *bytes;
		size_t len;

		now_ms += take8(&c) * 64U;
		if (is_ours) {
			feed_piece(&r, &c, now_ms);
			continue;
		}
		len = take_bytes(&c, take8(&c) + ETH_HEADER_SIZE, &bytes);
		if (len >= ETH_HEADER_SIZE)
			feed(&r, bytes, len, now_ms, false);
	}
	reassembly_deinit(&r);
	return 0;
}
