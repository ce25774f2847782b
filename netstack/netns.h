/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What has to be made inside another network namespace, a TAP interface or a
 * socket: by a short-lived child that enters the namespace, so that this process
 * never leaves its own. */
#include <stdbool.h>
#include <stdint.h>

#include "netstack/addr.h"
#include "netstack/netns_enter.h"

struct tap_config {
	const char *netns;  /* a name of /run/netns, a path, or a process id; NULL: our own */
	const char *ifname; /* created inside; -EEXIST if it is there already, unless */
	bool may_exist;	    /* it may: it is used as it is then, and stays */
	uint16_t mtu;
	struct mac mac;		       /* all zero: the kernel's choice */
	struct ipaddr addr4, gateway4; /* a gateway of ::, here and below: no route */
	unsigned int prefix4_bits;
	struct ipaddr addr6, gateway6;
	unsigned int prefix6_bits;
};

#define NETNS_IFNAME_SIZE 16 /* IFNAMSIZ */

struct netns_tap {
	int fd;	       /* non-blocking */
	bool has_vnet; /* every read and write starts with a virtio-net header */
	bool has_ipv6; /* the namespace took the IPv6 address */
};

/* Creates and configures the interface (see link_tap.h). On -errno `step`
 * says in a few words what failed. */
int netns_open_tap(const struct tap_config *config, struct netns_tap *out,
		   char step[static NETNS_STEP_SIZE]);

/* The same of an open TAP interface; -EINVAL: it is none, or has a form of frames that
 * is not spoken here (IFF_NO_PI is missing). */
int netns_adopt_tap(int fd, struct netns_tap *out, char ifname[static NETNS_IFNAME_SIZE]);

/* A sock_diag(7) socket, which goes on to see the namespace it was made in. */
struct netns_diag {
	int fd;					  /* non-blocking */
	uint16_t ephemeral_first, ephemeral_last; /* ip_local_port_range */
};

/* With `groups` (bits 1 << (SKNLGRP_... - 1)) bound to them. Errors as above.
 * netns NULL: our own. */
int netns_open_diag(const char *netns, uint32_t groups, struct netns_diag *out,
		    char step[static NETNS_STEP_SIZE]);
