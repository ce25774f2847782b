/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The forwards of the command line, all or none: first every port is bound, so
 * that all failures are known, then all are opened. */
#include "forwarder/forward_spec.h"

struct forwards;
struct loop;
struct stack;
struct stack_config;

/* config is stack's; both outlive the forwards. 0 or -ENOMEM. */
int forwards_new(struct loop *loop, struct stack *stack, const struct stack_config *config,
		 struct forwards **out);
/* Binds the ports of spec. -errno if one of them cannot be had: each is logged,
 * with an event `failed`, and the others stay bound. */
int forwards_add(struct forwards *f, const struct forward_spec *spec);
/* Opens all, with an event `forwarding` each. -errno, logged. */
int forwards_start(struct forwards *f);
/* Closes all: with an event `stopping` for those that were open, and
 * `not-forwarding` for those that never were. Accepts NULL. */
void forwards_free(struct forwards *f);
