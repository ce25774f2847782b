/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Datagrams between the program and one endpoint: of a guest, through its NIC
 * (stack_udp_open()) or a tunnel, or of the host. Datagrams of 0 to 65507 bytes
 * (65527 over IPv6), whole, in both directions. One owner; all on the loop
 * thread. Whoever holds one knows nothing of its kind. */
#include <stddef.h>
#include <sys/uio.h>

struct udp_flow;

/* What a flow calls, never before its opening has returned. The owner may free
 * the flow in there, but not where its own udp_flow_send() is still running. */
struct udp_flow_owner {
	/* One datagram of the endpoint; data is valid during the call. */
	void (*receive)(void *arg, const struct iovec *iov, int n);
	/* It was told that nobody listens there; the flow stays usable. */
	void (*refused)(void *arg);
	/* The other end has ended the flow, which is of no use any more. Only where
	 * the opening says so; else NULL. */
	void (*gone)(void *arg);
};

struct udp_flow_ops {
	/* 0; -EMSGSIZE; -EAGAIN when there is no room or no way yet: the datagram
	 * was dropped and counted. Other -errno: the flow is of no use any more. */
	int (*send)(struct udp_flow *flow, const void *data, size_t len);
	/* The other end is to know that nobody listens at this one. NULL: no way to
	 * tell it. */
	void (*refuse)(struct udp_flow *flow);
	void (*free)(struct udp_flow *flow);
};

/* Embedded by the kinds of flows. */
struct udp_flow {
	const struct udp_flow_ops *ops;
};

static inline int udp_flow_send(struct udp_flow *flow, const void *data, size_t len)
{
	return flow->ops->send(flow, data, len);
}

static inline void udp_flow_free(struct udp_flow *flow) /* accepts NULL */
{
	if (flow)
		flow->ops->free(flow);
}
