/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* How a user gets the agent into a guest, step by step, as text. Pure. */
#include <stdio.h>

#include "forwarder/config.h"

struct agent_steps {
	const char *program; /* the agent on this machine */
	const char *config_path;
	const struct config_agent *agent; /* its transport is set */
	const struct config_ssh *ssh;
};

/* Negative on error, as fprintf(3). */
int agent_steps_print(const struct agent_steps *steps, FILE *to);
