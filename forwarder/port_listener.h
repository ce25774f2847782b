/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What a guest listens on, as those who find out tell those who want to know. */
#include <stdint.h>

#include "forwarder/forward_spec.h"
#include "netstack/addr.h"

struct port_listener {
	enum forward_proto proto;
	struct endpoint guest;
};

/* The ports that the guest's kernel hands out by itself (ip_local_port_range in
 * ip(7)): UDP sockets there are those of clients. 0, 0: not known. */
struct port_range {
	uint16_t first, last;
};

/* All of them, sorted, none twice; whenever that changes, and once at the start. */
typedef void port_watch_fn(void *arg, const struct port_listener *all, unsigned int n);
