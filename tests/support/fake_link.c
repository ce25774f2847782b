/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/fake_link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "netstack/base/bytes.h"
#include "netstack/checksum.h"
#include "tests/support/wire.h"

const struct link_caps fake_link_plain = { .mtu = 1500, .lossless = true };
const struct link_caps fake_link_offloads = {
	.mtu = 65520,
	.csum = true,
	.tso = true,
	.lossless = true,
};

static void check(bool holds, const char *what)
{
	if (holds)
		return;
	(void)fprintf(stderr, "fake_link: %s\n", what);
	abort();
}

static struct fake_link *from_link(struct link *link)
{
	return container_of(link, struct fake_link, link);
}

static void fake_link_start(struct link *link)
{
	from_link(link)->is_started = true;
}

/* The partial sum that a NIC finds must be that of the pseudo header. */
static void check_partial(const struct sent_frame *s)
{
	const struct packet *p = &s->packet;
	size_t len = p->ip_len - p->ip_header_size;
	uint16_t sum = checksum_fold(checksum_pseudo(&p->src.addr, &p->dst.addr, p->protocol, len));

	check(s->offload.csum_start == p->l4 - s->bytes, "csum_start");
	check(s->offload.csum_offset == (p->kind == PACKET_TCP ? 16 : 6), "csum_offset");
	check(memcmp(p->l4 + s->offload.csum_offset, &sum, 2) == 0, "the partial checksum");
}

static void check_offload(const struct fake_link *l, const struct sent_frame *s)
{
	const struct frame_offload *o = &s->offload;
	const struct packet *p = &s->packet;

	if (o->csum_partial) {
		check(l->link.caps.csum, "this link takes no partial checksum");
		check_partial(s);
	}
	if (o->gso == FRAME_GSO_NONE) {
		check(s->len <= l->link.caps.mtu + ETH_HEADER_SIZE, "larger than the MTU");
		return;
	}
	check(l->link.caps.tso, "this link does not segment");
	check(o->csum_partial && p->kind == PACKET_TCP, "only TCP is segmented");
	check(o->gso == (p->is_v4 ? FRAME_GSO_TCP4 : FRAME_GSO_TCP6), "the kind of segmentation");
	check(o->header_size == (size_t)(s->payload - s->bytes), "header_size");
	check(o->gso_size > 0 && o->gso_size < s->payload_len, "gso_size");
}

/* False for a frame that a guest throws away without a look. */
static bool check_frame(const struct fake_link *l, struct sent_frame *s)
{
	enum packet_error error;
	struct frame frame;

	frame_init(&frame);
	frame_add(&frame, s->bytes, s->len);
	error = packet_parse(&frame, &s->packet);
	if (error == PACKET_BAD_IP_SOURCE)
		return false;
	if (error == PACKET_OTHER_PROTOCOL)
		return true; /* is of another guest */
	check(error == PACKET_OK, "sent a frame that is none");
	check(frame.len == s->len, "sent bytes behind the packet");
	if (s->packet.kind == PACKET_TCP || s->packet.kind == PACKET_UDP) {
		s->payload = s->packet.l4 + s->packet.l4_header_size;
		s->payload_len = s->len - (size_t)(s->payload - s->bytes);
	}
	check_offload(l, s);
	frame.offload = s->offload;
	frame_finish_checksum(&frame);
	check(wire_has_right_checksum(s->bytes, s->len), "a wrong checksum");
	return true;
}

static int fake_link_send(struct link *link, struct frame *frame)
{
	struct fake_link *l = from_link(link);
	struct sent_frame *s;
	size_t len = 0;

	check(l->is_up, "sent to a link that is down");
	if (l->is_full) {
		link->counters.tx_blocked++;
		l->wants_notice = true;
		return -EAGAIN;
	}
	for (int i = 0; i < frame->n_refs; i++)
		len += frame->refs[i].iov_len;
	check(len == frame->len && len <= FRAME_MAX_SIZE, "the length of a frame");
	s = calloc(1, sizeof(*s) + len);
	check(s != NULL, "out of memory");
	s->len = frame_copy(frame, 0, s->bytes, len);
	s->offload = frame->offload;
	if (check_frame(l, s))
		list_append(&l->sent, &s->node);
	else
		free(s);
	l->n_sent++;
	link->counters.tx_frames++;
	link->counters.tx_bytes += len;
	return 0;
}

