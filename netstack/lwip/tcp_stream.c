/* SPDX-License-Identifier: Apache-2.0 */
/* One lwIP connection as a stream.
 *
 * From the guest: lwIP's pbufs queue up in rx until the owner consumes them;
 * only then the guest's window opens again (tcp_recved), so a slow reader stops
 * its sender and never costs more than TCP_WND.
 *
 * To the guest: the owner fills blocks, lwIP refers to them without copying.
 * A block may be freed when no segment in lwIP's queues touches it: lwIP keeps
 * a whole segment until all of it is acknowledged, so the count of acknowledged
 * bytes is not enough and the oldest queued segment is asked (held_from()). */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "netstack/base/iov.h"
#include "netstack/lwip/internal.h"
#include "netstack/lwip/lent_pbuf.h"

/* Without segmentation by the link every 1460 bytes are a segment, and lwIP
 * walks its list of segments for each: more in flight is slower. */
#define TX_LIMIT_SEGMENTED (256U * 1024U)
#define TX_LIMIT_OFFLOADED ((uint32_t)TCP_SND_BUF)
#define RESERVE_BLOCKS 4U
/* What all connections that their owners have closed may still hold. */
#define ORPHANS_MAX_BYTES (256ULL << 20)
/* No congestion exists on a memory copy; what limits is the guest's window. */
#define INITIAL_CWND (1U << 20)

static const struct stream_ops tcp_stream_ops;

static struct tcp_stream *from_stream(struct stream *s)
{
	return container_of(s, struct tcp_stream, base);
}

void tcp_stream_has_news(struct tcp_stream *s)
{
	if (!s->is_announced)
		return; /* waits in engine.accepted; its owner will look */
	list_unlink(&s->news);
	list_append(&s->engine->news, &s->news);
}

struct tcp_stream *tcp_stream_new(struct engine *e)
{
	struct tcp_stream *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->base.ops = &tcp_stream_ops;
	s->engine = e;
	list_init(&s->news);
	list_append(&e->streams, &s->node);
	e->counters.connections++;
	return s;
}

static void drop_blocks(struct tcp_stream *s)
{
	for (unsigned int i = 0; i < s->n_blocks; i++)
		buffer_unref(s->blocks[i].buffer);
	s->n_blocks = 0;
	s->tx_held_bytes = s->tx_unqueued = s->tx_freed = 0;
}

/* lwIP may live on with the connection (TIME_WAIT), but without us. */
static void detach(struct tcp_stream *s)
{
	if (!s->pcb)
		return;
	tcp_arg(s->pcb, NULL);
	tcp_recv(s->pcb, NULL);
	tcp_sent(s->pcb, NULL);
	tcp_err(s->pcb, NULL);
	s->pcb = NULL;
}

void tcp_stream_free(struct tcp_stream *s)
{
	detach(s);
	rx_queue_clear(&s->rx);
	drop_blocks(s);
	list_unlink(&s->node);
	list_unlink(&s->news);
	s->engine->counters.connections--;
	free(s);
}

void tcp_stream_fail(struct tcp_stream *s, int error)
{
	struct tcp_pcb *pcb = s->pcb;

	if (!s->base.error)
		s->base.error = error;
	detach(s);
	if (pcb)
		tcp_abort(pcb);
	drop_blocks(s);
	tcp_stream_has_news(s);
}

/* --- what lwIP tells ----------------------------------------------------- */

static err_t on_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	struct tcp_stream *s = arg;

	(void)pcb;
	(void)err;
	if (!p)
		s->has_fin = true;
	else if (!rx_queue_append(&s->rx, p))
		return ERR_MEM; /* lwIP keeps it and offers it again */
	else
		s->is_short = p->tot_len < s->guest_mss;
	tcp_stream_has_news(s);
	return ERR_OK;
}

static uint32_t seg_seq(const struct tcp_seg *seg)
{
	return lwip_ntohl(seg->tcphdr->seqno);
}

/* The number of the oldest byte that lwIP still refers to. */
static uint32_t held_from(const struct tcp_pcb *pcb)
{
	uint32_t seq = pcb->snd_lbb;

	if (pcb->unacked && TCP_SEQ_LT(seg_seq(pcb->unacked), seq))
		seq = seg_seq(pcb->unacked);
	if (pcb->unsent && TCP_SEQ_LT(seg_seq(pcb->unsent), seq))
		seq = seg_seq(pcb->unsent);
	return seq;
}

