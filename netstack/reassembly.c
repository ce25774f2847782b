/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/reassembly.h"

#include <stdlib.h>
#include <string.h>

#include "netstack/base/bytes.h"

#define UNIT 8U /* offsets count units of 8 bytes */
#define MAX_PAYLOAD 65535U
#define HEADERS (ETH_HEADER_SIZE + 40U)

struct key {
	struct ipaddr src, dst;
	uint32_t id;
	uint32_t protocol; /* IPv4 identifies by it as well */
};

struct reassembly_slot {
	struct key key;
	uint64_t started_ms;
	uint64_t number;   /* counts up: which one is the oldest */
	uint32_t total;	   /* payload bytes, once the last fragment is known */
	uint32_t end;	   /* of what has come so far */
	uint32_t received; /* payload bytes */
	uint8_t have[(MAX_PAYLOAD / UNIT + 1 + 7) / 8]; /* a bit per unit */
	uint8_t bytes[HEADERS + MAX_PAYLOAD];
};

/* One fragment as both families describe it. */
struct piece {
	uint32_t offset, len;
	bool is_last;
	size_t frame_offset; /* of the payload */
};

static bool describe(const struct packet *p, struct key *key, struct piece *piece)
{
	memset(key, 0, sizeof(*key));
	key->src = p->src.addr;
	key->dst = p->dst.addr;
	if (p->is_v4) {
		uint16_t field = get_be16(p->ip + 6);

		key->id = get_be16(p->ip + 4);
		key->protocol = p->protocol;
		piece->offset = (field & 0x1fffU) * UNIT;
		piece->is_last = !(field & 0x2000);
		piece->len = p->ip_len - p->ip_header_size;
		piece->frame_offset = ETH_HEADER_SIZE + p->ip_header_size;
	} else {
		uint16_t field = get_be16(p->l4 + 2);

		key->id = get_be32(p->l4 + 4);
		key->protocol = p->l4[0];
		piece->offset = field & 0xfff8U;
		piece->is_last = !(field & 1);
		piece->len = p->ip_len - p->ip_header_size - 8;
		piece->frame_offset = ETH_HEADER_SIZE + p->ip_header_size + 8;
	}
	if (piece->len == 0 || (!piece->is_last && piece->len % UNIT))
		return false;
	return piece->offset + piece->len <= MAX_PAYLOAD - (p->is_v4 ? 20 : 0);
}

static void drop_slot(struct reassembly *r, unsigned int i)
{
	free(r->slots[i]);
	r->slots[i] = NULL;
	r->dropped++;
}

/* The slot of this datagram, a free one, or that of the oldest. */
static unsigned int choose_slot(struct reassembly *r, const struct key *key, uint64_t now_ms)
{
	unsigned int oldest = 0, free_slot = REASSEMBLY_SLOTS;

	for (unsigned int i = 0; i < REASSEMBLY_SLOTS; i++) {
		const struct reassembly_slot *s = r->slots[i];

		if (s && now_ms - s->started_ms > REASSEMBLY_MAX_AGE_MS) {
			drop_slot(r, i);
			s = NULL;
		}
		if (!s)
			free_slot = i;
		else if (memcmp(&s->key, key, sizeof(*key)) == 0)
			return i;
		else if (!r->slots[oldest] || s->number < r->slots[oldest]->number)
			oldest = i;
	}
	if (free_slot < REASSEMBLY_SLOTS)
		return free_slot;
	drop_slot(r, oldest);
	return oldest;
}

static bool overlaps(const struct reassembly_slot *s, const struct piece *p)
{
	for (uint32_t u = p->offset / UNIT; u * UNIT < p->offset + p->len; u++) {
		if (s->have[u / 8] & 1U << u % 8)
			return true;
	}
	return false;
}

/* False when the fragment contradicts what is known. */
static bool add_piece(struct reassembly_slot *s, const struct frame *frame, const struct piece *p)
{
	uint32_t end = p->offset + p->len;

	if (overlaps(s, p) || (s->total && end > s->total) ||
	    (p->is_last && (s->total || end < s->end)))
		return false;
	if (p->is_last)
		s->total = end;
	if (end > s->end)
		s->end = end;
	for (uint32_t u = p->offset / UNIT; u * UNIT < end; u++)
		s->have[u / 8] |= (uint8_t)(1U << u % 8);
	frame_copy(frame, p->frame_offset, s->bytes + HEADERS + p->offset, p->len);
	s->received += p->len;
	return true;
}

/* Writes the headers of an unfragmented packet in front of the payload. */
static void finish(struct reassembly_slot *s, const struct packet *p, struct frame *whole)
{
	struct ip_fields ip = {
		.src = &s->key.src,
		.dst = &s->key.dst,
		.protocol = (uint8_t)s->key.protocol,
		.payload_len = (uint16_t)s->total,
	};
	unsigned int ip_size = p->is_v4 ? 20 : 40;
	uint8_t *at = s->bytes + HEADERS - ip_size - ETH_HEADER_SIZE;

	packet_put_ethernet(at, &p->mac_dst, &p->mac_src, p->is_v4 ? ETHERTYPE_IP4 : ETHERTYPE_IP6);
	packet_put_ip(at + ETH_HEADER_SIZE, &ip);
	frame_init(whole);
	frame_add(whole, at, ETH_HEADER_SIZE + ip_size + s->total);
}

bool reassembly_add(struct reassembly *r, const struct frame *frame, const struct packet *packet,
		    uint64_t now_ms, struct frame *whole)
{
	struct reassembly_slot *s;
	struct piece piece;
	struct key key;
	unsigned int i;

	free(r->done);
	r->done = NULL;
	if (!describe(packet, &key, &piece)) {
		r->dropped++;
		return false;
	}
	i = choose_slot(r, &key, now_ms);
	if (!r->slots[i]) {
		r->slots[i] = calloc(1, sizeof(*s));
		if (!r->slots[i]) {
			r->dropped++;
			return false;
		}
		r->slots[i]->key = key;
		r->slots[i]->started_ms = now_ms;
		r->slots[i]->number = r->n_started++;
	}
	s = r->slots[i];
	if (!add_piece(s, frame, &piece)) {
		drop_slot(r, i);
		return false;
	}
	if (s->total == 0 || s->received < s->total)
		return false;
	r->slots[i] = NULL;
	r->done = s;
	finish(s, packet, whole);
	return true;
}

void reassembly_deinit(struct reassembly *r)
{
	for (unsigned int i = 0; i < REASSEMBLY_SLOTS; i++)
		free(r->slots[i]);
	free(r->done);
	memset(r, 0, sizeof(*r));
}
