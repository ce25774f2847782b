/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* An agent that a command of the user's starts, and talks to us on the command's
 * standard input and output: `ssh guest netfwd-agent --stdio`, `docker exec -i`. A
 * command runs for each connection and ends with it; what it says on its standard
 * error goes to ours. All on the loop thread. */
#include <stdint.h>

struct agent_command;
struct loop;
struct stream;

/* One that ended this soon after its start waits before the next: AGENT_COMMAND_PAUSE_MS,
 * then twice that, up to AGENT_COMMAND_PAUSE_MAX_MS. */
#define AGENT_COMMAND_SHORT_MS 10000
#define AGENT_COMMAND_PAUSE_MS 500
#define AGENT_COMMAND_PAUSE_MAX_MS 16000
/* It is to end when its input does. If it does not: SIGTERM, then SIGKILL. */
#define AGENT_COMMAND_TERM_MS 2000
#define AGENT_COMMAND_KILL_MS 3000

/* 0 or -ENOMEM. argv outlives it: n words, the first looked up in PATH. */
int agent_command_new(struct loop *loop, char *const *argv, unsigned int n,
		      struct agent_command **out);
/* After its streams; those that still run get SIGTERM. Accepts NULL. */
void agent_command_free(struct agent_command *command);

/* Starts it: the stream, or -errno why it cannot be started; -EAGAIN during the
 * pause. */
int agent_command_connect(struct agent_command *command, struct stream **out);