static void drop_first_block(struct tcp_stream *s)
{
	buffer_unref(s->blocks[0].buffer);
	s->n_blocks--;
	memmove(&s->blocks[0], &s->blocks[1], s->n_blocks * sizeof(s->blocks[0]));
	s->tx_freed = 0;
}

static void free_sent(struct tcp_stream *s)
{
	uint32_t n = held_from(s->pcb) - s->tx_first_seq;

	if (n > s->tx_held_bytes) /* our FIN has a number as well */
		n = s->tx_held_bytes;
	s->tx_first_seq += n;
	s->tx_held_bytes -= n;
	s->tx_freed += n;
	while (s->n_blocks && s->tx_freed >= s->blocks[0].filled) {
		uint32_t rest = s->tx_freed - s->blocks[0].filled;

		drop_first_block(s);
		s->tx_freed = rest;
	}
}

static void queue_blocks(struct tcp_stream *s);

static err_t on_sent(void *arg, struct tcp_pcb *pcb, u16_t len)
{
	struct tcp_stream *s = arg;

	(void)pcb;
	(void)len;
	free_sent(s);
	if (s->tx_unqueued)
		queue_blocks(s);
	tcp_stream_has_news(s);
	return ERR_OK;
}

void tcp_stream_ended(struct tcp_stream *s)
{
	detach(s);
	drop_blocks(s);
	tcp_stream_has_news(s);
}

static void on_error(void *arg, err_t err)
{
	struct tcp_stream *s = arg;

	s->pcb = NULL; /* lwIP has freed it, and with it every reference */
	drop_blocks(s);
	if (err == ERR_CLSD) /* as tcp_stream_ended() */
		;
	else if (err == ERR_RST)
		s->base.error = s->is_connected ? -ECONNRESET : -ECONNREFUSED;
	else
		s->base.error = -ETIMEDOUT;
	tcp_stream_has_news(s);
}

void tcp_stream_attach(struct tcp_stream *s, struct tcp_pcb *pcb)
{
	s->pcb = pcb;
	tcp_arg(pcb, s);
	tcp_recv(pcb, on_recv);
	tcp_sent(pcb, on_sent);
	tcp_err(pcb, on_error);
	tcp_nagle_disable(pcb);
	ip_set_option(pcb, SOF_KEEPALIVE);
}

static void raise_segment_size(struct tcp_stream *s)
{
	struct engine *e = s->engine;
	struct tcp_pcb *pcb = s->pcb;
	unsigned int n;

	s->guest_mss = pcb->mss;
	s->tx_limit = pcb->mss < 16384 ? TX_LIMIT_SEGMENTED : TX_LIMIT_OFFLOADED;
	if (!e->owner->can_segment(e->owner_arg, &s->guest.addr))
		return;
	s->tx_limit = TX_LIMIT_OFFLOADED;
	n = (unsigned int)TCP_MSS / pcb->mss; /* whole segments: no runt behind every 64 KiB */
	if (n > 1)
		pcb->mss = (u16_t)(n * pcb->mss);
}

void tcp_stream_connected(struct tcp_stream *s)
{
	struct tcp_pcb *pcb = s->pcb;

	s->is_connected = true;
	s->guest.addr = ipaddr_from_lwip(&pcb->remote_ip);
	s->guest.port = pcb->remote_port;
	s->host.addr = ipaddr_from_lwip(&pcb->local_ip);
	s->host.port = pcb->local_port;
	s->tx_first_seq = pcb->snd_lbb;
	raise_segment_size(s);
	pcb->cwnd = INITIAL_CWND;
	pcb->ssthresh = TCP_SND_BUF;
	tcp_stream_has_news(s);
}

/* --- from the guest ------------------------------------------------------ */

static ssize_t rx_status(const struct tcp_stream *s)
{
	if (s->base.error)
		return s->base.error;
	return s->has_fin ? 0 : -EAGAIN;
}

