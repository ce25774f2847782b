/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/guest_datagram.h"

#include <stdlib.h>
#include <string.h>

#include "netstack/reassembly.h"

#define MOST_IN_ONE_PIECE 1400U

void guest_send_ip(struct guest *g, const struct wire *w, uint8_t protocol, const uint8_t *message,
		   size_t len)
{
	static uint8_t bytes[FRAME_MAX_SIZE];
	static uint32_t id;

	if (len <= MOST_IN_ONE_PIECE) {
		guest_send(g, bytes, wire_ip(bytes, w, protocol, message, len));
		return;
	}
	id++;
	for (size_t at = 0; at < len; at += MOST_IN_ONE_PIECE) {
		bool has_more = len - at > MOST_IN_ONE_PIECE;
		struct wire_piece piece = {
			.id = id,
			.protocol = protocol,
			.offset = at,
			.len = has_more ? MOST_IN_ONE_PIECE : len - at,
			.has_more = has_more,
		};

		guest_send(g, bytes, wire_fragment(bytes, w, &piece, message));
	}
}

void guest_send_udp(struct guest *g, const struct wire *w, const uint8_t *payload, size_t len)
{
	static uint8_t bytes[FRAME_MAX_SIZE];
	size_t udp = wire_udp(bytes, w, payload, len) - 8 - len;

	guest_send_ip(g, w, IP_PROTO_UDP, bytes + udp, 8 + len);
}

/* Puts the next fragments together; their packet's length, or 0. */
static size_t take_fragments(struct guest *g, uint8_t *bytes)
{
	struct reassembly reassembly = { 0 };
	struct sent_frame *s;
	struct frame frame, whole;
	size_t len = 0;

	while (len == 0 && (s = guest_take(g, PACKET_FRAGMENT))) {
		frame_init(&frame);
		frame_add(&frame, s->bytes, s->len);
		if (reassembly_add(&reassembly, &frame, &s->packet, 0, &whole))
			len = frame_copy(&whole, 0, bytes, FRAME_MAX_SIZE);
		free(s);
	}
	reassembly_deinit(&reassembly);
	return len;
}

const uint8_t *guest_take_message(struct guest *g, enum packet_kind kind, struct packet *p,
				  size_t *len)
{
	static uint8_t bytes[FRAME_MAX_SIZE];
	struct sent_frame *s = guest_take(g, kind);
	struct frame frame;

	if (s) {
		memcpy(bytes, s->bytes, s->len);
		*len = s->len;
		free(s);
	} else {
		*len = take_fragments(g, bytes);
	}
	if (*len == 0)
		return NULL;
	frame_init(&frame);
	frame_add(&frame, bytes, *len);
	if (packet_parse(&frame, p) != PACKET_OK || p->kind != kind ||
	    !wire_has_right_checksum(bytes, *len))
		abort();
	*len -= (size_t)(p->l4 - bytes);
	return p->l4;
}
