/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the guest's agent has reported, put together. Pure. */
#include <stdbool.h>

#include "forwarder/port_listener.h"

#define AGENT_LISTENERS_MAX 16384U /* more are not taken in, and counted */

struct agent_listeners;

int agent_listeners_new(struct agent_listeners **out);
void agent_listeners_free(struct agent_listeners *l); /* accepts NULL */

/* One report: begin; add and remove in any order; end. is_all: what is not added
 * is gone. */
void agent_listeners_begin(struct agent_listeners *l, bool is_all);
/* False: there are too many. */
bool agent_listeners_add(struct agent_listeners *l, const struct port_listener *listener);
void agent_listeners_remove(struct agent_listeners *l, const struct port_listener *listener);
/* Until the end of a report it may turn out to be all there is. */
void agent_listeners_set_all(struct agent_listeners *l);
/* Whether that changed anything, or was the first. */
bool agent_listeners_end(struct agent_listeners *l);

/* Sorted, none twice. */
const struct port_listener *agent_listeners_all(const struct agent_listeners *l, unsigned int *n);
