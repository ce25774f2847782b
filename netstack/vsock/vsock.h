/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The host's end of one guest's vsock: byte streams that need no network, between
 * a port of the host and a port of the guest (virtio 1.1, section 5.10; vsock(7)).
 *
 * Three kinds: device.h, a vhost-user back end of ours, for a guest of an
 * unprivileged VMM; kernel.h, where the host's kernel has the device; and peer.h, where
 * another program has it. Whoever
 * dials or listens knows nothing of the kind. All on the loop thread. */
#include <stdbool.h>
#include <stdint.h>

#include "netstack/base/list.h"

struct stream;
struct vsock;

#define VSOCK_CID_HOST 2U
#define VSOCK_PORT_ANY UINT32_MAX /* VMADDR_PORT_ANY */

/* What a guest has connected to, and from where. */
struct vsock_call {
	uint32_t host_port, guest_port;
};

/* Waits for guests that connect. Embedded by its owner, who fills in port, accept
 * and arg. */
struct vsock_listener {
	struct list node; /* of the vsock */
	/* Or VSOCK_PORT_ANY: every port that no other listener has. */
	uint32_t port;
	/* 0: the stream is the owner's. -errno: the guest is refused. */
	int (*accept)(void *arg, const struct vsock_call *call, struct stream *stream);
	void *arg;
};

typedef void vsock_counter_fn(void *arg, const char *name, uint64_t value);

struct vsock_ops {
	/* Connects to a port of the guest, as stack_dial_tcp() does: -ENETDOWN when
	 * there is no guest; the stream is the caller's at once, and breaks with
	 * -ECONNREFUSED when nobody listens. *host_port is ours. */
	int (*dial)(struct vsock *v, uint32_t port, uint32_t *host_port, struct stream **out);
	/* -EADDRINUSE; -EOPNOTSUPP for VSOCK_PORT_ANY where that cannot be; -errno of
	 * bind(2). Until unlisten(), which is harmless when not listening. */
	int (*listen)(struct vsock *v, struct vsock_listener *listener);
	void (*unlisten)(struct vsock *v, struct vsock_listener *listener);
	/* All counters that are not zero, one per call; NULL: it has none. */
	void (*counters)(const struct vsock *v, vsock_counter_fn *fn, void *arg);
	/* All streams and listeners were ended before by their owners. */
	void (*free)(struct vsock *v);
};

struct vsock {
	const struct vsock_ops *ops;
	bool is_up; /* there is a guest, as far as can be known */
};

static inline int vsock_dial(struct vsock *v, uint32_t port, uint32_t *host_port,
			     struct stream **out)
{
	return v->ops->dial(v, port, host_port, out);
}

static inline int vsock_listen(struct vsock *v, struct vsock_listener *listener)
{
	return v->ops->listen(v, listener);
}

static inline void vsock_unlisten(struct vsock *v, struct vsock_listener *listener)
{
	v->ops->unlisten(v, listener);
}

static inline void vsock_counters(const struct vsock *v, vsock_counter_fn *fn, void *arg)
{
	if (v && v->ops->counters)
		v->ops->counters(v, fn, arg);
}

static inline void vsock_free(struct vsock *v)
{
	if (v)
		v->ops->free(v);
}
