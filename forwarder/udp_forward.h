/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* One UDP port of the host. Every client that sends to it gets a flow of its
 * own to the guest, made by dial() at its first datagram, and replies come from
 * the port it has sent to. A flow ends when it is idle, or when there are too
 * many: the longest unused one goes first. All on the loop thread. */
#include <stdint.h>

#include "netstack/addr.h"

struct loop;
struct udp_flow;
struct udp_flow_owner;
struct udp_forward;
struct udp_hub;

/* A request that was never answered is forgotten sooner than a conversation
 * (RFC 4787 section 4.3 asks for two minutes at least). */
#define UDP_IDLE_ONE_WAY_MS 60000
#define UDP_IDLE_BOTH_WAYS_MS 180000
#define UDP_FLOWS_PER_FORWARD 1024
#define UDP_FLOWS_MAX 8192 /* of all forwards */

struct udp_dialer {
	/* As stack_udp_open(). On -errno the datagram is dropped. */
	int (*dial)(void *arg, const struct udp_flow_owner *owner, void *owner_arg,
		    struct udp_flow **out);
	void *arg;
};

/* What all UDP forwards share: buffers, the bound on flows, ICMP. */
int udp_hub_new(struct loop *loop, struct udp_hub **out);
/* After the forwards. Accepts NULL. */
void udp_hub_free(struct udp_hub *hub);

/* Datagrams, and what became of them. */
struct udp_forward_counters {
	uint64_t to_guest, to_guest_bytes;
	uint64_t to_host, to_host_bytes;
	uint64_t flows;		/* opened */
	uint64_t flows_evicted; /* for want of room, before they were idle */
	uint64_t dial_failed;	/* dropped: no flow to the guest */
	uint64_t guest_busy;	/* dropped by the stack */
	uint64_t too_long;	/* dropped: longer than the guest can get */
	uint64_t host_busy;	/* a reply dropped by the host's kernel */
	uint64_t refused;	/* by the guest, and the client was told */
	uint64_t refused_mute;	/* by the guest, and the client could not be told */
};

/* Bound, nothing received yet. 0 or -errno of binding. Port 0 takes a free
 * one. */
int udp_forward_new(struct udp_hub *hub, const struct endpoint *host,
		    const struct udp_dialer *dialer, struct udp_forward **out);
/* The same with a socket that is bound already, be it in another network; takes it,
 * also on error. */
int udp_forward_new_from_fd(struct udp_hub *hub, int fd, const struct udp_dialer *dialer,
			    struct udp_forward **out);
void udp_forward_start(struct udp_forward *f);
/* The port stays ours, and whoever sends is refused; start goes on. */
void udp_forward_pause(struct udp_forward *f);
void udp_forward_free(struct udp_forward *f); /* accepts NULL */

/* The endpoint that is bound, with the port that was chosen for 0. */
const struct endpoint *udp_forward_host(const struct udp_forward *f);
unsigned int udp_forward_n_flows(const struct udp_forward *f);
const struct udp_forward_counters *udp_forward_counters(const struct udp_forward *f);
