/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/segment.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "netstack/base/list.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/capture.h"
#include "netstack/fdb.h"
#include "netstack/gso.h"
#include "netstack/guard.h"
#include "netstack/packet.h"
#include "netstack/token_bucket.h"

/* How often the links of guests that have gone are looked at: lwIP may have some
 * of their frames yet. */
#define REAP_MS 1000U

struct port {
	struct list node;      /* segment.ports, or segment.departed */
	struct list unflushed; /* segment.unflushed: frames were sent to it */
	struct segment *segment;
	struct link *link;
	enum segment_role role;
	bool is_up;
	bool is_told_limited; /* of flood, once */
	struct token_bucket flood;
	struct guard_port guard;
};

struct segment {
	struct loop *loop;
	const struct segment_host *host;
	void *host_arg;
	struct list ports; /* port.node */
	unsigned int n_ports;
	struct list unflushed; /* port.unflushed */
	struct list departed;  /* port.node */
	struct timer *reap;
	struct guard *guard; /* NULL: guests are trusted */
	bool is_isolating;
	struct capture *capture;
	struct segment_counters counters;
	struct link_counters departed_counters;
	struct fdb fdb;
};

/* --- sending -------------------------------------------------------------- */

static const struct mac *destination(const struct frame *frame)
{
	return frame->refs[0].iov_base;
}

static int send_to_link(void *arg, struct frame *frame)
{
	struct port *port = arg;

	if (frame->len > (size_t)port->link->caps.mtu + ETH_HEADER_SIZE &&
	    frame->offload.gso == FRAME_GSO_NONE)
		return -EMSGSIZE;
	if (frame->offload.csum_partial && !port->link->caps.csum)
		frame_finish_checksum(frame);
	return link_send(port->link, frame);
}

static int port_send(struct port *port, struct frame *frame)
{
	int r;

	if (!port->is_up)
		return -ENETDOWN;
	if (frame->offload.gso != FRAME_GSO_NONE && !port->link->caps.tso)
		r = gso_cut(frame, send_to_link, port);
	else
		r = send_to_link(port, frame);
	if (r == -EMSGSIZE)
		port->segment->counters.not_segmented++;
	if (list_empty(&port->unflushed))
		list_append(&port->segment->unflushed, &port->unflushed);
	return r;
}

/* A frame that came from a link and that nobody waits to send again. */
static void bridge(struct port *to, struct frame *frame)
{
	if (port_send(to, frame) == -EAGAIN)
		to->segment->counters.congested++;
}

/* Router advertisements are sent to all nodes (RFC 4861, section 4.2), and the
 * host's kernel must not take us for its own router. */
static bool is_for_all_nodes(const struct frame *frame)
{
	static const struct mac all_nodes = { { 0x33, 0x33, 0, 0, 0, 1 } };

	return mac_equal(destination(frame), &all_nodes);
}

/* A checksum that is finished for one link is finished for all, which no link
 * minds. */
static void flood(struct segment *s, struct frame *frame, const struct port *from)
{
	bool is_from_guest = from && from->role == SEGMENT_GUEST;

	list_for_each(node, &s->ports) {
		struct port *port = container_of(node, struct port, node);

		if (port == from || !port->is_up)
			continue;
		if (s->is_isolating && is_from_guest && port->role == SEGMENT_GUEST)
			continue;
		if (!from && port->role == SEGMENT_UPLINK)
			continue;
		if (port->role == SEGMENT_HOST && is_for_all_nodes(frame))
			continue;
		bridge(port, frame);
	}
}

/* Of a segment that is but a wire. */
static struct port *only_port(const struct segment *s)
{
	return s->n_ports == 1 && !s->guard ? container_of(s->ports.next, struct port, node) : NULL;
}

int segment_send(struct segment *s, struct frame *frame)
{
	struct port *port = only_port(s);
	int r;

	if (s->capture)
		capture_frame(s->capture, frame);
	if (!port && !mac_is_group(destination(frame)))
		port = fdb_find(&s->fdb, destination(frame), loop_now_ms(s->loop));
	if (!port) {
		flood(s, frame, NULL);
		return 0;
	}
	r = port_send(port, frame);
	if (r == -ENETDOWN)
		s->counters.no_link++;
	return r;
}

/* --- frames of links ------------------------------------------------------ */

/* Whether a frame may pass on to another link. The offload that a guest asks for
 * is done by us for some of the others, so it must be right; what else is in a
 * frame is read with a guard only. */
