/* SPDX-License-Identifier: Apache-2.0 */
/* Hostile frames of guests on a guarded segment, from links that offload to links
 * that do not: what reaches a neighbour is what its link can take, and from whom it
 * says. */
#include <string.h>

#include "netstack/base/loop.h"
#include "netstack/guard.h"
#include "netstack/segment.h"
#include "tests/fuzz/cursor.h"
#include "tests/support/fake_loop.h"
#include "tests/support/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define N_LINKS 3

struct sink {
	struct link link;
	struct mac mac; /* of its guest, once it has said one that may pass */
	bool is_full;
};

static struct sink sinks[N_LINKS];
static const struct sink *sender;

static void sink_start(struct link *link)
{
	(void)link;
}

static int sink_send(struct link *link, struct frame *frame)
{
	static uint8_t copy[FRAME_MAX_SIZE];
	struct sink *s = container_of(link, struct sink, link);

	if (s->is_full)
		return -11; /* EAGAIN */
	check(frame->n_refs <= FRAME_MAX_REFS && frame->len <= FRAME_MAX_SIZE);
	check(frame_copy(frame, 0, copy, sizeof(copy)) == frame->len);
	check(frame->len >= ETH_HEADER_SIZE);
	check(!frame->offload.csum_partial || link->caps.csum);
	if (frame->offload.gso != FRAME_GSO_NONE)
		check(link->caps.tso);
	else
		check(frame->len <= ETH_HEADER_SIZE + link->caps.mtu);
	check(sender != s);
	check(!sender || memcmp(copy + 6, sender->mac.b, 6) == 0);
	return 0;
}

static void sink_free(struct link *link)
{
	(void)link;
}

static const struct link_ops sink_ops = { .start = sink_start,
					  .send = sink_send,
					  .free = sink_free };

static void host_receive(void *arg, struct frame *frame)
{
	(void)arg;
	check(memcmp((uint8_t *)frame->refs[0].iov_base + 6, sender->mac.b, 6) == 0);
}

static void host_ignore(void *arg)
{
	(void)arg;
}

static bool host_owns(void *arg, const struct mac *mac)
{
	(void)arg;
	return mac_equal(mac, &wire_gateway_mac);
}

static const struct segment_host host = {
	.receive = host_receive,
	.batch_done = host_ignore,
	.writable = host_ignore,
	.owns = host_owns,
};

static const struct mac *leased_to(void *arg, const struct ipaddr *addr)
{
	(void)arg;
	return ipaddr_equal(addr, &wire_guest4) ? &sinks[0].mac : NULL;
}

static size_t make(struct cursor *c, uint8_t *bytes)
{
	const struct ipaddr *const targets[] = { &wire_gateway4, &wire_gateway6 };
	uint8_t how = take8(c);
	struct wire w = wire_to(targets[how & 1], take16(c), take16(c));
	const struct wire_tcp tcp = { .flags = take8(c), .data = c->at, .len = c->left };

	switch (how >> 1 & 7) {
	case 0:
		return wire_tcp(bytes, &w, &tcp);
	case 1:
		return wire_udp(bytes, &w, c->at, c->left);
	case 2:
		return wire_icmp(bytes, &w, c->at, c->left);
	case 3:
		w = wire_to(&wire_gateway4, 0, 0);
		return wire_arp(bytes, &w, 1 + (how >> 4 & 1));
	case 4:
		w = wire_to(&wire_gateway6, 0, 0);
		return wire_neighbor_advertisement(bytes, &w);
	default:
		memcpy(bytes, c->at, c->left);
		return c->left;
	}
}

/* Right ones as often as wrong ones. */
static void ask_offload(struct frame_offload *o, uint8_t who, struct cursor *c)
{
	static const uint16_t offsets[] = { 16, 6, 2, 16 };
	bool is_v6 = who & 16;

	o->csum_partial = true;
	o->csum_start = who & 32 ? take8(c) : is_v6 ? 54 : 34;
	o->csum_offset = who & 32 ? take8(c) & 31 : offsets[take8(c) & 3];
	if (who & 128)
		o->gso = is_v6 ? FRAME_GSO_TCP6 : FRAME_GSO_TCP4;
	o->gso_size = take16(c) & 1023;
}

static void receive(struct sink *from, struct cursor *c)
{
	uint8_t bytes[4096] = { 0 }, who = take8(c), *exact;
	struct frame frame;
	struct cursor rest;
	size_t len, first;

	frame_init(&frame);
	if (who & 64)
		ask_offload(&frame.offload, who, c);
	rest.left = take_bytes(c, take16(c) & 1023, &rest.at);
	len = make(&rest, bytes);
	if (len < ETH_HEADER_SIZE)
		return; /* no link hands that up */
	/* one of a few stations, to one of them */
	memcpy(bytes, who & 1 ? sinks[who >> 1 & 1].mac.b : wire_broadcast_mac.b, 6);
	if (who & 8)
		memcpy(bytes + 6, from->mac.b, 6);
	exact = malloc(len);
	check(exact != NULL);
	memcpy(exact, bytes, len);
	first = len < FRAME_MAX_HEADERS ? len : FRAME_MAX_HEADERS;
	frame_add(&frame, exact, first);
	if (len > first)
		frame_add(&frame, exact + first, len - first);
	sender = from;
	from->link.owner->receive(from->link.owner_arg, &frame);
	sender = NULL;
	from->link.owner->batch_done(from->link.owner_arg);
	free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct link_caps caps[N_LINKS] = { { .mtu = 1500 },
							{ .mtu = 65520, .csum = true, .tso = true },
							{ .mtu = 1280 } };
	static struct guard guard;
	const struct guard_config config = { .network4 = IPADDR_V4(192, 168, 5, 0),
					     .prefix4_bits = 24,
					     .prefix6 = { { 0xfd, 0, 0xc0, 0xa8, 0, 5 } },
					     .reserved = { wire_gateway4, wire_gateway6 },
					     .n_reserved = 2,
					     .leased_to = leased_to };
	struct cursor c = { data, size };
	struct segment *segment = NULL;
	struct loop *loop;

	check(loop_new(&loop) == 0);
	check(segment_new(loop, &host, NULL, &segment) == 0);
	guard_init(&guard, &config);
	segment_set_guard(segment, &guard);
	for (int i = 0; i < N_LINKS; i++) {
		sinks[i] = (struct sink){ .link = { .ops = &sink_ops, .caps = caps[i] },
					  .mac = { { 2, 0, 0, 0, 0, (uint8_t)i } } };
		strcpy(sinks[i].link.name, "sink");
		check(segment_add(segment, &sinks[i].link, SEGMENT_GUEST) == 0);
		sinks[i].link.owner->state(sinks[i].link.owner_arg, true);
	}
	/* each has said who it is */
	for (int i = 0; i < N_LINKS; i++) {
		struct wire w = wire_to(&wire_gateway4, 1, 1);
		uint8_t bytes[64];
		struct frame frame;

		w.src_mac = sinks[i].mac;
		w.src.addr.b[15] = (uint8_t)(15 + i);
		frame_init(&frame);
		frame_add(&frame, bytes, wire_udp(bytes, &w, "x", 1));
		sender = &sinks[i];
		sinks[i].link.owner->receive(sinks[i].link.owner_arg, &frame);
	}
	sender = NULL;
	while (c.left) {
		uint8_t what = take8(&c);
		struct sink *s = &sinks[what % N_LINKS];

		s->is_full = what & 128;
		if (what & 64)
			fake_loop_advance(loop, what);
		receive(s, &c);
	}
	segment_free(segment);
	loop_free(loop);
	return 0;
}
