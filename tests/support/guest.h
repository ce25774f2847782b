/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A guest in memory on a whole stack: it answers ARP and neighbour solicitations
 * for its addresses, and has TCP connections that do what the test says. Time
 * stands still unless the test moves it. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "netstack/stack.h"
#include "tests/support/fake_link.h"
#include "tests/support/patience.h"
#include "tests/support/wire.h"

struct guest {
	struct loop *loop;
	struct stack *stack;
	struct fake_link link;
	bool is_silent;	   /* answers nobody who asks for its MAC; set by the test */
	struct list peers; /* tcp_peer.node */
	struct list other; /* sent_frame.node: frames that were for no peer */
};

/* A stack with one link, which is up. A test's setup: config NULL is the
 * default one, without a resolver. */
int guest_start(struct guest *g, const struct link_caps *caps, const struct stack_config *config);
/* Frees the stack, if the test has not done so (and set it to NULL). */
void guest_stop(struct guest *g);
/* Everybody does what there is to do now. */
void guest_run(struct guest *g);
/* The same, over some time. */
void guest_advance(struct guest *g, uint64_t ms);
/* One frame of the guest. */
void guest_send(struct guest *g, const void *bytes, size_t len);
/* The next frame for no peer, of this kind: to be freed by free(). NULL: none. */
struct sent_frame *guest_take(struct guest *g, enum packet_kind kind);
/* The value of one of the stack's counters. */
uint64_t guest_counter(struct guest *g, const char *name);

/* Runs until the condition holds, which the host's kernel takes part in. */
#define GUEST_UNTIL(g, condition)                                    \
	do {                                                         \
		int steps_ = 0;                                      \
		guest_run(g);                                        \
		while (!(condition)) {                               \
			if (++steps_ > PATIENCE_STEPS)               \
				fail_msg("in vain: %s", #condition); \
			usleep(PATIENCE_STEP_US);                    \
			guest_run(g);                                \
		}                                                    \
	} while (0)

/* What a NIC hands up: a frame that asked for segmentation is several of these. */
struct tcp_segment {
	uint32_t seq;
	uint8_t flags; /* TCP_FLAG_* */
	const uint8_t *data;
	size_t len;
	const struct sent_frame *frame;
};

/* The guest's end of one connection. It aborts the test when the host sends more
 * than it has room for, or bytes that differ from what was at their place. */
struct tcp_peer {
	struct list node; /* guest.peers */
	struct guest *guest;
	struct wire wire; /* from the guest */
	/* set by the test */
	bool does_not_ack; /* or only when told to */
	bool is_erratic;   /* tells any numbers, so nobody is held to its windows */
	uint32_t window;   /* bytes, told in every segment; a multiple of 128 */
	uint16_t mss;
	/* our side */
	uint32_t first_seq, seq; /* of the first byte, of the next one */
	/* the host's side */
	uint32_t host_first_seq, host_seq; /* the next one we expect */
	uint32_t edge;			   /* of what we have room for, once known */
	bool has_edge;
	uint32_t acked;	      /* by the host */
	uint32_t host_window; /* bytes */
	uint16_t host_mss;
	unsigned int host_shift;
	bool has_syn, has_fin, has_rst; /* what the host has sent */
	uint8_t *received;		/* in order */
	size_t received_len, received_capacity;
	unsigned int n_segments; /* that came */
	/* Optional: looks at a segment before the peer does; false: it is lost. */
	bool (*filter)(struct tcp_peer *p, const struct tcp_segment *s);
	void *filter_arg;
};

#define TCP_PEER_SHIFT 7U /* of our window */

/* A peer that has yet to speak. It sends from guest_port to dst:port; with port
 * 0 it listens there, and answers the first SYN by SYN-ACK. */
void tcp_peer_init(struct tcp_peer *p, struct guest *g, const struct ipaddr *dst,
		   uint16_t guest_port, uint16_t port);
void tcp_peer_deinit(struct tcp_peer *p);
/* A segment with our next numbers, which move on: flags are TCP_FLAG_*. */
void tcp_peer_send(struct tcp_peer *p, uint8_t flags, const void *data, size_t len);
/* Any segment: numbers are relative to our and the host's next ones. */
void tcp_peer_send_at(struct tcp_peer *p, uint8_t flags, int32_t seq, int32_t ack, const void *data,
		      size_t len);
void tcp_peer_ack(struct tcp_peer *p);
/* SYN, and what follows from it: answered by SYN-ACK or RST once run. */
void tcp_peer_syn(struct tcp_peer *p);
/* Bytes as far as the host's window lets them go, in segments of its size;
 * returns how many. */
size_t tcp_peer_write(struct tcp_peer *p, const uint8_t *data, size_t len);