static bool admit(struct port *from, struct frame *frame)
{
	struct segment *s = from->segment;
	const struct frame_offload *o = &frame->offload;
	bool is_guarded = s->guard && from->role == SEGMENT_GUEST;
	bool has_offload = o->csum_partial || o->gso != FRAME_GSO_NONE;
	enum packet_error error;
	struct packet p;

	if (s->host->owns(s->host_arg, &destination(frame)[1])) {
		s->counters.own_mac++;
		return false;
	}
	if (!is_guarded && !has_offload)
		return true;
	error = packet_parse(frame, &p);
	if (error != PACKET_OK && (error != PACKET_OTHER_PROTOCOL || has_offload)) {
		s->counters.malformed++;
		log_limited(LOG_LEVEL_DEBUG, "%s: a frame was refused: %s", from->link->name,
			    packet_error_name(error));
		return false;
	}
	/* how long the headers are is known now, whatever the guest said */
	if (o->gso != FRAME_GSO_NONE)
		frame->offload.header_size = (uint16_t)(o->csum_start + p.l4_header_size);
	if (is_guarded) {
		enum guard_verdict verdict =
			guard_check(s->guard, &from->guard, &p, loop_now_ms(s->loop));

		if (verdict != GUARD_OK)
			log_limited(LOG_LEVEL_INFO, "%s: a frame was refused: %s", from->link->name,
				    guard_verdict_name(verdict));
		return verdict == GUARD_OK;
	}
	return true;
}

static bool may_flood(struct port *from)
{
	if (token_bucket_take(&from->flood, loop_now_ms(from->segment->loop)))
		return true;
	from->segment->counters.flood_limited++;
	if (!from->is_told_limited)
		log_warn("%s: sends more than %u frames to all in a second: not all are passed on",
			 from->link->name, SEGMENT_FLOOD_PER_S);
	from->is_told_limited = true;
	return false;
}

static void to_host(const struct port *from, struct frame *frame)
{
	if (from->role != SEGMENT_UPLINK)
		from->segment->host->receive(from->segment->host_arg, frame);
}

static void switch_frame(struct port *from, struct frame *frame)
{
	struct segment *s = from->segment;
	const struct mac *dst = destination(frame);
	uint64_t now = loop_now_ms(s->loop);
	struct port *to;

	fdb_learn(&s->fdb, &dst[1], from, now);
	if (mac_is_group(dst)) {
		if (may_flood(from)) {
			flood(s, frame, from);
			to_host(from, frame);
		}
		return;
	}
	if (s->host->owns(s->host_arg, dst)) {
		to_host(from, frame);
		return;
	}
	to = fdb_find(&s->fdb, dst, now);
	if (!to && may_flood(from))
		flood(s, frame, from);
	if (!to || to == from)
		return;
	if (s->is_isolating && from->role == SEGMENT_GUEST && to->role == SEGMENT_GUEST)
		s->counters.isolated++;
	else
		bridge(to, frame);
}

static void on_receive(void *arg, struct frame *frame)
{
	struct port *from = arg;
	struct segment *s = from->segment;

	if (s->capture)
		capture_frame(s->capture, frame);
	if (only_port(s))
		s->host->receive(s->host_arg, frame);
	else if (mac_is_group(&destination(frame)[1]))
		s->counters.malformed++;
	else if (admit(from, frame))
		switch_frame(from, frame);
}

static void on_batch_done(void *arg)
{
	struct port *port = arg;
	struct segment *s = port->segment;

	s->host->batch_done(s->host_arg);
	segment_flush(s);
}

static void on_writable(void *arg)
{
	struct port *port = arg;
	struct segment *s = port->segment;

	s->host->writable(s->host_arg);
	segment_flush(s);
}

/* --- links ---------------------------------------------------------------- */

static void add_counters(struct link_counters *sum, const struct link_counters *c)
{
	sum->rx_frames += c->rx_frames;
	sum->rx_bytes += c->rx_bytes;
	sum->tx_frames += c->tx_frames;
	sum->tx_bytes += c->tx_bytes;
	sum->rx_runt += c->rx_runt;
	sum->rx_oversized += c->rx_oversized;
	sum->rx_bad_vnet += c->rx_bad_vnet;
	sum->rx_no_memory += c->rx_no_memory;
	sum->rx_refused += c->rx_refused;
	sum->tx_blocked += c->tx_blocked;
	sum->tx_dropped += c->tx_dropped;
}

static void port_free(struct port *port)
{
	list_unlink(&port->node);
	list_unlink(&port->unflushed);
	guard_remove(&port->guard);
	link_free(port->link);
	free(port);
}

static void on_reap(void *arg)
{
	struct segment *s = arg;

	list_for_each(node, &s->departed) {
		struct port *port = container_of(node, struct port, node);

		if (!port->link->ops->is_lending(port->link))
			port_free(port);
	}
	if (!list_empty(&s->departed))
		timer_start(s->reap, REAP_MS);
}

/* Not freed at once: this is a callback of its link. */
static void depart(struct port *port)
{
	struct segment *s = port->segment;

	add_counters(&s->departed_counters, &port->link->counters);
	list_unlink(&port->node);
	s->n_ports--;
	list_append(&s->departed, &port->node);
	timer_start(s->reap, 0);
}

