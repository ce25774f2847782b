/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What a reload cannot change. Pure. */
#include "forwarder/config.h"

/* Called for every key that differs and takes effect at the next start only:
 * "network.mtu". */
typedef void config_change_fn(void *arg, const char *key);
void config_changes(const struct config *before, const struct config *after, config_change_fn *fn,
		    void *arg);
