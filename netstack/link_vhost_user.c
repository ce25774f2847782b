/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/link_vhost_user.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "netstack/base/iov.h"
#include "netstack/base/list.h"
#include "netstack/base/loop.h"
#include "netstack/link.h"
#include "netstack/rx_buffer.h"
#include "netstack/vhost_user/server.h"

enum { QUEUE_TO_GUEST, QUEUE_FROM_GUEST, N_QUEUES };

/* Feature bits (virtio 1.1, section 5.1.3). */
#define NET_F_CSUM 0U
#define NET_F_GUEST_CSUM 1U
#define NET_F_MTU 3U
#define NET_F_MAC 5U
#define NET_F_GUEST_TSO4 7U
#define NET_F_GUEST_TSO6 8U
#define NET_F_HOST_TSO4 11U
#define NET_F_HOST_TSO6 12U
#define NET_F_MRG_RXBUF 15U
#define NET_F_STATUS 16U
#define NET_FEATURES                                                                    \
	(VHOST_COMMON_FEATURES | 1ULL << NET_F_CSUM | 1ULL << NET_F_GUEST_CSUM |        \
	 1ULL << NET_F_MTU | 1ULL << NET_F_MAC | 1ULL << NET_F_GUEST_TSO4 |             \
	 1ULL << NET_F_GUEST_TSO6 | 1ULL << NET_F_HOST_TSO4 | 1ULL << NET_F_HOST_TSO6 | \
	 1ULL << NET_F_MRG_RXBUF | 1ULL << NET_F_STATUS)

/* struct virtio_net_config (virtio 1.1, section 5.1.4). */
enum { CONFIG_MAC, CONFIG_STATUS = 6, CONFIG_MTU = 10, CONFIG_SIZE = 12 };
#define STATUS_LINK_UP 1U

#define NUM_BUFFERS 10U /* where it is in the header of a frame to the guest */

/* Frames per round, so that one guest does not starve everything else. */
#define RX_BUDGET 128
/* A frame up to this size is copied: it costs less than to keep the guest's
 * driver waiting for its buffers. */
#define COPY_MAX 2048U
#define COPY_BUFFER_SIZE (256U << 10)
#define SPARE_LENT 64U

struct link_vhost {
	struct link link;
	struct loop *loop;
	struct vhost_server *server;
	struct vhost_backend *backend;
	uint8_t config[CONFIG_SIZE];

	bool is_running;       /* the queues may be touched */
	unsigned int run;      /* counts the times that they started */
	bool is_up;	       /* as the owner was told, */
	unsigned int told_run; /* of this run */
	bool owner_waits;      /* for writable() */
	bool is_draining;
	struct loop_deferred announce, drain, flush;

	struct rx_buffer copies;
	struct buffer_pool lent; /* of struct lent_chain */
	/* the chains in hand, and their pieces */
	struct virtqueue_chain chains[VIRTQUEUE_MAX_SIZE];
	struct iovec iov[VIRTQUEUE_MAX_SIZE];
};

/* A chain of the guest's that a frame refers to. */
struct lent_chain {
	struct guest_memory *memory;
	unsigned int run;
	uint16_t head;
	uint8_t headers[FRAME_MAX_HEADERS];
};

static struct link_vhost *from_link(struct link *link)
{
	return container_of(link, struct link_vhost, link);
}

static bool has(const struct link_vhost *l, unsigned int feature)
{
	return vhost_backend_has(l->backend, feature);
}

/* ---- from the guest ---- */

static void give_back(struct link_vhost *l, uint16_t head)
{
	virtqueue_push(vhost_backend_queue(l->backend, QUEUE_FROM_GUEST), head, 0);
	if (!l->is_draining)
		loop_defer(l->loop, &l->flush);
}

static void on_chain_unused(struct buffer *buffer)
{
	struct link_vhost *l = container_of(buffer->pool, struct link_vhost, lent);
	struct lent_chain *lent = (void *)buffer->data;

	/* not to a driver that has begun anew in the meantime */
	if (l->is_running && lent->run == l->run)
		give_back(l, lent->head);
	guest_memory_unref(lent->memory);
}

static void on_flush(void *arg)
{
	struct link_vhost *l = arg;

	vhost_backend_flush(l->backend, QUEUE_FROM_GUEST);
}

/* Reads the chain from the start, behind `skip` bytes. */
static void read_chain(struct link_vhost *l, const struct virtqueue_chain *chain, size_t skip,
		       struct iovec to)
{
	uint8_t skipped[VNET_HEADER_SIZE];
	struct iovec both[2] = { { skipped, skip }, to };

	assert(skip <= sizeof(skipped));
	iov_copy(both, 2, l->iov, (int)chain->n_out);
}

