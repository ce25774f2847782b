/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Rings when a tracepoint of the kernel is hit, on any processor and in any
 * network namespace (perf_event_open(2)). It says that something happened, not
 * what: nothing the kernel writes is read, so it costs a wake-up and no more.
 *
 * Needs CAP_PERFMON (or CAP_SYS_ADMIN) to be opened, and CAP_SYS_ADMIN where
 * tracefs is mounted nowhere: then it is used without mounting it. No capability
 * is needed after that. Processors that are switched on later are not heard. */
#include <stdbool.h>

struct trace_bell;

struct trace_bell_spec {
	const char *event;  /* "sock/inet_sock_set_state" */
	const char *filter; /* for the kernel to judge, on the event's fields */
};

/* 0; -errno, with what failed in *step: few words, of static memory. */
int trace_bell_new(const struct trace_bell_spec *spec, struct trace_bell **out, const char **step);
void trace_bell_free(struct trace_bell *bell); /* accepts NULL */

/* Readable when it has rung; it may be so once only, so that looking at it is not
 * enough: trace_bell_take() says whether it has rung since it said so before. */
int trace_bell_fd(const struct trace_bell *bell);
bool trace_bell_take(struct trace_bell *bell);
