/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Datagrams between the program and one guest endpoint, opened by
 * stack_udp_open(). Datagrams of 0 to 65507 bytes (65527 over IPv6), whole, in
 * both directions. */
#include <stddef.h>
#include <sys/uio.h>

struct udp_flow;

struct udp_flow_owner {
	/* One datagram of the guest endpoint; data is valid during the call. */
	void (*receive)(void *arg, const struct iovec *iov, int n);
	/* The guest said by ICMP that nobody listens there. */
	void (*refused)(void *arg);
};

/* 0; -EMSGSIZE; -EAGAIN when the link is full or the guest's address is not
 * resolved yet and the datagram was dropped and counted. */
int udp_flow_send(struct udp_flow *flow, const void *data, size_t len);
void udp_flow_free(struct udp_flow *flow); /* accepts NULL */
