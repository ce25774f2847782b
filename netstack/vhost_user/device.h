/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What a virtio device says of itself to the back end that serves it. */
#include <stdint.h>

#define VHOST_MAX_QUEUES 4U

/* Feature bits of every device (virtio 1.1, chapter 6; vhost-user). */
#define VIRTIO_F_INDIRECT_DESC 28U
#define VIRTIO_F_EVENT_IDX 29U
#define VHOST_F_PROTOCOL_FEATURES 30U
#define VIRTIO_F_VERSION_1 32U
#define VHOST_COMMON_FEATURES                                          \
	(1ULL << VIRTIO_F_INDIRECT_DESC | 1ULL << VIRTIO_F_EVENT_IDX | \
	 1ULL << VHOST_F_PROTOCOL_FEATURES | 1ULL << VIRTIO_F_VERSION_1)

struct vhost_device_ops {
	/* All needed queues run; they may hold chains already. */
	void (*start)(void *arg);
	/* They do not run any more: no queue is touched from now on. May come
	 * from inside vhost_backend_break(). */
	void (*stop)(void *arg);
	/* The driver has added chains to a queue. Between start and stop. */
	void (*kicked)(void *arg, unsigned int queue);
};

struct vhost_device {
	const char *name; /* for logs; stays the caller's */
	const struct vhost_device_ops *ops;
	void *arg;
	uint64_t features;     /* offered */
	unsigned int n_queues; /* up to VHOST_MAX_QUEUES */
	unsigned int n_needed; /* the first ones, without which it cannot run */
	const uint8_t *config; /* the configuration space, which may be empty */
	uint32_t config_size;
	unsigned int busy_poll_us; /* 0: sleep as soon as there is nothing to do */
};
