/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* netfwd-agent, put together. */

struct agent_options;

/* Serves until SIGTERM or SIGINT. What the program ends with. */
int agent_run(const struct agent_options *options);
