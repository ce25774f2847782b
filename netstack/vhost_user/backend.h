/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What a vhost-user back end knows of one device: the features agreed on, the
 * guest's memory, and the queues with their descriptors. Messages go in; the
 * device is told when its queues run and when the driver has kicked one. Knows
 * nothing of sockets (server.h).
 *
 * Front ends differ in their order: addresses and descriptors may come before
 * the memory, a queue may be enabled before it exists. A queue runs once it has
 * all it needs, however that came. */
#include <stdbool.h>
#include <stdint.h>

#include "netstack/vhost_user/device.h"
#include "netstack/vhost_user/message.h"
#include "netstack/vhost_user/virtqueue.h"

struct loop;
struct vhost_backend;

/* Copies *device. -ENOMEM. */
int vhost_backend_new(struct loop *loop, const struct vhost_device *device,
		      struct vhost_backend **out);
void vhost_backend_free(struct vhost_backend *backend); /* calls nobody; accepts NULL */

/* The answer to one message. */
struct vhost_answer {
	bool is_needed;
	uint32_t size;
	uint8_t payload[VHOST_MAX_PAYLOAD];
};

/* Takes what it needs of the message's descriptors. 0, with *answer filled in.
 * -errno: nobody waits for an answer that would tell it the error, so the front
 * end has to be left. Both are logged. */
int vhost_backend_handle(struct vhost_backend *backend, struct vhost_message *message,
			 struct vhost_answer *answer);
/* The front end is gone: stops the queues and forgets all that it said. */
void vhost_backend_reset(struct vhost_backend *backend);

/* Of those that were offered, the ones the driver has accepted. */
bool vhost_backend_has(const struct vhost_backend *backend, unsigned int feature);
struct virtqueue *vhost_backend_queue(struct vhost_backend *backend, unsigned int queue);
/* The queue was found empty: kicked() comes when there is more. True if there is more
 * already. A device that is polled goes on looking for a while before it asks the
 * driver for a kick. */
bool vhost_backend_await(struct vhost_backend *backend, unsigned int queue);
/* Shows the driver what was pushed, and signals if it wants that. */
void vhost_backend_flush(struct vhost_backend *backend, unsigned int queue);
/* The driver broke a rule in this queue (virtqueue.fault): the device stops, until
 * the front end sets it up again. */
void vhost_backend_break(struct vhost_backend *backend, unsigned int queue);
