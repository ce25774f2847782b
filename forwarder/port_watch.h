/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What a network namespace listens on, kept up to date (see port_scan.h). The
 * kernel's events say when to ask: tracepoints for what is new (trace_bell.h),
 * sock_diag(7) for UDP sockets that are gone. Where tracing is not to be had,
 * what is gone is still seen at once, and what is new by asking, at most
 * PORT_WATCH_POLL_MS later.
 *
 * Questions are bounded in processor time, however many sockets come and go:
 * then they are asked less often. When the kernel cannot answer, nothing is
 * reported: what was there stays. All on the loop thread. */
#include <stdbool.h>

#include "forwarder/port_listener.h"

struct loop;
struct port_watch;

#define PORT_WATCH_SETTLE_MS 2	   /* from an event to the question */
#define PORT_WATCH_POLL_MS 80	   /* without events: between questions, */
#define PORT_WATCH_POLL_FAST_MS 40 /* just after a change */
#define PORT_WATCH_SAFETY_MS 1000  /* with events: for what they do not tell */

struct port_watch_config {
	const char *netns; /* as of --netns; NULL: our own */
	/* UDP sockets with a port of ip_local_port_range are those of clients and
	 * left out, unless asked for. */
	bool with_ephemeral_udp; /* to begin with */
	bool without_tracing;
	port_watch_fn *changed;
	void *arg;
};

/* 0 or -errno, logged. changed() is first called from the loop. */
int port_watch_new(struct loop *loop, const struct port_watch_config *config,
		   struct port_watch **out);
void port_watch_free(struct port_watch *watch); /* accepts NULL */

/* From the next question on. */
void port_watch_set_ephemeral_udp(struct port_watch *watch, bool with);
/* ip_local_port_range of the namespace, as of the start. */
struct port_range port_watch_ephemeral(const struct port_watch *watch);
