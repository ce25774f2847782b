/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/guest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "netstack/base/bytes.h"
#include "netstack/base/loop.h"
#include "tests/support/fake_loop.h"

int guest_start(struct guest *g, const struct link_caps *caps, const struct stack_config *config)
{
	struct stack_config standard = stack_config_default();
	int r;

	memset(g, 0, sizeof(*g));
	list_init(&g->peers);
	list_init(&g->other);
	fake_link_init(&g->link, caps);
	standard.resolv_conf = "/nonexistent";
	r = loop_new(&g->loop);
	if (r == 0)
		r = stack_new(g->loop, config ? config : &standard, &g->stack);
	if (r == 0)
		r = stack_attach(g->stack, &g->link.link);
	if (r < 0)
		return r;
	fake_link_set_up(&g->link, true);
	return 0;
}

static void drop_other(struct guest *g)
{
	struct list *node;

	while ((node = list_take(&g->other)))
		free(container_of(node, struct sent_frame, node));
}

void guest_stop(struct guest *g)
{
	stack_free(g->stack);
	drop_other(g);
	fake_link_deinit(&g->link);
	loop_free(g->loop);
}

void guest_send(struct guest *g, const void *bytes, size_t len)
{
	fake_link_receive(&g->link, bytes, len);
}

/* --- who has this address -------------------------------------------------- */

static void answer_arp(struct guest *g, const struct sent_frame *s)
{
	struct wire w = wire_to(&s->packet.src.addr, 0, 0);
	uint8_t bytes[100];

	w.src.addr = s->packet.dst.addr; /* any address that is asked for is ours */
	guest_send(g, bytes, wire_arp(bytes, &w, 2));
}

static void answer_solicitation(struct guest *g, const struct sent_frame *s)
{
	struct wire w = wire_to(&s->packet.src.addr, 0, 0);
	uint8_t bytes[200];

	w.src.addr = ipaddr_from_v6(s->packet.l4 + 8);
	guest_send(g, bytes, wire_neighbor_advertisement(bytes, &w));
}

static bool answer_who_asks(struct guest *g, const struct sent_frame *s)
{
	const struct packet *p = &s->packet;
	bool is_arp = p->kind == PACKET_ARP && get_be16(s->bytes + ETH_HEADER_SIZE + 6) == 1;
	bool is_nd = p->kind == PACKET_ICMP && !p->is_v4 && p->l4[0] == 135;

	if (is_arp && !g->is_silent)
		answer_arp(g, s);
	if (is_nd && !g->is_silent)
		answer_solicitation(g, s);
	return is_arp || is_nd;
}

/* --- the run --------------------------------------------------------------- */

static void tcp_peer_receive(struct tcp_peer *p, const struct sent_frame *s);

static struct tcp_peer *find_peer(struct guest *g, const struct packet *packet)
{
	list_for_each(node, &g->peers) {
		struct tcp_peer *p = container_of(node, struct tcp_peer, node);

		if (packet->kind != PACKET_TCP || !endpoint_equal(&packet->dst, &p->wire.src))
			continue;
		if (p->wire.dst.port == 0 && packet->tcp_flags == TCP_FLAG_SYN)
			p->wire.dst = packet->src;
		if (endpoint_equal(&packet->src, &p->wire.dst))
			return p;
	}
	return NULL;
}

static void handle(struct guest *g, struct sent_frame *s)
{
	struct tcp_peer *p = find_peer(g, &s->packet);

	if (p)
		tcp_peer_receive(p, s);
	else if (!answer_who_asks(g, s)) {
		list_append(&g->other, &s->node);
		return;
	}
	free(s);
}

void guest_run(struct guest *g)
{
	struct sent_frame *s;

	for (;;) {
		fake_loop_settle(g->loop);
		s = fake_link_take(&g->link);
		if (!s)
			return;
		do
			handle(g, s);
		while ((s = fake_link_take(&g->link)));
	}
}

void guest_advance(struct guest *g, uint64_t ms)
{
	guest_run(g);
	while (ms) {
		uint64_t step = ms < 50 ? ms : 50;

		fake_loop_advance(g->loop, step);
		guest_run(g);
		ms -= step;
	}
}

struct sent_frame *guest_take(struct guest *g, enum packet_kind kind)
{
	list_for_each(node, &g->other) {
		struct sent_frame *s = container_of(node, struct sent_frame, node);

		if (s->packet.kind == kind) {
			list_unlink(node);
			return s;
		}
	}
	return NULL;
}

