/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A TAP interface inside a network namespace: the namespace is the guest. With
 * virtio-net headers and segmentation offload where the kernel has them, so
 * that one system call moves up to 64 KiB at any MTU. */
#include <stdbool.h>
#include <stdint.h>

#include "netstack/addr.h"

struct link;
struct loop;

struct tap_config {
	const char *netns;  /* a name of /run/netns, a path, or a process id */
	const char *ifname; /* created inside; -EEXIST if it is there already */
	uint16_t mtu;
	struct ipaddr addr4, gateway4;
	unsigned int prefix4_bits;
	struct ipaddr addr6, gateway6;
	unsigned int prefix6_bits;
};

/* Creates the interface, gives it addresses, default routes and the MTU, and
 * sets it and the namespace's loopback up. The calling process stays in its own
 * namespaces. When the namespace cannot be entered for want of rights, its
 * owning user namespace is tried (a rootless container's). -errno with one log line that says which
 * step failed and what to do. The interface goes away with link_free(). */
int link_tap_new(struct loop *loop, const struct tap_config *config, struct link **out);
