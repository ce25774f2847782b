/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/vsock/device.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "netstack/addr.h"
#include "netstack/base/iov.h"
#include "netstack/base/log.h"
#include "netstack/vsock/internal.h"

#define GUEST_CID_MIN 3U
/* Packets per round. */
#define BUDGET 128
/* Ports of connections that we open; below are those of well-known services. */
#define FIRST_PORT (1U << 20)
#define TICK_MS 1000

static struct vsock_device *from_vsock(struct vsock *v)
{
	return container_of(v, struct vsock_device, base);
}

static struct virtqueue *queue(struct vsock_device *d, unsigned int i)
{
	return vhost_backend_queue(d->backend, i);
}

/* ---- the guest's buffers ---- */

int vsock_device_take_room(struct vsock_device *d, struct vsock_room *room)
{
	struct virtqueue *q = queue(d, VSOCK_QUEUE_TO_GUEST);
	int r;

	if (!d->is_running)
		return -ENETDOWN;
	r = virtqueue_pop(q, room->iov, VSOCK_MAX_PIECES, &room->chain);
	if (r == 0 && virtqueue_enable_kicks(q))
		r = virtqueue_pop(q, room->iov, VSOCK_MAX_PIECES, &room->chain);
	if (r == -ENOBUFS)
		(void)virtqueue_fail(q, "a buffer in too many pieces");
	else if (r == 1 && (room->chain.n_out || room->chain.in_len < VSOCK_HEADER_SIZE))
		r = virtqueue_fail(q, "a buffer for a packet that cannot be one");
	if (r >= 0)
		return r;
	vhost_backend_break(d->backend, VSOCK_QUEUE_TO_GUEST);
	return -ENETDOWN;
}

void vsock_device_give(struct vsock_device *d, const struct vsock_room *room,
		       const struct vsock_header *header)
{
	uint8_t bytes[VSOCK_HEADER_SIZE];
	struct iovec from = { bytes, sizeof(bytes) };

	d->counters.to_guest_packets++;
	d->counters.to_guest_bytes += header->len;
	vsock_header_encode(header, bytes);
	iov_copy(room->iov, (int)room->chain.n_in, &from, 1);
	virtqueue_push(queue(d, VSOCK_QUEUE_TO_GUEST), room->chain.head,
		       sizeof(bytes) + header->len);
	loop_defer(d->loop, &d->flush);
}

void vsock_device_unroom(struct vsock_device *d, unsigned int n)
{
	virtqueue_unpop(queue(d, VSOCK_QUEUE_TO_GUEST), n);
}

static void on_flush(void *arg)
{
	struct vsock_device *d = arg;

	vhost_backend_flush(d->backend, VSOCK_QUEUE_TO_GUEST);
}

/* ---- connections ---- */

static struct list *bucket(struct vsock_device *d, const struct vsock_call *ports)
{
	return &d->buckets[hash_bytes(ports, sizeof(*ports)) % VSOCK_BUCKETS];
}

static struct vsock_conn *find(struct vsock_device *d, const struct vsock_call *ports)
{
	list_for_each(node, bucket(d, ports)) {
		struct vsock_conn *c = container_of(node, struct vsock_conn, in_table);

		if (c->ports.host_port == ports->host_port &&
		    c->ports.guest_port == ports->guest_port)
			return c;
	}
	return NULL;
}

static struct vsock_conn *open_conn(struct vsock_device *d, const struct vsock_call *ports,
				    enum vsock_state state)
{
	struct vsock_conn *c;

	if (d->counters.connections >= VSOCK_MAX_CONNECTIONS) {
		d->counters.too_many++;
		return NULL;
	}
	c = vsock_conn_new(d, ports, state);
	if (c) {
		list_append(bucket(d, ports), &c->in_table);
		d->counters.opened++;
	}
	return c;
}

void vsock_device_has_news(struct vsock_conn *c)
{
	if (!list_empty(&c->news))
		return;
	list_append(&c->device->news, &c->news);
	loop_defer(c->device->loop, &c->device->serve);
}

static void on_serve(void *arg)
{
	struct vsock_device *d = arg;
	struct list batch, *node;

	list_init(&batch);
	list_move_all(&batch, &d->news);
	while ((node = list_take(&batch))) {
		struct vsock_conn *c = container_of(node, struct vsock_conn, news);

		if (c->base.ready)
			c->base.ready(c->base.ready_arg);
	}
}

/* ---- resets of connections that there are not ---- */