static bool is_offload_agreed(const struct link_vhost *l, const struct frame_offload *o)
{
	if (o->csum_partial && !has(l, NET_F_CSUM))
		return false;
	return o->gso == FRAME_GSO_NONE ||
	       has(l, o->gso == FRAME_GSO_TCP4 ? NET_F_HOST_TSO4 : NET_F_HOST_TSO6);
}

/* Fills in what the header says; false for a frame that is to be dropped. */
static bool check(struct link_vhost *l, const struct virtqueue_chain *chain, struct frame *frame)
{
	uint8_t vnet[VNET_HEADER_SIZE];

	if (chain->out_len < VNET_HEADER_SIZE + ETH_HEADER_SIZE) {
		l->link.counters.rx_runt++;
		return false;
	}
	if (chain->out_len > VNET_HEADER_SIZE + FRAME_MAX_SIZE) {
		l->link.counters.rx_oversized++;
		return false;
	}
	read_chain(l, chain, 0, (struct iovec){ vnet, sizeof(vnet) });
	if (frame_decode_vnet(vnet, chain->out_len - sizeof(vnet), &frame->offload) < 0 ||
	    !is_offload_agreed(l, &frame->offload)) {
		l->link.counters.rx_bad_vnet++;
		return false;
	}
	return true;
}

/* The pieces of the chain behind the first `skip` bytes. */
static void refer(struct link_vhost *l, const struct virtqueue_chain *chain, size_t skip,
		  struct frame *frame)
{
	for (unsigned int i = 0; i < chain->n_out; i++) {
		const struct iovec *piece = &l->iov[i];
		size_t n = skip < piece->iov_len ? skip : piece->iov_len;

		if (n < piece->iov_len)
			frame_add(frame, (uint8_t *)piece->iov_base + n, piece->iov_len - n);
		skip -= n;
	}
}

/* The headers are copied, so that they stay what they are once they are checked;
 * the rest stays where it is. */
static bool lend(struct link_vhost *l, const struct virtqueue_chain *chain, struct frame *frame)
{
	struct buffer *buffer;
	struct lent_chain *lent;

	if (chain->out_len <= VNET_HEADER_SIZE + COPY_MAX || chain->n_out >= FRAME_MAX_REFS)
		return false;
	buffer = buffer_take(&l->lent);
	if (!buffer)
		return false;
	lent = (void *)buffer->data;
	lent->run = l->run;
	lent->head = chain->head;
	lent->memory = guest_memory_ref(vhost_backend_queue(l->backend, QUEUE_FROM_GUEST)->memory);
	read_chain(l, chain, VNET_HEADER_SIZE,
		   (struct iovec){ lent->headers, sizeof(lent->headers) });
	frame_add(frame, lent->headers, sizeof(lent->headers));
	refer(l, chain, VNET_HEADER_SIZE + sizeof(lent->headers), frame);
	frame->owner = buffer;
	return true;
}

/* The driver has its buffers back at once. */
static bool copy(struct link_vhost *l, const struct virtqueue_chain *chain, struct frame *frame)
{
	size_t len = chain->out_len - VNET_HEADER_SIZE;
	bool has_room = rx_buffer_prepare(&l->copies, 0, len) == 0;

	if (has_room) {
		struct iovec to = { rx_buffer_end(&l->copies), len };

		read_chain(l, chain, VNET_HEADER_SIZE, to);
		rx_buffer_commit(&l->copies, len);
		frame_add(frame, to.iov_base, len);
		frame->owner = buffer_ref(l->copies.current);
	} else {
		l->link.counters.rx_no_memory++;
	}
	give_back(l, chain->head);
	return has_room;
}

static void receive_chain(struct link_vhost *l, const struct virtqueue_chain *chain)
{
	struct frame frame;
	struct buffer *owner;

	frame_init(&frame);
	if (!check(l, chain, &frame)) {
		give_back(l, chain->head);
		return;
	}
	if (!lend(l, chain, &frame) && !copy(l, chain, &frame))
		return;
	owner = frame.owner;
	l->link.counters.rx_frames++;
	l->link.counters.rx_bytes += frame.len;
	l->link.owner->receive(l->link.owner_arg, &frame);
	buffer_unref(owner);
}

/* True if there was one. */
static bool receive_one(struct link_vhost *l)
{
	struct virtqueue *q = vhost_backend_queue(l->backend, QUEUE_FROM_GUEST);
	struct virtqueue_chain chain;
	int r = virtqueue_pop(q, l->iov, VIRTQUEUE_MAX_SIZE, &chain);

	if (r == 0)
		return false;
	if (r == -ENOBUFS)
		(void)virtqueue_fail(q, "a chain of too many pieces");
	else if (r > 0 && chain.n_in)
		r = virtqueue_fail(q, "a frame to be sent in a buffer to be written");
	if (r < 0) {
		vhost_backend_break(l->backend, QUEUE_FROM_GUEST);
		return false;
	}
	receive_chain(l, &chain);
	return true;
}

