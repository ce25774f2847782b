/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The way through the guest's NIC, in the form of a tunnel, named "direct". It
 * reaches what listens on the guest's address or on all of them. Whoever asks for
 * the guest's loopback is taken to its address: a forward that is set up at once
 * says nothing about where its server will listen. */
#include <stdbool.h>

struct stack;
struct stack_config;
struct tunnel;

/* Both outlive it; network->guest4 is the guest's address at each connection, any
 * when it has none yet (-ENETDOWN). is_namespace: the guest has an IPv6 address that is known. 0 or
 * -ENOMEM. */
int tunnel_nic_new(struct stack *stack, const struct stack_config *network, bool is_namespace,
		   struct tunnel **out);