static void on_state(void *arg, bool is_up)
{
	struct port *port = arg;
	struct segment *s = port->segment;

	port->is_up = is_up;
	if (!is_up) {
		fdb_forget_port(&s->fdb, port);
		guard_remove(&port->guard);
		list_unlink(&port->unflushed);
		if (port->link->is_transient)
			depart(port);
		return;
	}
	if (s->guard)
		guard_add(s->guard, &port->guard);
	on_writable(port);
}

static const struct link_owner link_owner = {
	.receive = on_receive,
	.batch_done = on_batch_done,
	.writable = on_writable,
	.state = on_state,
};

int segment_add(struct segment *s, struct link *link, enum segment_role role)
{
	struct port *port = NULL;
	int r = s->n_ports < SEGMENT_MAX_PORTS ? -ENOMEM : -ENOSPC;

	if (r == -ENOMEM)
		port = calloc(1, sizeof(*port));
	if (!port) {
		link_free(link);
		return r;
	}
	port->segment = s;
	port->link = link;
	port->role = role;
	list_init(&port->unflushed);
	token_bucket_init(&port->flood, SEGMENT_FLOOD_PER_S, SEGMENT_FLOOD_BURST,
			  loop_now_ms(s->loop));
	list_append(&s->ports, &port->node);
	s->n_ports++;
	link_set_owner(link, &link_owner, port);
	return 0;
}

/* --- the whole ------------------------------------------------------------ */

void segment_flush(struct segment *s)
{
	struct list *node;

	while ((node = list_take(&s->unflushed))) {
		struct port *port = container_of(node, struct port, unflushed);

		if (port->is_up)
			link_flush(port->link);
	}
	if (s->capture)
		capture_flush(s->capture);
}

struct link_caps segment_caps(const struct segment *s, const struct mac *mac)
{
	const struct port *known = only_port(s);
	struct link_caps least = { .mtu = 65520, .csum = true, .tso = true, .lossless = true };

	if (!known && mac)
		known = fdb_find(&s->fdb, mac, loop_now_ms(s->loop));
	if (known)
		return known->link->caps;
	list_for_each(node, &s->ports) {
		const struct link_caps *c = &container_of(node, struct port, node)->link->caps;

		if (c->mtu < least.mtu)
			least.mtu = c->mtu;
		least.csum &= c->csum;
		least.tso &= c->tso;
		least.lossless &= c->lossless;
	}
	return least;
}

bool segment_is_up(const struct segment *s)
{
	list_for_each(node, &s->ports) {
		const struct port *port = container_of(node, struct port, node);

		if (port->is_up && port->role == SEGMENT_GUEST)
			return true;
	}
	return false;
}

const struct segment_counters *segment_counters(const struct segment *s)
{
	return &s->counters;
}

uint64_t segment_evicted(const struct segment *s)
{
	return s->fdb.evicted;
}

void segment_for_each(const struct segment *s, void (*fn)(void *arg, const struct link *),
		      void *arg)
{
	list_for_each(node, &s->ports)
		fn(arg, container_of(node, struct port, node)->link);
}

const struct link *segment_find(const struct segment *s, const struct mac *mac)
{
	const struct port *port = fdb_find(&s->fdb, mac, loop_now_ms(s->loop));

	return port ? port->link : NULL;
}

struct link_counters segment_link_counters(const struct segment *s)
{
	struct link_counters sum = s->departed_counters;

	list_for_each(node, &s->ports)
		add_counters(&sum, &container_of(node, struct port, node)->link->counters);
	return sum;
}

int segment_new(struct loop *loop, const struct segment_host *host, void *arg, struct segment **out)
{
	struct segment *s = calloc(1, sizeof(*s));
	int r = -ENOMEM;

	if (s)
		r = timer_new(loop, on_reap, s, &s->reap);
	if (r < 0) {
		free(s);
		return r;
	}
	s->loop = loop;
	s->host = host;
	s->host_arg = arg;
	list_init(&s->ports);
	list_init(&s->unflushed);
	list_init(&s->departed);
	*out = s;
	return 0;
}

void segment_set_capture(struct segment *s, struct capture *capture)
{
	capture_free(s->capture);
	s->capture = capture;
}

void segment_set_guard(struct segment *s, struct guard *guard)
{
	s->guard = guard;
}

void segment_isolate(struct segment *s)
{
	s->is_isolating = true;
}

void segment_free(struct segment *s)
{
	if (!s)
		return;
	list_for_each(node, &s->departed)
		port_free(container_of(node, struct port, node));
	list_for_each(left, &s->ports)
		port_free(container_of(left, struct port, node));
	timer_free(s->reap);
	capture_free(s->capture);
	free(s);
}
