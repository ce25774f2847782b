/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A line of /proc/net/tcp or /proc/net/tcp6 (proc(5)), as a guest has sent it. Pure. */
#include <stdbool.h>

#include "forwarder/port_listener.h"

/* The kernel prints addresses as the processor reads them from memory. */
enum proc_net_order {
	PROC_NET_LITTLE_ENDIAN,
	PROC_NET_BIG_ENDIAN,
};

/* False: it is not of a socket that listens, or makes no sense. */
bool proc_net_parse(const char *line, enum proc_net_order order, struct port_listener *out);
