/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What a shared network is, from the options: its addresses, and where its leases
 * are kept. */
#include <limits.h>

struct options;
struct stack_config;

/* Fills in the network; lease_path is where its path of leases is kept, and must
 * live as long. -errno after one line that says why. */
int shared_network_choose(const struct options *options, struct stack_config *out,
			  char lease_path[static PATH_MAX]);
