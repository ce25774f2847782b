/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What a guest listens on where no agent runs: a shell there is asked every second. Of
 * TCP alone, since for UDP there is no way into such a guest. */
#include "forwarder/port_listener.h"
#include "netstack/stream.h"

struct loop;
struct shell_watch;

#define SHELL_WATCH_MAX 4096U /* listeners; more are not taken in */

struct shell_watch_setup {
	/* Has a command run by a shell in the guest, as ssh_tunnel_run(). */
	int (*run)(void *arg, const char *command, struct stream **out);
	void *run_arg;
	port_watch_fn *changed; /* never before shell_watch_new() has returned */
	void *arg;
};

/* 0 or -ENOMEM. Begins by itself, and begins again. */
int shell_watch_new(struct loop *loop, const struct shell_watch_setup *setup,
		    struct shell_watch **out);
void shell_watch_free(struct shell_watch *watch); /* accepts NULL */
