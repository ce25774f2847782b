/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A TAP interface made inside another network namespace: by a short-lived child
 * that enters the namespace, so that this process never leaves its own. */
#include <stdbool.h>
#include <stdint.h>

#include "netstack/addr.h"

struct tap_config {
	const char *netns;  /* a name of /run/netns, a path, or a process id */
	const char *ifname; /* created inside; -EEXIST if it is there already */
	uint16_t mtu;
	struct ipaddr addr4, gateway4;
	unsigned int prefix4_bits;
	struct ipaddr addr6, gateway6;
	unsigned int prefix6_bits;
};

struct netns_tap {
	int fd;	       /* non-blocking */
	bool has_vnet; /* every read and write starts with a virtio-net header */
	bool has_ipv6; /* the namespace took the IPv6 address */
};

/* Creates and configures the interface (see link_tap.h). On -errno `step`
 * says in a few words what failed. */
#define NETNS_STEP_SIZE 96
int netns_open_tap(const struct tap_config *config, struct netns_tap *out,
		   char step[static NETNS_STEP_SIZE]);