static ssize_t tcp_stream_peek(struct stream *base, struct iovec *iov, int n, int *n_filled)
{
	struct tcp_stream *s = from_stream(base);
	size_t len = rx_queue_peek(&s->rx, iov, n, n_filled);

	/* a reset discards what came before it (RFC 9293, section 3.10.7.4) */
	if (s->base.error || len == 0)
		return rx_status(s);
	return (ssize_t)len;
}

static void tcp_stream_consume(struct stream *base, size_t len)
{
	struct tcp_stream *s = from_stream(base);

	rx_queue_consume(&s->rx, len);
	while (len && s->pcb) {
		u16_t n = len > 0xffff ? 0xffff : (u16_t)len;

		tcp_recved(s->pcb, n);
		len -= n;
	}
}

static ssize_t tcp_stream_read(struct stream *base, const struct iovec *iov, int n)
{
	struct iovec have[16];
	int n_have;
	size_t copied;
	ssize_t r = tcp_stream_peek(base, have, 16, &n_have);

	if (r <= 0)
		return r;
	copied = iov_copy(iov, n, have, n_have);
	tcp_stream_consume(base, copied);
	return (ssize_t)copied;
}

/* --- to the guest -------------------------------------------------------- */

static void finish_shutdown(struct tcp_stream *s)
{
	if (!s->wants_shutdown || s->tx_unqueued || !s->is_connected || !s->pcb)
		return;
	if (tcp_shutdown(s->pcb, 0, 1) == ERR_OK)
		s->wants_shutdown = false; /* else: memory; the next sent() tries */
}

/* Gives lwIP one block from byte `skip` on; false when lwIP is full. */
static bool queue_block(struct tcp_stream *s, const struct tx_block *b, uint32_t skip)
{
	while (skip < b->filled) {
		uint32_t n = b->filled - skip;

		if (n > 0xffff)
			n = 0xffff;
		if (n > tcp_sndbuf(s->pcb))
			n = tcp_sndbuf(s->pcb);
		if (n == 0 || tcp_write(s->pcb, b->buffer->data + skip, (u16_t)n, 0) != ERR_OK)
			return false;
		skip += n;
		s->tx_held_bytes += n;
		s->tx_unqueued -= n;
	}
	return true;
}

/* Gives lwIP what is in the blocks and not queued yet. */
static void queue_blocks(struct tcp_stream *s)
{
	uint32_t skip = s->tx_freed + s->tx_held_bytes;

	for (unsigned int i = 0; i < s->n_blocks && s->tx_unqueued; i++) {
		const struct tx_block *b = &s->blocks[i];

		if (skip >= b->filled) {
			skip -= b->filled;
			continue;
		}
		if (!queue_block(s, b, skip))
			break;
		skip = 0;
	}
	finish_shutdown(s);
	tcp_output(s->pcb);
}

static ssize_t tcp_stream_reserve(struct stream *base, struct iovec *iov, int n, int *n_filled)
{
	struct tcp_stream *s = from_stream(base);
	uint32_t in_use = s->tx_held_bytes + s->tx_unqueued;
	size_t len = 0;
	int filled = 0;

	*n_filled = 0;
	if (s->base.error)
		return s->base.error;
	if (!s->is_connected || s->tx_unqueued || in_use >= s->tx_limit)
		return -EAGAIN;
	for (unsigned int i = 0; i < RESERVE_BLOCKS && filled < n; i++) {
		struct tx_block *last = s->n_blocks ? &s->blocks[s->n_blocks - 1] : NULL;
		uint32_t used;

		if (i > 0 || !last || last->filled == TX_BLOCK_SIZE) {
			if (s->n_blocks == TX_MAX_BLOCKS || in_use + len >= s->tx_limit)
				break;
			last = &s->blocks[s->n_blocks];
			*last = (struct tx_block){ buffer_take(&s->engine->blocks), 0 };
			if (!last->buffer)
				break;
			s->n_blocks++;
		}
		used = last->filled;
		iov[filled++] = (struct iovec){ last->buffer->data + used, TX_BLOCK_SIZE - used };
		len += TX_BLOCK_SIZE - used;
	}
	*n_filled = filled;
	return filled ? (ssize_t)len : -EAGAIN;
}

