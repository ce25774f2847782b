/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/lwip/engine.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "netstack/base/bytes.h"
#include "netstack/base/log.h"
#include "netstack/checksum.h"
#include "netstack/lwip/internal.h"
#include "netstack/lwip/lent_pbuf.h"

#include <lwip/init.h>
#include <lwip/ip.h>
#include <lwip/sys.h>
#include <lwip_hooks.h>

/* lwIP's state is global; so is this. */
static struct engine *the_engine;

/* --- what lwIP asks of its port (arch/cc.h, lwip_hooks.h) ---------------- */

uint32_t lwip_port_rand(void)
{
	uint32_t v;

	while (getrandom(&v, sizeof(v), 0) != (ssize_t)sizeof(v))
		;
	return v;
}

void lwip_port_assert(const char *what, const char *file, int line)
{
	log_error("lwIP invariant broken at %s:%d: %s", file, line, what);
	abort();
}

u32_t sys_now(void)
{
	return (u32_t)loop_now_ms(the_engine->loop);
}

/* RFC 6528: a clock of 4 microseconds plus a keyed hash of the endpoints. */
u32_t lwip_port_isn(const ip_addr_t *local_ip, u16_t local_port, const ip_addr_t *remote_ip,
		    u16_t remote_port)
{
	struct {
		struct endpoint local, remote;
	} key;
	struct timespec now;

	memset(&key, 0, sizeof(key));
	key.local.addr = ipaddr_from_lwip(local_ip);
	key.local.port = local_port;
	key.remote.addr = ipaddr_from_lwip(remote_ip);
	key.remote.port = remote_port;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return hash_bytes(&key, sizeof(key)) +
	       (u32_t)((uint64_t)now.tv_sec * 250000U + (uint64_t)now.tv_nsec / 4000U);
}

/* --- time ---------------------------------------------------------------- */

/* What lwIP's timers would get wrong.
 * - It gives up a connection in LAST_ACK after a second of silence, with all that
 *   is still to be delivered before our FIN. The limits for resending and probing
 *   end it as well, and leave a slow guest its time.
 * - A guest may take the byte of a probe, the last one there was, and keep its
 *   window shut: lwIP goes on probing, and asserts that there is data. */
static void mend_connections(void)
{
	for (struct tcp_pcb *pcb = tcp_active_pcbs; pcb; pcb = pcb->next) {
		if (pcb->state == LAST_ACK)
			pcb->tmr = tcp_ticks;
		if (!pcb->unsent)
			pcb->persist_backoff = 0;
	}
}

static void on_tick(void *arg)
{
	struct engine *e = arg;

	mend_connections();
	tcp_tmr();
	if (tcp_active_pcbs || tcp_tw_pcbs)
		timer_start(e->tick, TCP_TMR_INTERVAL);
	engine_serve(e);
}

/* lwIP's clock runs only while a connection is in being: idle is idle. */
static void need_tick(struct engine *e)
{
	if (!timer_is_running(e->tick))
		timer_start(e->tick, TCP_TMR_INTERVAL);
}

/* --- output -------------------------------------------------------------- */

/* lwIP leaves a pointer into the connection that sends (see lwipopts.h). */
static const struct tcp_stream *sending_stream(const struct netif *netif)
{
	const struct tcp_pcb *pcb;

	if (!netif->hints)
		return NULL;
	pcb = container_of(netif->hints, struct tcp_pcb, netif_hints);
	return pcb->state > SYN_RCVD ? pcb->callback_arg : NULL;
}

struct tcp_packet {
	struct ipaddr src, dst;
	uint8_t *tcp;
	uint16_t ip_size, tcp_size;
};

/* The checksum is always left to the end, for the link or for whoever completes
 * the frame: only they know whether it is needed at all. */
