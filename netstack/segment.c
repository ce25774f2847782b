/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/segment.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "netstack/base/list.h"
#include "netstack/base/loop.h"
#include "netstack/capture.h"

#define FDB_SLOTS 1024U /* a power of 2 */
#define FDB_WAYS 4U	/* a MAC may be in any of these neighbouring slots */

struct port {
	struct list node; /* segment.ports */
	struct segment *segment;
	struct link *link;
	bool is_up;
};

struct fdb_entry {
	struct mac mac;
	struct port *port; /* NULL: free */
	uint64_t seen_ms;
};

struct segment {
	struct loop *loop;
	const struct segment_host *host;
	void *host_arg;
	struct list ports; /* port.node */
	struct capture *capture;
	struct segment_counters counters;
	struct fdb_entry fdb[FDB_SLOTS];
};

/* --- forwarding database ------------------------------------------------- */

static unsigned int fdb_bucket(const struct mac *mac)
{
	return hash_bytes(mac, sizeof(*mac)) & (FDB_SLOTS - 1) & ~(FDB_WAYS - 1);
}

static void fdb_learn(struct segment *s, const struct mac *mac, struct port *port)
{
	struct fdb_entry *b = &s->fdb[fdb_bucket(mac)], *slot = b;

	for (unsigned int i = 0; i < FDB_WAYS; i++) {
		if (b[i].port && mac_equal(&b[i].mac, mac)) {
			slot = &b[i];
			break;
		}
		if (!b[i].port || (slot->port && b[i].seen_ms < slot->seen_ms))
			slot = &b[i];
	}
	*slot = (struct fdb_entry){ *mac, port, loop_now_ms(s->loop) };
}

static struct port *fdb_find(const struct segment *s, const struct mac *mac)
{
	const struct fdb_entry *b = &s->fdb[fdb_bucket(mac)];

	for (unsigned int i = 0; i < FDB_WAYS; i++) {
		if (b[i].port && mac_equal(&b[i].mac, mac))
			return b[i].port;
	}
	return NULL;
}

static void fdb_forget_port(struct segment *s, const struct port *port)
{
	for (unsigned int i = 0; i < FDB_SLOTS; i++) {
		if (s->fdb[i].port == port)
			s->fdb[i].port = NULL;
	}
}

/* --- frames -------------------------------------------------------------- */

static const struct mac *destination(const struct frame *frame)
{
	return frame->refs[0].iov_base;
}

static int port_send(struct port *port, struct frame *frame)
{
	const struct link_caps *caps = &port->link->caps;

	if (!port->is_up)
		return -ENETDOWN;
	if ((frame->offload.gso != FRAME_GSO_NONE && !caps->tso) ||
	    (frame->offload.gso == FRAME_GSO_NONE &&
	     frame->len > (size_t)caps->mtu + ETH_HEADER_SIZE)) {
		port->segment->counters.not_segmented++;
		return -EMSGSIZE;
	}
	if (frame->offload.csum_partial && !caps->csum)
		frame_finish_checksum(frame);
	return link_send(port->link, frame);
}

/* To all ports but one; what a full link misses of it is lost. */
static void flood(struct segment *s, struct frame *frame, const struct port *except)
{
	list_for_each(node, &s->ports) {
		struct port *port = container_of(node, struct port, node);

		if (port != except && port->is_up)
			(void)port_send(port, frame);
	}
}

static struct port *only_port(const struct segment *s)
{
	struct list *first = s->ports.next;

	if (list_empty(&s->ports) || first->next != &s->ports)
		return NULL;
	return container_of(first, struct port, node);
}

int segment_send(struct segment *s, struct frame *frame)
{
	struct port *port = only_port(s);
	int r;

	if (s->capture)
		capture_frame(s->capture, frame);
	if (!port && !mac_is_group(destination(frame)))
		port = fdb_find(s, destination(frame));
	if (!port) {
		flood(s, frame, NULL);
		return 0;
	}
	r = port_send(port, frame);
	if (r == -ENETDOWN)
		s->counters.no_link++;
	return r;
}

static void on_receive(void *arg, struct frame *frame)
{
	struct port *from = arg, *to = NULL;
	struct segment *s = from->segment;
	const struct mac *dst = destination(frame);

	if (s->capture)
		capture_frame(s->capture, frame);
	if (only_port(s)) {
		s->host->receive(s->host_arg, frame);
		return;
	}
	fdb_learn(s, &dst[1], from); /* the source address follows */
	if (!mac_is_group(dst))
		to = fdb_find(s, dst);
	if (to) {
		if (to != from)
			(void)port_send(to, frame);
		return;
	}
	if (mac_is_group(dst))
		flood(s, frame, from);
	s->host->receive(s->host_arg, frame);
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

static void on_state(void *arg, bool is_up)
{
	struct port *port = arg;

	port->is_up = is_up;
	if (!is_up)
		fdb_forget_port(port->segment, port);
	else
		on_writable(port);
}

static const struct link_owner link_owner = {
	.receive = on_receive,
	.batch_done = on_batch_done,
	.writable = on_writable,
	.state = on_state,
};

void segment_flush(struct segment *s)
{
	list_for_each(node, &s->ports) {
		struct port *port = container_of(node, struct port, node);

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
		known = fdb_find(s, mac);
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
		if (container_of(node, struct port, node)->is_up)
			return true;
	}
	return false;
}

const struct segment_counters *segment_counters(const struct segment *s)
{
	return &s->counters;
}

void segment_for_each(const struct segment *s, void (*fn)(void *arg, const struct link *),
		      void *arg)
{
	list_for_each(node, &s->ports)
		fn(arg, container_of(node, struct port, node)->link);
}

int segment_new(struct loop *loop, const struct segment_host *host, void *arg, struct segment **out)
{
	struct segment *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->loop = loop;
	s->host = host;
	s->host_arg = arg;
	list_init(&s->ports);
	*out = s;
	return 0;
}

int segment_add(struct segment *s, struct link *link)
{
	struct port *port = calloc(1, sizeof(*port));

	if (!port) {
		link_free(link);
		return -ENOMEM;
	}
	port->segment = s;
	port->link = link;
	list_append(&s->ports, &port->node);
	link_set_owner(link, &link_owner, port);
	return 0;
}

void segment_set_capture(struct segment *s, struct capture *capture)
{
	capture_free(s->capture);
	s->capture = capture;
}

void segment_free(struct segment *s)
{
	struct list *node;

	if (!s)
		return;
	while ((node = list_take(&s->ports))) {
		struct port *port = container_of(node, struct port, node);

		link_free(port->link);
		free(port);
	}
	capture_free(s->capture);
	free(s);
}
