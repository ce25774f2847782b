/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A vhost-user back end of a virtio network device (virtio 1.1, section 5.1):
 * frames straight from and to the guest's memory, with checksum and segmentation
 * offload and mergeable buffers. For QEMU's -netdev vhost-user and User-Mode
 * Linux. Lossless; one guest at a time, which may go and come back.
 *
 * What the guest sends in large frames is not copied: the frames refer to its
 * memory, and its driver gets the buffers back when nobody refers to them any
 * more. What goes to the guest is copied once, into its buffers. */
#include <stdint.h>

#include "netstack/addr.h"

struct link;
struct loop;

/* mtu and mac are what a front end is told that asks us (QEMU does not: it has its
 * own). */
struct link_vhost_user_config {
	uint16_t mtu;
	struct mac mac;
	/* Microseconds to look for more from the guest before sleeping, and being woken
	 * by its driver: latency, and kicks of its, for processor time. 0: none. */
	unsigned int busy_poll_us;
};

/* Listens on a UNIX socket, as link_stream_listen() does. */
int link_vhost_user_listen(struct loop *loop, const char *path,
			   const struct link_vhost_user_config *config, struct link **out);