static int tcp_stream_commit(struct stream *base, size_t len)
{
	struct tcp_stream *s = from_stream(base);
	unsigned int i = 0;
	size_t rest = len;

	/* reserved room starts in the first block that is not full */
	while (i < s->n_blocks && s->blocks[i].filled == TX_BLOCK_SIZE)
		i++;
	for (; i < s->n_blocks && rest; i++) {
		uint32_t room = TX_BLOCK_SIZE - s->blocks[i].filled;
		uint32_t n = rest < room ? (uint32_t)rest : room;

		s->blocks[i].filled += n;
		rest -= n;
	}
	assert(rest == 0);
	while (s->n_blocks && s->blocks[s->n_blocks - 1].filled == 0)
		buffer_unref(s->blocks[--s->n_blocks].buffer);
	s->tx_unqueued += (uint32_t)len;
	if (s->base.error)
		return s->base.error;
	if (len)
		queue_blocks(s);
	return 0;
}

static ssize_t tcp_stream_write(struct stream *base, const struct iovec *iov, int n)
{
	struct tcp_stream *s = from_stream(base);
	struct iovec room[RESERVE_BLOCKS];
	int n_room, r;
	size_t copied;
	ssize_t len;

	if (n == 0 && !s->base.error)
		return s->is_connected ? 0 : -EAGAIN;
	len = tcp_stream_reserve(base, room, RESERVE_BLOCKS, &n_room);
	if (len < 0)
		return len;
	copied = iov_copy(room, n_room, iov, n);
	r = tcp_stream_commit(base, copied);
	return r < 0 ? r : (ssize_t)copied;
}

/* News come for every change; which of them the owner waits for it knows. */
static void tcp_stream_want(struct stream *base, unsigned int events)
{
	(void)base;
	(void)events;
}

static int tcp_stream_shutdown(struct stream *base)
{
	struct tcp_stream *s = from_stream(base);

	if (s->base.error)
		return s->base.error;
	s->wants_shutdown = true;
	finish_shutdown(s);
	return 0;
}

static void tcp_stream_reset(struct stream *base)
{
	struct tcp_stream *s = from_stream(base);
	struct tcp_pcb *pcb = s->pcb;

	detach(s);
	if (pcb)
		tcp_abort(pcb);
	tcp_stream_free(s);
}

void tcp_stream_finish_orphan(struct tcp_stream *s)
{
	struct tcp_pcb *pcb = s->pcb;

	if (pcb && (s->tx_held_bytes || s->tx_unqueued || s->wants_shutdown))
		return;
	detach(s);
	if (pcb && tcp_close(pcb) != ERR_OK)
		tcp_abort(pcb);
	tcp_stream_free(s);
}

/* A guest may leave any number of closed connections with data that it never
 * takes: above a limit the older ones end. */
static void limit_orphans(struct engine *e)
{
	uint64_t bytes = 0;
	struct list *node, *before;

	for (node = e->streams.prev; node != &e->streams; node = before) {
		struct tcp_stream *s = container_of(node, struct tcp_stream, node);
		uint32_t own = s->tx_held_bytes + s->tx_unqueued;

		before = node->prev;
		if (!s->is_orphan)
			continue;
		if (bytes + own <= ORPHANS_MAX_BYTES) {
			bytes += own;
			continue;
		}
		e->counters.orphans_dropped++;
		tcp_stream_reset(&s->base);
	}
}

static void tcp_stream_close(struct stream *base)
{
	struct tcp_stream *s = from_stream(base);
	struct engine *e = s->engine;

	if (s->rx.count || !s->is_connected) { /* what was sent to us is not read */
		tcp_stream_reset(base);
		return;
	}
	s->is_orphan = true;
	s->base.ready = NULL;
	list_unlink(&s->news);
	if (s->pcb && (s->pcb->state < FIN_WAIT_1 || s->pcb->state == CLOSE_WAIT))
		s->wants_shutdown = true;
	finish_shutdown(s);
	tcp_stream_finish_orphan(s);
	limit_orphans(e);
}

static const struct stream_ops tcp_stream_ops = {
	.read = tcp_stream_read,
	.write = tcp_stream_write,
	.peek = tcp_stream_peek,
	.consume = tcp_stream_consume,
	.reserve = tcp_stream_reserve,
	.commit = tcp_stream_commit,
	.want = tcp_stream_want,
	.shutdown = tcp_stream_shutdown,
	.close = tcp_stream_close,
	.reset = tcp_stream_reset,
};
