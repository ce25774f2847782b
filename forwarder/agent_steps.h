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

#define AGENT_STEPS_OPTIONS_SIZE 512
/* What the agent in the guest is started with. */
void agent_steps_options(const struct agent_steps *steps,
			 char out[static AGENT_STEPS_OPTIONS_SIZE]);
/* Negative on error, as fprintf(3). */
int agent_steps_print(const struct agent_steps *steps, FILE *to);