struct wanted_counter {
	const char *name;
	uint64_t value;
};

static void on_counter(void *arg, const char *name, uint64_t value)
{
	struct wanted_counter *wanted = arg;

	if (strcmp(name, wanted->name) == 0)
		wanted->value = value;
}

uint64_t guest_counter(struct guest *g, const char *name)
{
	struct wanted_counter wanted = { .name = name };

	stack_counters(g->stack, on_counter, &wanted);
	return wanted.value;
}

/* --- a connection's end ---------------------------------------------------- */

void tcp_peer_init(struct tcp_peer *p, struct guest *g, const struct ipaddr *dst,
		   uint16_t guest_port, uint16_t port)
{
	*p = (struct tcp_peer){
		.guest = g,
		.wire = wire_to(dst, guest_port, port),
		.window = 1 << 20,
		.mss = ipaddr_is_v4(dst) ? 1460 : 1440,
		.first_seq = 0xfffffff0U, /* wraps soon */
		.seq = 0xfffffff0U,
	};
	list_append(&g->peers, &p->node);
}

void tcp_peer_deinit(struct tcp_peer *p)
{
	list_unlink(&p->node);
	free(p->received);
}

/* There is room up to here. */
static void promise(struct tcp_peer *p, uint32_t edge)
{
	if (!p->has_edge || (int32_t)(edge - p->edge) > 0)
		p->edge = edge;
	p->has_edge = true;
}

void tcp_peer_send_at(struct tcp_peer *p, uint8_t flags, int32_t seq, int32_t ack, const void *data,
		      size_t len)
{
	static uint8_t bytes[FRAME_MAX_SIZE];
	uint8_t options[] = {
		2, 4, (uint8_t)(p->mss >> 8), (uint8_t)p->mss, 1, 3, 3, TCP_PEER_SHIFT
	};
	bool is_syn = flags & TCP_FLAG_SYN;
	uint32_t most = is_syn ? 65535 : 65535U << TCP_PEER_SHIFT;
	uint32_t window = p->window < most ? p->window : most;
	const struct wire_tcp tcp = {
		.seq = p->seq + (uint32_t)seq,
		.ack = flags & TCP_FLAG_ACK ? p->host_seq + (uint32_t)ack : 0,
		.flags = flags,
		.window = (uint16_t)(is_syn ? window : window >> TCP_PEER_SHIFT),
		.options = options,
		.options_len = is_syn ? sizeof(options) : 0,
		.data = data,
		.len = len,
	};

	if (!is_syn)
		window &= ~((1U << TCP_PEER_SHIFT) - 1);
	if ((flags & TCP_FLAG_ACK) && p->has_syn)
		promise(p, tcp.ack + window);
	guest_send(p->guest, bytes, wire_tcp(bytes, &p->wire, &tcp));
}

void tcp_peer_send(struct tcp_peer *p, uint8_t flags, const void *data, size_t len)
{
	uint32_t next =
		p->seq + (uint32_t)len + !!(flags & TCP_FLAG_SYN) + !!(flags & TCP_FLAG_FIN);

	tcp_peer_send_at(p, flags, 0, 0, data, len);
	p->seq = next;
}

void tcp_peer_ack(struct tcp_peer *p)
{
	tcp_peer_send_at(p, TCP_FLAG_ACK, 0, 0, NULL, 0);
}

void tcp_peer_syn(struct tcp_peer *p)
{
	tcp_peer_send(p, TCP_FLAG_SYN, NULL, 0);
}

size_t tcp_peer_write(struct tcp_peer *p, const uint8_t *data, size_t len)
{
	size_t written = 0;

	while (written < len) {
		size_t n = len - written, most = p->mss;
		uint32_t room = p->acked + p->host_window - p->seq;

		if (p->seq - p->acked >= p->host_window)
			break;
		n = n < most ? n : most;
		n = n < room ? n : room;
		tcp_peer_send(p, TCP_FLAG_ACK, data + written, n);
		written += n;
	}
	return written;
}

static void keep(struct tcp_peer *p, const uint8_t *data, size_t len)
{
	if (p->received_len + len > p->received_capacity) {
		p->received_capacity = 2 * (p->received_len + len);
		p->received = realloc(p->received, p->received_capacity);
		if (!p->received)
			abort();
	}
	memcpy(p->received + p->received_len, data, len);
	p->received_len += len;
	p->host_seq += (uint32_t)len;
}

