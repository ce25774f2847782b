/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the form of the file does not tell: values, contradictions, and the rules
 * that come of it. Pure. */
#include "forwarder/config.h"

/* Fills config->rules and config->set. 0, -EINVAL with problems, or -ENOMEM. */
int config_check(struct config *config, const struct config_context *context,
		 struct problems *problems);