static void set_offload(struct frame *f, const struct tcp_packet *t, const struct tcp_stream *s)
{
	size_t tcp_len = f->len - ETH_HEADER_SIZE - t->ip_size;
	uint16_t sum = checksum_fold(checksum_pseudo(&t->src, &t->dst, IP_PROTO_TCP, tcp_len));

	memcpy(t->tcp + 16, &sum, 2);
	f->offload.csum_partial = true;
	f->offload.csum_start = (uint16_t)(ETH_HEADER_SIZE + t->ip_size);
	f->offload.csum_offset = 16;
	if (!s || tcp_len - t->tcp_size <= s->guest_mss)
		return;
	f->offload.gso = ipaddr_is_v4(&t->src) ? FRAME_GSO_TCP4 : FRAME_GSO_TCP6;
	f->offload.gso_size = s->guest_mss;
	f->offload.header_size = (uint16_t)(ETH_HEADER_SIZE + t->ip_size + t->tcp_size);
}

static err_t output(struct netif *netif, struct pbuf *p, struct tcp_packet *t)
{
	struct engine *e = netif->state;
	struct frame f;
	int r;

	/* lwIP built the headers with room in front (PBUF_LINK_HLEN) */
	if (pbuf_add_header(p, ETH_HEADER_SIZE) != 0)
		return ERR_BUF;
	frame_init(&f);
	if (pbuf_clen(p) > FRAME_MAX_REFS) {
		/* many tiny writes in one segment: rare enough to copy */
		static uint8_t flat[FRAME_MAX_SIZE];

		frame_add(&f, flat, pbuf_copy_partial(p, flat, p->tot_len, 0));
		t->tcp = flat + ETH_HEADER_SIZE + t->ip_size;
	} else {
		for (const struct pbuf *q = p; q; q = q->next)
			frame_add(&f, q->payload, q->len);
	}
	set_offload(&f, t, sending_stream(netif));
	r = e->owner->output(e->owner_arg, &t->dst, &f);
	pbuf_remove_header(p, ETH_HEADER_SIZE);
	if (r == -EAGAIN)
		return ERR_WOULDBLOCK;
	return ERR_OK; /* dropped and counted: TCP sends it again */
}

static err_t output_v4(struct netif *netif, struct pbuf *p, const ip4_addr_t *dst)
{
	uint8_t *ip = p->payload;
	struct tcp_packet t = {
		.src = ipaddr_from_v4(ip + 12),
		.dst = ipaddr_from_v4(ip + 16),
		.ip_size = 20,
		.tcp = ip + 20,
	};

	(void)dst;
	t.tcp_size = (uint16_t)((t.tcp[12] >> 4) * 4);
	return output(netif, p, &t);
}

static err_t output_v6(struct netif *netif, struct pbuf *p, const ip6_addr_t *dst)
{
	uint8_t *ip = p->payload;
	struct tcp_packet t = {
		.src = ipaddr_from_v6(ip + 8),
		.dst = ipaddr_from_v6(ip + 24),
		.ip_size = 40,
		.tcp = ip + 40,
	};

	(void)dst;
	if (ip[6] != IP_PROTO_TCP)
		return ERR_OK; /* lwIP's own neighbour discovery: not wanted */
	t.tcp_size = (uint16_t)((t.tcp[12] >> 4) * 4);
	return output(netif, p, &t);
}

void engine_writable(struct engine *e)
{
	struct tcp_pcb *next;

	(void)e;
	for (struct tcp_pcb *pcb = tcp_active_pcbs; pcb; pcb = next) {
		next = pcb->next;
		if (pcb->unsent || (pcb->flags & TF_ACK_NOW))
			tcp_output(pcb);
	}
}

/* --- input --------------------------------------------------------------- */

