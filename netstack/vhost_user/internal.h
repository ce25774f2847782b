/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Shared by backend.c, which takes messages, and vring.c, which runs queues. */
#include <stdbool.h>

#include "netstack/base/loop.h"
#include "netstack/vhost_user/device.h"
#include "netstack/vhost_user/virtqueue.h"

struct watch;

/* One queue, in all states between unknown and running. */
struct vring {
	struct vhost_backend *backend;
	struct virtqueue queue;
	struct virtqueue_layout layout;
	bool has_address;
	bool is_enabled;
	int kick_fd, call_fd, err_fd; /* eventfds, or pipes of UML's */
	struct watch *watch;	      /* of kick_fd, while the queue runs */
	bool is_polled;		      /* no kick was asked for: we look before each sleep, */
	uint16_t polled_from;	      /* and until poll_end_us when nothing has come since */
	uint64_t poll_end_us;
};

struct vhost_backend {
	struct loop *loop;
	struct vhost_device device;
	uint64_t features, protocol_features; /* accepted */
	struct guest_memory *memory;
	int request_fd; /* for requests of ours; we have none */
	bool is_started;
	struct loop_hook before_sleep; /* of a device that is polled */
	struct loop_deferred found;    /* by polling: its device is called */
	struct vring vrings[VHOST_MAX_QUEUES];
};

static inline bool vring_is_running(const struct vring *v)
{
	return v->queue.memory != NULL;
}

/* Starts the queue if nothing is missing any more, or leaves it. -errno: what it
 * has cannot be right. */
int vring_try_start(struct vring *v);
/* Harmless when stopped; the device is told if it needed the queue. */
void vring_stop(struct vring *v);
/* For a back end that polls. */
void vring_init_polling(struct vhost_backend *b);
void vring_end_polling(struct vhost_backend *b);
/* The queue goes on in another mapping of the memory, from where it is. */
int vring_move(struct vring *v, struct guest_memory *memory);