static void on_drain(void *arg)
{
	struct link_vhost *l = arg;
	int n = 0;

	if (!l->is_running || !l->is_up)
		return;
	virtqueue_disable_kicks(vhost_backend_queue(l->backend, QUEUE_FROM_GUEST));
	l->is_draining = true;
	while (l->is_running && n < RX_BUDGET && receive_one(l))
		n++;
	if (n)
		l->link.owner->batch_done(l->link.owner_arg);
	l->is_draining = false;
	if (!l->is_running)
		return;
	vhost_backend_flush(l->backend, QUEUE_FROM_GUEST);
	if (n == RX_BUDGET || vhost_backend_await(l->backend, QUEUE_FROM_GUEST))
		loop_defer(l->loop, &l->drain);
}

/* ---- to the guest ---- */

/* What has been taken of the queue for one frame. */
struct hand {
	unsigned int n_chains, n_iov;
	size_t room;
};

/* One more chain: 1; 0 when there is none; -errno. */
static int grab(struct link_vhost *l, struct hand *hand)
{
	struct virtqueue *q = vhost_backend_queue(l->backend, QUEUE_TO_GUEST);
	struct virtqueue_chain *chain = &l->chains[hand->n_chains];
	int r;

	if (hand->n_chains == q->size)
		return -ENOBUFS;
	r = virtqueue_pop(q, l->iov + hand->n_iov, VIRTQUEUE_MAX_SIZE - hand->n_iov, chain);
	/* what else comes is asked for before we say that we wait */
	if (r == 0 && virtqueue_enable_kicks(q))
		r = virtqueue_pop(q, l->iov + hand->n_iov, VIRTQUEUE_MAX_SIZE - hand->n_iov, chain);
	if (r <= 0)
		return r;
	if (chain->n_out || chain->in_len < VNET_HEADER_SIZE)
		return virtqueue_fail(q, "a buffer for a frame that cannot be one");
	hand->n_chains++;
	hand->n_iov += chain->n_in;
	hand->room += chain->in_len;
	return 1;
}

/* Chains with room for size bytes: 1; 0 when they are not there yet; -ENOBUFS when
 * they never will be; -EPROTO. */
static int gather(struct link_vhost *l, size_t size, struct hand *hand)
{
	bool is_mergeable = has(l, NET_F_MRG_RXBUF);
	int r = 1;

	while (r == 1 && hand->room < size) {
		if (hand->n_chains && !is_mergeable)
			r = -ENOBUFS;
		else
			r = grab(l, hand);
	}
	if (r != 1)
		virtqueue_unpop(vhost_backend_queue(l->backend, QUEUE_TO_GUEST), hand->n_chains);
	return r;
}

static void fill(struct link_vhost *l, const struct frame *frame, const struct hand *hand)
{
	struct virtqueue *q = vhost_backend_queue(l->backend, QUEUE_TO_GUEST);
	struct iovec from[FRAME_MAX_REFS + 1];
	uint8_t vnet[VNET_HEADER_SIZE];
	size_t left = sizeof(vnet) + frame->len;

	frame_encode_vnet(frame, vnet);
	vnet[NUM_BUFFERS] = (uint8_t)hand->n_chains;
	vnet[NUM_BUFFERS + 1] = (uint8_t)(hand->n_chains >> 8);
	from[0] = (struct iovec){ vnet, sizeof(vnet) };
	memcpy(from + 1, frame->refs, (size_t)frame->n_refs * sizeof(*from));
	iov_copy(l->iov, (int)hand->n_iov, from, frame->n_refs + 1);
	for (unsigned int i = 0; i < hand->n_chains; i++) {
		size_t len = l->chains[i].in_len < left ? l->chains[i].in_len : left;

		virtqueue_push(q, l->chains[i].head, len);
		left -= len;
	}
}

static int vhost_send(struct link *link, struct frame *frame)
{
	struct link_vhost *l = from_link(link);
	struct hand hand = { 0 };
	int r;

	assert(frame->len >= ETH_HEADER_SIZE && frame->len <= FRAME_MAX_SIZE);
	if (!l->is_running) {
		link->counters.tx_dropped++;
		return -ENETDOWN;
	}
	r = gather(l, VNET_HEADER_SIZE + frame->len, &hand);
	if (r == 0) {
		link->counters.tx_blocked++;
		l->owner_waits = true;
		return -EAGAIN;
	}
	if (r < 0) {
		link->counters.tx_dropped++;
		if (r == -EPROTO)
			vhost_backend_break(l->backend, QUEUE_TO_GUEST);
		return r == -EPROTO ? -ENETDOWN : -EMSGSIZE;
	}
	fill(l, frame, &hand);
	link->counters.tx_frames++;
	link->counters.tx_bytes += frame->len;
	return 0;
}