/* What lwIP's ip_input() would have left for tcp_input(). */
static void set_context(struct engine *e, const struct packet *packet)
{
	ip_data.current_netif = ip_data.current_input_netif = &e->netif;
	ip_data.current_ip4_header = packet->is_v4 ? (void *)packet->ip : NULL;
	ip_data.current_ip6_header = packet->is_v4 ? NULL : (void *)packet->ip;
	ip_data.current_ip_header_tot_len = packet->ip_header_size;
	ipaddr_to_lwip(&packet->src.addr, &ip_data.current_iphdr_src);
	ipaddr_to_lwip(&packet->dst.addr, &ip_data.current_iphdr_dest);
}

static bool pcb_joins(const struct tcp_pcb *pcb, const struct endpoint *guest,
		      const struct endpoint *host)
{
	struct ipaddr remote, local;

	if (pcb->remote_port != guest->port || pcb->local_port != host->port)
		return false;
	remote = ipaddr_from_lwip(&pcb->remote_ip);
	local = ipaddr_from_lwip(&pcb->local_ip);
	return ipaddr_equal(&remote, &guest->addr) && ipaddr_equal(&local, &host->addr);
}

static struct tcp_pcb *find_active(const struct endpoint *guest, const struct endpoint *host)
{
	struct tcp_pcb *pcb = tcp_active_pcbs;

	while (pcb && !pcb_joins(pcb, guest, host))
		pcb = pcb->next;
	return pcb;
}

bool engine_knows(const struct engine *e, const struct packet *packet)
{
	(void)e;
	return find_active(&packet->src, &packet->dst) != NULL;
}

void engine_forget(struct engine *e, const struct endpoint *guest, const struct endpoint *dst)
{
	struct tcp_pcb *pcb = find_active(guest, dst);

	(void)e;
	if (pcb && pcb->state == SYN_RCVD)
		tcp_abandon(pcb, 0);
}

/* A new SYN between endpoints whose old connection waits out its time: the
 * guest has decided to use them again (RFC 9293, section 3.6.1). */
static void forget_time_wait(const struct packet *packet)
{
	for (struct tcp_pcb *pcb = tcp_tw_pcbs; pcb; pcb = pcb->next) {
		if (pcb_joins(pcb, &packet->src, &packet->dst)) {
			tcp_abort(pcb);
			return;
		}
	}
}

/* lwIP frees a connection that waits out its time without a word, be it that its
 * stream is still being read. One input makes one such connection at most. */
static void end_time_wait(void)
{
	struct tcp_pcb *newest = tcp_tw_pcbs;

	if (newest && newest->callback_arg)
		tcp_stream_ended(newest->callback_arg);
}

/* Whether lwIP will keep the segment, for what should have come before it. */
static bool is_early(const struct packet *packet)
{
	const struct tcp_pcb *pcb = find_active(&packet->src, &packet->dst);

	return pcb && get_be32(packet->l4 + 4) != pcb->rcv_nxt;
}

/* A frame that lies in borrowed memory and is not for now is copied at once. */
static struct pbuf *take(const struct frame *frame, const struct packet *packet)
{
	struct buffer *owner = frame->owner;

	if (owner && owner->pool->is_borrowed && is_early(packet))
		owner = NULL;
	return lent_pbuf_new(frame, packet, owner);
}

void engine_input(struct engine *e, const struct frame *frame, const struct packet *packet)
{
	bool is_first_syn = (packet->tcp_flags & (TCP_FLAG_SYN | TCP_FLAG_ACK)) == TCP_FLAG_SYN;
	struct pbuf *p = take(frame, packet);

	if (!p) {
		e->counters.out_of_memory++;
		return;
	}
	set_context(e, packet);
	pbuf_remove_header(p, packet->ip_header_size);
	if (is_first_syn) {
		forget_time_wait(packet);
		((struct tcp_pcb_listen *)e->listener)->local_port = packet->dst.port;
	}
	tcp_input(p, &e->netif);
	end_time_wait();
	((struct tcp_pcb_listen *)e->listener)->local_port = 0;
	need_tick(e);
}

