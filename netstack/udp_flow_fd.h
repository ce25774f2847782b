/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A flow over a UDP socket of the kernel: of the host, or of another network
 * namespace. */
#include "netstack/addr.h"
#include "netstack/udp_flow.h"

struct loop;

/* Takes fd, a new non-blocking UDP socket of the right family, also on error, and
 * connects it to `to`. 0, or -errno of connecting, -ENOMEM. */
int udp_flow_fd_new(struct loop *loop, int fd, const struct endpoint *to,
		    const struct udp_flow_owner *owner, void *arg, struct udp_flow **out);
