/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The way into a guest that is a network namespace: sockets made inside it, so that
 * its loopback is reached, its UNIX sockets, and what listens on any of its
 * addresses without passing its NIC. The fastest way there is. */
struct loop;
struct tunnel;

/* How long a connection waits for a socket of the namespace. */
#define TUNNEL_NETNS_WAIT_MS 5000
#define TUNNEL_NETNS_WAITING_MAX 4096

/* netns as of --netns. 0, or -errno, logged. */
int tunnel_netns_new(struct loop *loop, const char *netns, struct tunnel **out);
