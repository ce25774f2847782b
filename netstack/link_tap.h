/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A TAP interface inside a network namespace: the namespace is the guest. With
 * virtio-net headers and segmentation offload where the kernel has them, so
 * that one system call moves up to 64 KiB at any MTU. */
#include "netstack/netns.h" /* struct tap_config */

struct link;
struct loop;

/* Creates the interface, gives it addresses, default routes and the MTU, and
 * sets it and the namespace's loopback up. The calling process stays in its own
 * namespaces. When the namespace cannot be entered for want of rights, its
 * owning user namespace is tried (a rootless container's). -errno with one log line that says which
 * step failed and what to do. The interface goes away with link_free(). */
int link_tap_new(struct loop *loop, const struct tap_config *config, struct link **out);

/* A TAP interface of ours that somebody else made and opened, so that this process
 * needs no right to it; as it is configured. Takes fd, and closes it on error. -errno
 * with one log line. */
int link_tap_adopt(struct loop *loop, int fd, uint16_t mtu, struct link **out);

/* A descriptor that carries one frame with each read and write. */
struct tap_fd {
	int fd;		    /* non-blocking */
	size_t header_size; /* of a virtio-net header in front of each: 12; 10, of the
			     * old form; 0: none */
	uint16_t mtu;
	const char *name; /* of the link */
};

/* Takes the descriptor, and closes it on error. */
int link_tap_from_fd(struct loop *loop, const struct tap_fd *tap, struct link **out);
