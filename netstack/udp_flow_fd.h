/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A flow over a UDP socket of the kernel: of the host, or of another network
 * namespace. */
#include "netstack/addr.h"
#include "netstack/udp_flow.h"

struct loop;

/* Connects fd, a new non-blocking UDP socket of the right family. 0, or -errno, and
 * it is closed. */
int udp_flow_fd_connect(int fd, const struct endpoint *to);
/* Takes fd, which is connected; closes it on error, -ENOMEM. */
int udp_flow_fd_new(struct loop *loop, int fd, const struct udp_flow_owner *owner, void *arg,
		    struct udp_flow **out);
