/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What users opened with `netfwd expose`: the source "control" of the publisher.
 * And what all its sources publish, for `netfwd status`. */
#include "forwarder/control.h"
#include "forwarder/ways.h"

#define EXPOSED_SOURCE "control"

struct exposed;
struct publisher;

/* Both outlive it. 0 or -ENOMEM. */
int exposed_new(struct publisher *publisher, const struct ways *ways, struct exposed **out);
/* Closes all of it. Accepts NULL. */
void exposed_free(struct exposed *exposed);

/* For control_ops: all ports of the forward, or none and a line that says why.
 * -EEXIST: exposed already; -EADDRINUSE: a port is taken, be it by another
 * forward; -ENOSPC: too many; -EOPNOTSUPP: there is no such way; -ENOMEM. */
int exposed_add(struct exposed *exposed, const struct control_forward *forward,
		char error[static CONTROL_ERROR_SIZE]);
/* -ENOENT: not exposed, or not like this (via does not matter). */
int exposed_remove(struct exposed *exposed, const struct control_forward *forward,
		   char error[static CONTROL_ERROR_SIZE]);

/* Every publication of every source, with the way of its guest. */
void exposed_list(const struct exposed *exposed, ways_find_fn *find_ways, void *arg,
		  struct control_status *s);