void engine_refuse(struct engine *e, const struct packet *packet)
{
	uint32_t seq = get_be32(packet->l4 + 4), ack = get_be32(packet->l4 + 8);
	uint32_t len = packet->ip_len - packet->ip_header_size - packet->l4_header_size;
	ip_addr_t local, remote;

	(void)e;
	if (packet->tcp_flags & TCP_FLAG_RST)
		return;
	if (packet->tcp_flags & (TCP_FLAG_SYN | TCP_FLAG_FIN))
		len++;
	ipaddr_to_lwip(&packet->dst.addr, &local);
	ipaddr_to_lwip(&packet->src.addr, &remote);
	tcp_rst(NULL, packet->tcp_flags & TCP_FLAG_ACK ? ack : 0, seq + len, &local, &remote,
		packet->dst.port, packet->src.port);
}

/* --- connections --------------------------------------------------------- */

static err_t on_accept(void *arg, struct tcp_pcb *pcb, err_t err)
{
	struct engine *e = arg;
	struct tcp_stream *s;

	if (err != ERR_OK || !pcb)
		return ERR_VAL;
	s = tcp_stream_new(e);
	if (!s) {
		e->counters.out_of_memory++;
		return ERR_MEM; /* lwIP resets the connection */
	}
	tcp_stream_attach(s, pcb);
	tcp_stream_connected(s);
	list_append(&e->accepted, &s->news);
	return ERR_OK;
}

static err_t on_connected(void *arg, struct tcp_pcb *pcb, err_t err)
{
	(void)pcb;
	(void)err; /* always ERR_OK; failures come through the error callback */
	tcp_stream_connected(arg);
	return ERR_OK;
}

int engine_connect(struct engine *e, const struct ipaddr *src, const struct endpoint *guest,
		   struct stream **out)
{
	struct tcp_stream *s = tcp_stream_new(e);
	struct tcp_pcb *pcb;
	ip_addr_t local, remote;

	if (!s)
		return -ENOMEM;
	ipaddr_to_lwip(src, &local);
	ipaddr_to_lwip(&guest->addr, &remote);
	pcb = tcp_new_ip_type(IP_GET_TYPE(&remote));
	if (!pcb) {
		tcp_stream_free(s);
		return -ENOMEM;
	}
	tcp_bind_netif(pcb, &e->netif);
	if (tcp_bind(pcb, &local, 0) != ERR_OK) {
		tcp_close(pcb);
		tcp_stream_free(s);
		return -EADDRNOTAVAIL; /* every port of src is in use */
	}
	tcp_stream_attach(s, pcb);
	s->guest = *guest;
	s->is_announced = true;
	if (tcp_connect(pcb, &remote, guest->port, on_connected) != ERR_OK) {
		s->base.ops->reset(&s->base);
		return -ENOMEM;
	}
	need_tick(e);
	*out = &s->base;
	return 0;
}

void engine_unreachable(struct engine *e, const struct ipaddr *guest, int error)
{
	list_for_each(node, &e->streams) {
		struct tcp_stream *s = container_of(node, struct tcp_stream, node);

		if (!s->is_connected && ipaddr_equal(&s->guest.addr, guest))
			tcp_stream_fail(s, error);
	}
	engine_serve(e);
}

static void serve_accepted(struct engine *e)
{
	struct list *node;

	while ((node = list_take(&e->accepted))) {
		struct tcp_stream *s = container_of(node, struct tcp_stream, news);
		struct endpoint guest = s->guest, host = s->host;

		s->is_announced = true;
		rx_queue_settle(&s->rx);
		e->owner->accepted(e->owner_arg, &guest, &host, &s->base);
	}
}

/* Every second segment is acknowledged by lwIP itself. One that came alone would
 * wait 50 ms: too long for a sender that holds back a short one until the last
 * is acknowledged (Nagle), and no matter to one that has a window of full ones. */