static void send_resets(struct vsock_device *d)
{
	struct vsock_room room;

	while (d->n_resets && d->n_reserved == 0 && vsock_device_take_room(d, &room) == 1) {
		const struct vsock_call *ports = &d->resets[--d->n_resets];
		const struct vsock_header h = {
			.src_cid = VSOCK_CID_HOST,
			.dst_cid = d->guest_cid,
			.src_port = ports->host_port,
			.dst_port = ports->guest_port,
			.type = VSOCK_TYPE_STREAM,
			.op = VSOCK_OP_RST,
		};

		vsock_device_give(d, &room, &h);
	}
}

void vsock_device_refuse(struct vsock_device *d, const struct vsock_call *ports)
{
	if (d->n_resets == VSOCK_MAX_RESETS) {
		d->counters.resets_dropped++;
		return;
	}
	d->resets[d->n_resets++] = *ports;
	send_resets(d);
}

/* ---- packets of the guest ---- */

static struct vsock_listener *find_listener(struct vsock_device *d, uint32_t port)
{
	struct vsock_listener *any = NULL;

	list_for_each(node, &d->listeners) {
		struct vsock_listener *l = container_of(node, struct vsock_listener, node);

		if (l->port == port)
			return l;
		if (l->port == VSOCK_PORT_ANY)
			any = l;
	}
	return any;
}

static void receive_request(struct vsock_device *d, const struct vsock_call *ports,
			    const struct vsock_header *h)
{
	struct vsock_listener *l = find_listener(d, ports->host_port);
	struct vsock_conn *c = l ? open_conn(d, ports, VSOCK_OPEN) : NULL;

	if (!c) {
		vsock_device_refuse(d, ports);
		return;
	}
	c->peer_buf_alloc = h->buf_alloc;
	c->peer_fwd_cnt = h->fwd_cnt;
	c->pending = PENDING_RESPONSE; /* before anything that its owner may do */
	if (l->accept(l->arg, ports, &c->base) < 0) {
		vsock_conn_free(c);
		vsock_device_refuse(d, ports);
		return;
	}
	c = find(d, ports); /* its owner may have ended it at once */
	if (c)
		(void)vsock_conn_send(c, 0);
}

static void receive_packet(struct vsock_device *d, const struct vsock_header *h, unsigned int n)
{
	const struct vsock_call ports = { h->dst_port, h->src_port };
	struct vsock_conn *c;

	if (h->src_cid != d->guest_cid || h->dst_cid != VSOCK_CID_HOST) {
		d->counters.bad_addresses++;
		return;
	}
	c = find(d, &ports);
	if (c && h->type == VSOCK_TYPE_STREAM)
		vsock_conn_receive(c, h, d->iov, n);
	else if (!c && h->op == VSOCK_OP_REQUEST && h->type == VSOCK_TYPE_STREAM)
		receive_request(d, &ports, h);
	else if (h->op != VSOCK_OP_RST)
		vsock_device_refuse(d, &ports);
}

/* Leaves the header and what it says comes behind it. */
static unsigned int trim(struct iovec *iov, unsigned int n, size_t len)
{
	unsigned int i = 0;

	for (; i < n && len; i++) {
		if (iov[i].iov_len > len)
			iov[i].iov_len = len;
		len -= iov[i].iov_len;
	}
	return i;
}

static void receive_chain(struct vsock_device *d, const struct virtqueue_chain *chain)
{
	uint8_t bytes[VSOCK_HEADER_SIZE];
	struct iovec to = { bytes, sizeof(bytes) };
	struct vsock_header h;

	if (chain->out_len < sizeof(bytes)) {
		d->counters.bad_packets++;
		return;
	}
	iov_copy(&to, 1, d->iov, (int)chain->n_out);
	vsock_header_decode(bytes, &h);
	if (h.len > chain->out_len - sizeof(bytes)) {
		d->counters.bad_packets++;
		return;
	}
	d->counters.from_guest_packets++;
	d->counters.from_guest_bytes += h.len;
	receive_packet(d, &h, trim(d->iov, chain->n_out, sizeof(bytes) + h.len));
}

/* True if there was one. */
static bool receive_one(struct vsock_device *d)
{
	struct virtqueue *q = queue(d, VSOCK_QUEUE_FROM_GUEST);
	struct virtqueue_chain chain;
	int r = virtqueue_pop(q, d->iov, VIRTQUEUE_MAX_SIZE, &chain);

	if (r == 0)
		return false;
	if (r == -ENOBUFS)
		(void)virtqueue_fail(q, "a chain of too many pieces");
	else if (r > 0 && chain.n_in)
		r = virtqueue_fail(q, "a packet to be sent in a buffer to be written");
	if (r < 0) {
		vhost_backend_break(d->backend, VSOCK_QUEUE_FROM_GUEST);
		return false;
	}
	receive_chain(d, &chain);
	if (d->is_running)
		virtqueue_push(q, chain.head, 0);
	return true;
}

