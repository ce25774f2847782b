/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What a guest that is a network namespace listens on: TCP sockets in LISTEN and
 * UDP sockets without a peer. A listener that is closed is noticed at once, by
 * an event of the kernel; a new one by asking, at most PORT_WATCH_SLOW_MS later.
 * When the kernel cannot say, nothing is reported: what was there stays.
 *
 * A UDP socket that gets a peer while it is known (iperf3, QUIC servers) stays.
 * Sockets with a port of the guest's ip_local_port_range are those of UDP
 * clients and left out, unless asked for. All on the loop thread. */
#include <stdbool.h>

#include "forwarder/port_listener.h"

struct loop;
struct port_watch_netns;

#define PORT_WATCH_FAST_MS 40 /* after a change */
#define PORT_WATCH_SLOW_MS 80
#define PORT_WATCH_MAX 16384 /* more listeners are not reported, and said once */

struct port_watch_netns_config {
	const char *netns;	 /* as of --netns */
	bool with_ephemeral_udp; /* to begin with */
	port_watch_fn *changed;
	void *arg;
};

/* 0 or -errno, logged. changed() is first called from the loop. */
int port_watch_netns_new(struct loop *loop, const struct port_watch_netns_config *config,
			 struct port_watch_netns **out);
/* From the next look on. */
void port_watch_netns_set_ephemeral_udp(struct port_watch_netns *watch, bool with);
void port_watch_netns_ephemeral(const struct port_watch_netns *watch, uint16_t *first,
				uint16_t *last);
void port_watch_netns_free(struct port_watch_netns *watch); /* accepts NULL */