static void vhost_flush(struct link *link)
{
	vhost_backend_flush(from_link(link)->backend, QUEUE_TO_GUEST);
}

static void on_writable(struct link_vhost *l)
{
	if (!l->owner_waits || !l->is_up)
		return;
	l->owner_waits = false;
	virtqueue_disable_kicks(vhost_backend_queue(l->backend, QUEUE_TO_GUEST));
	l->link.owner->writable(l->link.owner_arg);
	vhost_flush(&l->link);
}

/* ---- the device ---- */

static void on_announce(void *arg)
{
	struct link_vhost *l = arg;

	if (l->is_up && (!l->is_running || l->told_run != l->run)) {
		l->is_up = false;
		l->link.owner->state(l->link.owner_arg, false);
	}
	if (!l->is_running || l->is_up)
		return;
	l->is_up = true;
	l->told_run = l->run;
	l->link.caps.csum = has(l, NET_F_GUEST_CSUM);
	l->link.caps.tso =
		l->link.caps.csum && has(l, NET_F_GUEST_TSO4) && has(l, NET_F_GUEST_TSO6);
	l->link.owner->state(l->link.owner_arg, true);
	loop_defer(l->loop, &l->drain);
}

static void on_start(void *arg)
{
	struct link_vhost *l = arg;

	l->is_running = true;
	l->run++;
	loop_defer(l->loop, &l->announce);
}

/* The owner is told later: it may be in the middle of a send(). */
static void on_stop(void *arg)
{
	struct link_vhost *l = arg;

	l->is_running = l->owner_waits = false;
	loop_defer(l->loop, &l->announce);
}

static void on_kicked(void *arg, unsigned int queue)
{
	struct link_vhost *l = arg;

	if (queue == QUEUE_TO_GUEST)
		on_writable(l);
	else
		on_drain(l);
}

static const struct vhost_device_ops device_ops = {
	.start = on_start,
	.stop = on_stop,
	.kicked = on_kicked,
};

/* ---- constructors ---- */

static void vhost_free(struct link *link)
{
	struct link_vhost *l = from_link(link);

	vhost_server_free(l->server);
	loop_cancel_deferred(&l->announce);
	loop_cancel_deferred(&l->drain);
	loop_cancel_deferred(&l->flush);
	rx_buffer_deinit(&l->copies);
	buffer_pool_deinit(&l->lent);
	free(l);
}

static void vhost_start(struct link *link)
{
	vhost_server_start(from_link(link)->server);
}

static const struct link_ops vhost_ops = {
	.start = vhost_start,
	.send = vhost_send,
	.flush = vhost_flush,
	.free = vhost_free,
};

static void put_le16(uint8_t *at, uint16_t v)
{
	at[0] = (uint8_t)v;
	at[1] = (uint8_t)(v >> 8);
}

static struct link_vhost *link_new(struct loop *loop, const struct link_vhost_user_config *config)
{
	struct link_vhost *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->link.ops = &vhost_ops;
	l->link.caps = (struct link_caps){ .mtu = config->mtu, .lossless = true };
	l->loop = loop;
	memcpy(l->config + CONFIG_MAC, config->mac.b, sizeof(config->mac.b));
	put_le16(l->config + CONFIG_STATUS, STATUS_LINK_UP);
	put_le16(l->config + CONFIG_MTU, config->mtu);
	loop_deferred_init(&l->announce, on_announce, l);
	loop_deferred_init(&l->drain, on_drain, l);
	loop_deferred_init(&l->flush, on_flush, l);
	rx_buffer_init(&l->copies, COPY_BUFFER_SIZE);
	buffer_pool_init(&l->lent, sizeof(struct lent_chain), SPARE_LENT);
	l->lent.is_borrowed = true;
	l->lent.on_unused = on_chain_unused;
	return l;
}

int link_vhost_user_listen(struct loop *loop, const char *path,
			   const struct link_vhost_user_config *config, struct link **out)
{
	struct link_vhost *l = link_new(loop, config);
	struct vhost_device device;
	int r;

	if (!l)
		return -ENOMEM;
	(void)snprintf(l->link.name, sizeof(l->link.name), "vhost-user:%s", path);
	device = (struct vhost_device){
		.name = l->link.name,
		.ops = &device_ops,
		.arg = l,
		.features = NET_FEATURES,
		.n_queues = N_QUEUES,
		.n_needed = N_QUEUES,
		.config = l->config,
		.config_size = CONFIG_SIZE,
		.busy_poll_us = config->busy_poll_us,
	};
	r = vhost_server_listen(loop, path, &device, &l->server);
	if (r < 0) {
		vhost_free(&l->link);
		return r;
	}
	l->backend = vhost_server_backend(l->server);
	*out = &l->link;
	return 0;
}