static void on_drain(void *arg)
{
	struct vsock_device *d = arg;
	struct virtqueue *q = queue(d, VSOCK_QUEUE_FROM_GUEST);
	int n = 0;

	if (!d->is_running)
		return;
	virtqueue_disable_kicks(q);
	while (d->is_running && n < BUDGET && receive_one(d))
		n++;
	if (!d->is_running)
		return;
	vhost_backend_flush(d->backend, VSOCK_QUEUE_FROM_GUEST);
	if (n == BUDGET || vhost_backend_await(d->backend, VSOCK_QUEUE_FROM_GUEST))
		loop_defer(d->loop, &d->drain);
}

/* ---- the device ---- */

/* The guest has room again: first come, first served. */
static void unblock(struct vsock_device *d)
{
	struct list batch, *node;

	virtqueue_disable_kicks(queue(d, VSOCK_QUEUE_TO_GUEST));
	send_resets(d);
	list_init(&batch);
	list_move_all(&batch, &d->blocked);
	while ((node = list_take(&batch)))
		vsock_conn_unblocked(container_of(node, struct vsock_conn, blocked));
}

static void on_retry(void *arg)
{
	struct vsock_device *d = arg;

	if (d->is_running)
		unblock(d);
}

static void on_kicked(void *arg, unsigned int i)
{
	struct vsock_device *d = arg;

	if (i == VSOCK_QUEUE_TO_GUEST)
		unblock(d);
	else if (i == VSOCK_QUEUE_FROM_GUEST)
		on_drain(d);
}

static void for_each_conn(struct vsock_device *d, void (*fn)(struct vsock_conn *c))
{
	for (unsigned int i = 0; i < VSOCK_BUCKETS; i++) {
		list_for_each(node, &d->buckets[i])
			fn(container_of(node, struct vsock_conn, in_table));
	}
}

static void lose(struct vsock_conn *c)
{
	vsock_conn_fail(c, -ECONNRESET);
}

static void on_lost(void *arg)
{
	for_each_conn(arg, lose);
}

static void on_start(void *arg)
{
	struct vsock_device *d = arg;

	loop_cancel_deferred(&d->lost);
	on_lost(d); /* the new driver knows none of them */
	d->is_running = d->base.is_up = true;
	loop_defer(d->loop, &d->drain);
	log_info("%s: vsock of CID %u is up", d->name, d->guest_cid);
}

static void on_stop(void *arg)
{
	struct vsock_device *d = arg;

	d->is_running = d->base.is_up = false;
	d->n_resets = 0;
	loop_cancel_deferred(&d->drain);
	loop_defer(d->loop, &d->lost); /* a connection may be what found the fault */
	log_info("%s: vsock of CID %u is down", d->name, d->guest_cid);
}

static const struct vhost_device_ops device_ops = {
	.start = on_start,
	.stop = on_stop,
	.kicked = on_kicked,
};

static void check_deadline(struct vsock_conn *c)
{
	if (c->deadline_ms == 0)
		return;
	vsock_device_need_tick(c->device);
	if (loop_now_ms(c->device->loop) >= c->deadline_ms)
		vsock_conn_fail(c, -ETIMEDOUT);
}

static void on_tick(void *arg)
{
	for_each_conn(arg, check_deadline);
}

void vsock_device_need_tick(struct vsock_device *d)
{
	if (!timer_is_running(d->tick))
		timer_start(d->tick, TICK_MS);
}

/* ---- as a vsock ---- */

static int device_dial(struct vsock *v, uint32_t port, uint32_t *host_port, struct stream **out)
{
	struct vsock_device *d = from_vsock(v);
	struct vsock_call ports = { 0, port };
	struct vsock_conn *c;

	if (!d->is_running)
		return -ENETDOWN;
	do {
		if (++d->next_port == VSOCK_PORT_ANY)
			d->next_port = FIRST_PORT;
		ports.host_port = d->next_port;
	} while (find(d, &ports));
	c = open_conn(d, &ports, VSOCK_CONNECTING);
	if (!c)
		return -ENOMEM;
	*host_port = ports.host_port;
	*out = &c->base;
	(void)vsock_conn_send(c, PENDING_REQUEST); /* not gone: it has its owner */
	return 0;
}