static void read_options(struct tcp_peer *p, const struct packet *packet)
{
	const uint8_t *at = packet->l4 + 20, *end = packet->l4 + packet->l4_header_size;

	while (at < end && *at != 0) {
		if (at[0] == 2)
			p->host_mss = get_be16(at + 2);
		if (at[0] == 3)
			p->host_shift = at[2];
		at += *at == 1 ? 1 : at[1];
	}
}

static void receive_syn(struct tcp_peer *p, const struct packet *packet, uint32_t seq)
{
	p->has_syn = true;
	p->host_first_seq = p->host_seq = seq + 1;
	read_options(p, packet);
	p->host_window = get_be16(packet->l4 + 14);
	/* the answer to ours, or one that wants an answer */
	if (packet->tcp_flags & TCP_FLAG_ACK)
		tcp_peer_ack(p);
	else
		tcp_peer_send(p, TCP_FLAG_SYN | TCP_FLAG_ACK, NULL, 0);
}

static void check(bool holds, const char *what)
{
	if (holds)
		return;
	(void)fprintf(stderr, "tcp_peer: %s\n", what);
	abort();
}

/* What was sent before must be sent again as it was. */
static void check_known(const struct tcp_peer *p, const struct tcp_segment *s, size_t known)
{
	size_t n = known < s->len ? known : s->len;

	if (n == 0 || known > p->received_len)
		return; /* nothing, or before the first byte */
	check(memcmp(p->received + p->received_len - known, s->data, n) == 0,
	      "bytes have changed when they were sent again");
}

/* Takes what is new of the segment, if it joins what came before. */
static void receive_data(struct tcp_peer *p, const struct tcp_segment *s)
{
	int32_t known = (int32_t)(p->host_seq - p->has_fin - s->seq);
	size_t room = (int32_t)(p->edge - p->host_seq) > 0 ? p->edge - p->host_seq : 0, n;

	/* one byte more asks whether there is room again */
	check(p->is_erratic || (int32_t)(s->seq + s->len - p->edge) <= 1,
	      "more was sent than there is room for");
	if (known < 0)
		return; /* something before it is missing */
	check_known(p, s, (size_t)known);
	if ((size_t)known > s->len || p->has_fin)
		return;
	n = s->len - (size_t)known;
	if (n && room)
		keep(p, s->data + known, n < room ? n : room);
	if ((s->flags & TCP_FLAG_FIN) && n <= room) {
		p->has_fin = true;
		p->host_seq++;
	}
}

static void receive_segment(struct tcp_peer *p, const struct tcp_segment *s)
{
	const uint8_t *tcp = s->frame->packet.l4;
	uint32_t before = p->host_seq;

	if (p->filter && !p->filter(p, s))
		return;
	p->n_segments++;
	if (s->flags & TCP_FLAG_RST) {
		p->has_rst = true;
		return;
	}
	if (s->flags & TCP_FLAG_ACK)
		p->acked = get_be32(tcp + 8);
	if (s->flags & TCP_FLAG_SYN) {
		if (!p->has_syn)
			receive_syn(p, &s->frame->packet, s->seq);
		return;
	}
	if (!p->has_syn)
		return; /* an answer to a segment of no connection */
	p->host_window = (uint32_t)get_be16(tcp + 14) << p->host_shift;
	receive_data(p, s);
	if (!p->does_not_ack && (p->host_seq != before || s->len))
		tcp_peer_ack(p);
}

/* As a NIC or the guest's kernel cuts it. */
static void tcp_peer_receive(struct tcp_peer *p, const struct sent_frame *s)
{
	size_t most = s->offload.gso == FRAME_GSO_NONE ? s->payload_len : s->offload.gso_size;
	uint32_t seq = get_be32(s->packet.l4 + 4);
	size_t at = 0;

	do {
		size_t left = s->payload_len - at;
		struct tcp_segment segment = {
			.seq = seq + (uint32_t)at,
			.flags = s->packet.tcp_flags,
			.data = s->payload + at,
			.len = left < most ? left : most,
			.frame = s,
		};

		if (segment.len < left)
			segment.flags &= (uint8_t)~TCP_FLAG_FIN;
		at += segment.len;
		receive_segment(p, &segment);
	} while (at < s->payload_len);
}
