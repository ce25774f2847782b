/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Brings netfwd-agent into a guest for good, by a shell there: the program that fits its
 * processor, the token if there is one, and a unit of systemd or a script of OpenRC that
 * starts it. What is there already is left as it is, so it may be done again at any time. */
#include "netstack/stream.h"

struct agent_install;

struct agent_install_setup {
	/* Has a command run by a shell in the guest, as ssh_tunnel_run(). */
	int (*run)(void *arg, const char *command, struct stream **out);
	void *run_arg;

	const char *options;	/* of the agent there; no quotes */
	const char *token_path; /* here; NULL: it needs none */

	/* What is done, for the user. */
	void (*tell)(void *arg, const char *line);
	/* 0; -ECANCELED after the last line has told why not; other -errno. The installation
	 * is gone. */
	void (*done)(void *arg, int error);
	void *arg;
};

/* 0 or -errno; done() is not called from within. */
int agent_install_start(const struct agent_install_setup *setup, struct agent_install **out);
/* Without done(). Accepts NULL. */
void agent_install_cancel(struct agent_install *install);
