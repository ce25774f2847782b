/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A vhost-user front end with the driver of a two-queue device behind it: what
 * QEMU and a guest are to the back end under test. The back end runs in the same
 * process, so the test lets its loop run between a message and its answer. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "netstack/vhost_user/message.h"
#include "tests/support/virtio_driver.h"

#define FRONT_END_QUEUES 2U
#define FRONT_END_RING 64U
#define FRONT_END_RAM (8U << 20)

struct front_end {
	int fd; /* connected to the back end */
	uint64_t features;
	struct guest_ram ram;
	struct driver_ring rings[FRONT_END_QUEUES];
	int kicks[FRONT_END_QUEUES], calls[FRONT_END_QUEUES]; /* eventfds */
	size_t free_at;					      /* memory behind the rings */
};

/* Memory and empty rings; fd is taken. */
void front_end_init(struct front_end *fe, int fd, uint64_t features);
void front_end_deinit(struct front_end *fe);
/* The rings are empty again, as after a reset of the guest. */
void front_end_reset_rings(struct front_end *fe);

/* Sends a message with up to one descriptor (-1: none). */
void front_end_send(struct front_end *fe, enum vhost_request request, const void *payload,
		    size_t size, int fd);
void front_end_send_u64(struct front_end *fe, enum vhost_request request, uint64_t value);
/* A message that is to be acknowledged. */
void front_end_send_ack(struct front_end *fe, enum vhost_request request, const void *payload,
			size_t size, int fd);
/* The payload of an answer that is there; its size, -EAGAIN, or 0 when the back
 * end has closed. */
int front_end_receive(struct front_end *fe, void *payload, size_t size);

/* The messages of one step, without waiting. */
void front_end_negotiate(struct front_end *fe);
void front_end_share_memory(struct front_end *fe);
void front_end_set_ring(struct front_end *fe, unsigned int queue); /* size, base, addresses */
void front_end_set_fds(struct front_end *fe, unsigned int queue);  /* call, then kick */
void front_end_enable(struct front_end *fe, unsigned int queue, bool is_enabled);
/* All of them, in QEMU's order or in UML's. */
void front_end_start_like_qemu(struct front_end *fe);
void front_end_start_like_uml(struct front_end *fe);

void front_end_kick(struct front_end *fe, unsigned int queue);
/* Whether the device has signalled since the last time. */
bool front_end_was_called(struct front_end *fe, unsigned int queue);
