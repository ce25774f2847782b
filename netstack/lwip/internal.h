/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Shared by the files of this folder only. engine.c: lwIP's interface, input,
 * output and time. tcp_stream.c: one connection as a stream. */
#include "netstack/base/list.h"
#include "netstack/base/loop.h"
#include "netstack/buffer.h"
#include "netstack/lwip/engine_owner.h"
#include "netstack/lwip/rx_queue.h"
#include "netstack/stream.h"

#include <lwip/opt.h>

#include <lwip/netif.h>
#include <lwip/pbuf.h>
#include <lwip/priv/tcp_priv.h>
#include <lwip/tcp.h>

struct engine {
	struct loop *loop;
	const struct engine_owner *owner;
	void *owner_arg;
	struct netif netif;
	struct tcp_pcb *listener; /* points at the port of the SYN being fed */
	struct timer *tick;
	struct list streams;	   /* tcp_stream.node */
	struct list accepted;	   /* tcp_stream.news: not yet given to the owner */
	struct list news;	   /* tcp_stream.news: to be served */
	struct buffer_pool blocks; /* of data on its way to guests */
	struct engine_counters counters;
};

/* tcp_stream.c */
#define TX_BLOCK_SIZE 65536U
#define TX_MAX_BLOCKS 72U /* TCP_SND_BUF in blocks, and some partly filled */

struct tx_block {
	struct buffer *buffer;
	uint32_t filled;
};

struct tcp_stream {
	struct stream base;
	struct engine *engine;
	struct tcp_pcb *pcb; /* NULL when lwIP has freed it */
	struct endpoint guest, host;
	struct list node;   /* engine.streams */
	struct list news;   /* engine.accepted, then engine.news */
	uint16_t guest_mss; /* segments the guest takes; to be cut by the link */
	bool is_announced;  /* the owner has it */
	bool is_connected;
	bool is_short; /* the last segment was not full: its sender may wait */
	bool has_fin;	     /* the guest has closed its direction */
	bool wants_shutdown; /* FIN follows the data still to be queued */
	bool is_orphan;	     /* closed by its owner; delivers what is left */
	struct rx_queue rx;  /* from the guest */
	/* to the guest: blocks[0] holds the byte with number tx_first_seq */
	struct tx_block blocks[TX_MAX_BLOCKS];
	unsigned int n_blocks;
	uint32_t tx_first_seq;	/* TCP sequence number */
	uint32_t tx_freed;	/* bytes of blocks[0] that lwIP has let go */
	uint32_t tx_held_bytes; /* all bytes in blocks that lwIP refers to */
	uint32_t tx_unqueued;	/* bytes in blocks not yet given to lwIP */
	uint32_t tx_limit;	/* of held + unqueued */
};

struct tcp_stream *tcp_stream_new(struct engine *engine);
/* Makes an established connection the stream's. */
void tcp_stream_connected(struct tcp_stream *s);
void tcp_stream_attach(struct tcp_stream *s, struct tcp_pcb *pcb);
/* Both directions have ended in order, so lwIP's part is over; what the owner has
 * not read yet stays the stream's. */
void tcp_stream_ended(struct tcp_stream *s);
/* The connection is gone, or to be given up. Tells the owner. */
void tcp_stream_fail(struct tcp_stream *s, int error);
void tcp_stream_free(struct tcp_stream *s);
void tcp_stream_has_news(struct tcp_stream *s);
/* Frees a closed stream if lwIP needs none of its memory any more. */
void tcp_stream_finish_orphan(struct tcp_stream *s);

static inline void ipaddr_to_lwip(const struct ipaddr *a, ip_addr_t *out)
{
	if (ipaddr_is_v4(a)) {
		out->type = IPADDR_TYPE_V4;
		__builtin_memcpy(&ip_2_ip4(out)->addr, ipaddr_v4_bytes(a), 4);
	} else {
		out->type = IPADDR_TYPE_V6;
		__builtin_memcpy(ip_2_ip6(out)->addr, a->b, 16);
	}
}

static inline struct ipaddr ipaddr_from_lwip(const ip_addr_t *a)
{
	if (IP_IS_V4(a))
		return ipaddr_from_v4((const uint8_t *)&ip_2_ip4(a)->addr);
	return ipaddr_from_v6((const uint8_t *)ip_2_ip6(a)->addr);
}
