/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* IP packets on their way to guests: finds the guest's MAC address, writes the
 * Ethernet header, cuts datagrams to the MTU of the guest's link. */
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "netstack/addr.h"
#include "netstack/frame.h"

struct egress;
struct loop;
struct segment;

struct egress_owner {
	/* An address that was waited for is known: try again what said -EAGAIN. */
	void (*resolved)(void *arg);
	/* Nobody answers for this address. */
	void (*unreachable)(void *arg, const struct ipaddr *ip);
};

struct egress_config {
	struct ipaddr gateway4, gateway6; /* who asks */
	const struct egress_owner *owner;
	void *arg;
};

struct egress_counters {
	uint64_t unresolved; /* datagrams dropped while the MAC was asked for */
	uint64_t blocked;    /* datagrams dropped because the link was full */
};

int egress_new(struct loop *loop, struct segment *segment, const struct egress_config *config,
	       struct egress **out);
void egress_free(struct egress *egress); /* accepts NULL */

/* A guest uses this address, from this MAC. */
void egress_learn(struct egress *egress, const struct ipaddr *ip, const struct mac *mac);
/* The MAC of an address, or NULL while it is not known; nobody is asked. */
const struct mac *egress_find(const struct egress *egress, const struct ipaddr *ip);
/* The gateway's address, by family. */
const struct ipaddr *egress_gateway(const struct egress *egress, bool v4);
/* The MAC that frames of the host side have: of the gateway, by family. */
struct mac egress_mac(const struct egress *egress, bool v4);
/* What the link towards this address takes. */
struct link_caps egress_caps(const struct egress *egress, const struct ipaddr *ip);

/* An IP packet; refs[0] starts with ETH_HEADER_SIZE bytes for the header. 0;
 * -EAGAIN: unknown MAC (resolved() follows) or full link; -ENETDOWN. */
int egress_send(struct egress *egress, const struct ipaddr *to, struct frame *frame);
/* One UDP datagram of n pieces, n <= EGRESS_MAX_PIECES. 0; -EMSGSIZE; -EAGAIN,
 * -ENETDOWN: dropped and counted. */
#define EGRESS_MAX_PIECES 8
int egress_send_udp(struct egress *egress, const struct endpoint *from, const struct endpoint *to,
		    const struct iovec *iov, int n);
/* The same to a MAC, for who has no address yet and so does not answer ARP. */
int egress_send_udp_to(struct egress *egress, const struct mac *mac, const struct endpoint *from,
		       const struct endpoint *to, const struct iovec *iov);
/* Asks by ARP whether somebody has this address, without learning it for
 * ourselves (RFC 5227, section 2.1.1). */
void egress_probe(struct egress *egress, const struct ipaddr *ip);
/* A whole IP packet behind an Ethernet header that may exceed the MTU: cut. */
int egress_send_whole(struct egress *egress, struct frame *frame);
const struct egress_counters *egress_counters(const struct egress *egress);