static void fake_link_flush(struct link *link)
{
	from_link(link)->n_flushes++;
}

static bool fake_link_is_lending(const struct link *link)
{
	return container_of(link, const struct fake_link, link)->is_lending;
}

static void fake_link_free(struct link *link)
{
	check(!from_link(link)->is_freed, "freed twice");
	from_link(link)->is_freed = true;
}

static const struct link_ops fake_link_ops = {
	.start = fake_link_start,
	.send = fake_link_send,
	.flush = fake_link_flush,
	.is_lending = fake_link_is_lending,
	.free = fake_link_free,
};

void fake_link_init(struct fake_link *l, const struct link_caps *caps)
{
	memset(l, 0, sizeof(*l));
	l->link.ops = &fake_link_ops;
	l->link.caps = *caps;
	strcpy(l->link.name, "fake");
	list_init(&l->sent);
	buffer_pool_init(&l->pool, FRAME_MAX_SIZE, 16);
}

void fake_link_deinit(struct fake_link *l)
{
	fake_link_drop_sent(l);
	buffer_pool_deinit(&l->pool);
}

void fake_link_set_up(struct fake_link *l, bool is_up)
{
	check(l->is_started, "not started");
	if (is_up == l->is_up)
		return;
	l->is_up = is_up;
	if (!is_up)
		fake_link_drop_sent(l);
	l->link.owner->state(l->link.owner_arg, is_up);
}

void fake_link_make_room(struct fake_link *l)
{
	l->is_full = false;
	if (l->wants_notice)
		l->link.owner->writable(l->link.owner_arg);
	l->wants_notice = false;
}

static void hand_up(struct fake_link *l, struct frame *frame)
{
	l->link.counters.rx_frames++;
	l->link.counters.rx_bytes += frame->len;
	l->link.owner->receive(l->link.owner_arg, frame);
}

static void receive_lent(struct fake_link *l, struct frame *frame, const void *bytes, size_t len)
{
	size_t headers = len < FRAME_MAX_HEADERS ? len : FRAME_MAX_HEADERS;

	l->pool.is_borrowed = l->borrows;
	frame->owner = buffer_take(&l->pool);
	check(frame->owner != NULL, "out of memory");
	memcpy(frame->owner->data, bytes, len);
	frame_add(frame, frame->owner->data, headers);
	if (len > headers)
		frame_add(frame, frame->owner->data + headers, len - headers);
	hand_up(l, frame);
	buffer_unref(frame->owner);
}

static void receive_copied(struct fake_link *l, struct frame *frame, const uint8_t *bytes,
			   size_t len)
{
	size_t headers = len < FRAME_MAX_HEADERS ? len : FRAME_MAX_HEADERS;
	uint8_t *first = malloc(headers), *rest = malloc(len - headers + 1);

	check(first && rest, "out of memory");
	memcpy(first, bytes, headers);
	memcpy(rest, bytes + headers, len - headers);
	frame_add(frame, first, headers);
	if (len > headers)
		frame_add(frame, rest, len - headers);
	hand_up(l, frame);
	free(first);
	free(rest);
}

void fake_link_receive_one(struct fake_link *l, const void *bytes, size_t len,
			   const struct frame_offload *offload)
{
	struct frame frame;

	check(l->is_up && len >= ETH_HEADER_SIZE && len <= FRAME_MAX_SIZE, "no link does this");
	frame_init(&frame);
	if (offload)
		frame.offload = *offload;
	if (l->lends)
		receive_lent(l, &frame, bytes, len);
	else
		receive_copied(l, &frame, bytes, len);
}

void fake_link_receive(struct fake_link *l, const void *bytes, size_t len)
{
	fake_link_receive_one(l, bytes, len, NULL);
	l->link.owner->batch_done(l->link.owner_arg);
	check(!l->borrows || l->pool.n_used == 0, "a frame was kept for longer than its batch");
}

struct sent_frame *fake_link_take(struct fake_link *l)
{
	struct list *node = list_take(&l->sent);

	return node ? container_of(node, struct sent_frame, node) : NULL;
}

struct sent_frame *fake_link_take_kind(struct fake_link *l, enum packet_kind kind)
{
	struct sent_frame *s;

	while ((s = fake_link_take(l)) && s->packet.kind != kind)
		free(s);
	return s;
}

void fake_link_drop_sent(struct fake_link *l)
{
	struct sent_frame *s;

	while ((s = fake_link_take(l)))
		free(s);
}
