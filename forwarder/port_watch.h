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
#include <limits.h>
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
	/* UDP sockets with a port of ip_local_port_range are mostly those of clients:
	 * only those are reported that have been there for so long; 0: all,
	 * PORT_WATCH_NO_CLIENTS: none. */
	unsigned int client_age_ms;
	bool without_tracing;
	port_watch_fn *changed;
	void *arg;
};

#define PORT_WATCH_NO_CLIENTS UINT_MAX

/* 0 or -errno, logged. changed() is first called from the loop. */
int port_watch_new(struct loop *loop, const struct port_watch_config *config,
		   struct port_watch **out);
void port_watch_free(struct port_watch *watch); /* accepts NULL */

/* Of the configuration, from the next question on. */
void port_watch_set_client_age(struct port_watch *watch, unsigned int age_ms);
/* ip_local_port_range of the namespace, as of the start. */
struct port_range port_watch_ephemeral(const struct port_watch *watch);