static int device_listen(struct vsock *v, struct vsock_listener *listener)
{
	struct vsock_device *d = from_vsock(v);

	list_for_each(node, &d->listeners) {
		if (container_of(node, struct vsock_listener, node)->port == listener->port)
			return -EADDRINUSE;
	}
	list_init(&listener->node);
	list_append(&d->listeners, &listener->node);
	return 0;
}

static void device_unlisten(struct vsock *v, struct vsock_listener *listener)
{
	(void)v;
	list_unlink(&listener->node);
}

static void device_free(struct vsock *v)
{
	struct vsock_device *d = from_vsock(v);

	vhost_server_free(d->server);
	for_each_conn(d, vsock_conn_free); /* those that their owners have closed */
	loop_cancel_deferred(&d->drain);
	loop_cancel_deferred(&d->flush);
	loop_cancel_deferred(&d->serve);
	loop_cancel_deferred(&d->lost);
	loop_cancel_deferred(&d->retry);
	timer_free(d->tick);
	free(d);
}

const struct vsock_counters *vsock_device_counters(const struct vsock *v)
{
	return &container_of(v, const struct vsock_device, base)->counters;
}

static void device_counters(const struct vsock *v, vsock_counter_fn *fn, void *arg)
{
	const struct vsock_counters *c = vsock_device_counters(v);
	const struct {
		const char *name;
		uint64_t value;
	} all[] = {
		{ "vsock.connections", c->connections },
		{ "vsock.opened", c->opened },
		{ "vsock.to-guest-packets", c->to_guest_packets },
		{ "vsock.to-guest-bytes", c->to_guest_bytes },
		{ "vsock.from-guest-packets", c->from_guest_packets },
		{ "vsock.from-guest-bytes", c->from_guest_bytes },
		{ "vsock.too-many", c->too_many },
		{ "vsock.bad-packets", c->bad_packets },
		{ "vsock.bad-addresses", c->bad_addresses },
		{ "vsock.over-credit", c->over_credit },
		{ "vsock.resets-dropped", c->resets_dropped },
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (all[i].value)
			fn(arg, all[i].name, all[i].value);
	}
}

static const struct vsock_ops vsock_ops = {
	.dial = device_dial,
	.listen = device_listen,
	.unlisten = device_unlisten,
	.counters = device_counters,
	.free = device_free,
};

static int device_new(struct loop *loop, const char *name, uint32_t guest_cid,
		      struct vsock_device **out)
{
	struct vsock_device *d;
	int r;

	if (guest_cid < GUEST_CID_MIN || guest_cid == VSOCK_PORT_ANY)
		return -EINVAL;
	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->base.ops = &vsock_ops;
	d->loop = loop;
	d->guest_cid = guest_cid;
	d->next_port = FIRST_PORT;
	for (unsigned int i = 0; i < sizeof(guest_cid); i++)
		d->config[i] = (uint8_t)(guest_cid >> 8 * i);
	(void)snprintf(d->name, sizeof(d->name), "vsock:%s", name);
	for (unsigned int i = 0; i < VSOCK_BUCKETS; i++)
		list_init(&d->buckets[i]);
	list_init(&d->listeners);
	list_init(&d->blocked);
	list_init(&d->news);
	loop_deferred_init(&d->drain, on_drain, d);
	loop_deferred_init(&d->flush, on_flush, d);
	loop_deferred_init(&d->serve, on_serve, d);
	loop_deferred_init(&d->lost, on_lost, d);
	loop_deferred_init(&d->retry, on_retry, d);
	r = timer_new(loop, on_tick, d, &d->tick);
	if (r < 0)
		free(d);
	else
		*out = d;
	return r;
}

int vsock_device_listen(struct loop *loop, const char *path, const struct vsock_device_config *c,
			struct vsock **out)
{
	struct vsock_device *d;
	int r = device_new(loop, path, c->guest_cid, &d);

	if (r == 0) {
		const struct vhost_device device = {
			.name = d->name,
			.ops = &device_ops,
			.arg = d,
			.features = VHOST_COMMON_FEATURES,
			.n_queues = VSOCK_N_QUEUES,
			.n_needed = VSOCK_QUEUE_EVENT,
			.config = d->config,
			.config_size = sizeof(d->config),
			.busy_poll_us = c->busy_poll_us,
		};

		r = vhost_server_listen(loop, path, &device, &d->server);
		if (r < 0) {
			timer_free(d->tick);
			free(d);
		}
	}
	if (r < 0)
		return r;
	d->backend = vhost_server_backend(d->server);
	vhost_server_start(d->server);
	*out = &d->base;
	return 0;
}
