/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A vsock whose device is a vhost-user back end of ours: QEMU's
 * vhost-user-vsock-pci, User-Mode Linux. No kernel module, no privilege.
 *
 * Bytes from the guest are written on from where the guest has them, if their
 * reader takes them at once; bytes to the guest are read into its buffers. */
#include <stdint.h>

#include "netstack/vsock/counters.h"
#include "netstack/vsock/vsock.h"

struct loop;

struct vsock_device_config {
	uint32_t guest_cid;	   /* 3 or above */
	unsigned int busy_poll_us; /* as of struct link_vhost_user_config */
};

/* Listens on a UNIX socket, as link_stream_listen() does. -EINVAL: no CID of a guest. */
int vsock_device_listen(struct loop *loop, const char *path, const struct vsock_device_config *c,
			struct vsock **out);
/* Only of a vsock made here. */
const struct vsock_counters *vsock_device_counters(const struct vsock *v);
