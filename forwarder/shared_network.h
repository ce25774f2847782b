/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What a shared network is, from the options: its addresses, and where its leases
 * are kept. */
#include <limits.h>

#include "forwarder/shared_options.h"

struct options;
struct stack_config;

/* The network as the stack has it: 192.168.105.0/24 unless options->network4 says
 * otherwise. The host's own kernel is .1 if it has an interface there, and the
 * gateway is .2 then; else the gateway is .1. DNS is .3, guests start at .16. The
 * addresses of guests are checked to be of this network: -EINVAL. Pure. */
int shared_network_make(const struct options *options, struct stack_config *out,
			char error[static SHARED_OPTIONS_ERROR_SIZE]);

/* The same, and where leases are kept; lease_path is where its path of leases is kept, and must
 * live as long. -errno after one line that says why. */
int shared_network_choose(const struct options *options, struct stack_config *out,
			  char lease_path[static PATH_MAX]);
