/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* netfwd-agent in a guest that has none, by a shell there: the one for its
 * processor (agent_program.h) is sent over, started, and serves on the shell's standard
 * input and output. Nothing of it is left in the guest: its file is gone before it runs,
 * and it ends with the connection.
 *
 * Each connection brings it anew: a megabyte and a half. All on the loop thread. */
#include "netstack/stream.h"

struct agent_upload;
struct loop;

#define AGENT_UPLOAD_LIMIT_MS 20000 /* from connect to the agent's first word */
#define AGENT_UPLOAD_PAUSE_MS 10000 /* after one that was in vain */

struct agent_upload_setup {
	/* Has a command run by a shell in the guest, as ssh_tunnel_run(). */
	int (*run)(void *arg, const char *command, struct stream **out);
	void *run_arg;
	/* No agent can be brought, for the time being; again after each try. */
	void (*unusable)(void *arg);
	void *arg;
};

/* 0 or -ENOMEM. */
int agent_upload_new(struct loop *loop, const struct agent_upload_setup *setup,
		     struct agent_upload **out);
/* After its streams. Accepts NULL. */
void agent_upload_free(struct agent_upload *upload);

/* As struct agent_client_config has it. Whether there is a connection is known when the
 * agent has said something: the stream is connecting until then. */
int agent_upload_connect(struct agent_upload *upload, struct stream **out);
