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