static void acknowledge(struct tcp_stream *s)
{
	if (s->pcb && s->is_short && (s->pcb->flags & TF_ACK_DELAY)) {
		tcp_ack_now(s->pcb);
		tcp_output(s->pcb);
	}
}

void engine_serve(struct engine *e)
{
	struct list served, *node;

	serve_accepted(e);
	list_init(&served);
	while ((node = list_take(&e->news))) {
		struct tcp_stream *s = container_of(node, struct tcp_stream, news);

		if (s->is_orphan) {
			tcp_stream_finish_orphan(s);
			continue;
		}
		list_append(&served, node);
		if (s->base.ready)
			s->base.ready(s->base.ready_arg);
	}
	while ((node = list_take(&served))) {
		struct tcp_stream *s = container_of(node, struct tcp_stream, news);

		rx_queue_settle(&s->rx);
		acknowledge(s);
	}
}

/* --- life ---------------------------------------------------------------- */

static err_t init_netif(struct netif *netif)
{
	netif->name[0] = 'g';
	netif->name[1] = 's';
	netif->mtu = 65535; /* cutting is the link's business */
	netif->output = output_v4;
	netif->output_ip6 = output_v6;
	return ERR_OK;
}

static int start_listener(struct engine *e)
{
	struct tcp_pcb *pcb = tcp_new_ip_type(IPADDR_TYPE_ANY);

	if (!pcb)
		return -ENOMEM;
	tcp_bind_netif(pcb, &e->netif);
	if (tcp_bind(pcb, IP_ANY_TYPE, 1) != ERR_OK) {
		tcp_close(pcb);
		return -EADDRINUSE;
	}
	e->listener = tcp_listen(pcb);
	if (!e->listener)
		return -ENOMEM;
	((struct tcp_pcb_listen *)e->listener)->local_port = 0;
	tcp_arg(e->listener, e);
	tcp_accept(e->listener, on_accept);
	return 0;
}

int engine_new(struct loop *loop, const struct engine_owner *owner, void *arg, struct engine **out)
{
	static bool is_initialised;
	ip4_addr_t dummy, mask;
	struct engine *e;
	int r;

	if (the_engine)
		return -EBUSY;
	e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	the_engine = e;
	e->loop = loop;
	e->owner = owner;
	e->owner_arg = arg;
	list_init(&e->streams);
	list_init(&e->accepted);
	list_init(&e->news);
	buffer_pool_init(&e->blocks, TX_BLOCK_SIZE, 64);
	if (!is_initialised)
		lwip_init();
	is_initialised = true;
	IP4_ADDR(&dummy, 192, 0, 0, 8); /* RFC 7600; lwIP routes by no interface without one */
	IP4_ADDR(&mask, 255, 255, 255, 255);
	netif_add(&e->netif, &dummy, &mask, &dummy, e, init_netif, NULL);
	netif_set_default(&e->netif);
	netif_set_link_up(&e->netif);
	netif_set_up(&e->netif);
	r = timer_new(loop, on_tick, e, &e->tick);
	if (r == 0)
		r = start_listener(e);
	if (r < 0) {
		engine_free(e);
		return r;
	}
	*out = e;
	return 0;
}

void engine_free(struct engine *e)
{
	if (!e)
		return;
	list_for_each(node, &e->streams) {
		struct tcp_stream *s = container_of(node, struct tcp_stream, node);

		s->base.ops->reset(&s->base);
	}
	while (tcp_active_pcbs) /* SYN_RCVD, and closed by us but not by the guest */
		tcp_abort(tcp_active_pcbs);
	while (tcp_tw_pcbs)
		tcp_abort(tcp_tw_pcbs);
	if (e->listener)
		tcp_close(e->listener);
	netif_remove(&e->netif);
	timer_free(e->tick);
	buffer_pool_deinit(&e->blocks);
	free(e);
	the_engine = NULL;
}

const struct engine_counters *engine_counters(const struct engine *e)
{
	return &e->counters;
}
