/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A command that a shell in the guest runs, from start to end: what it is to read, and
 * what it says, line by line. Its exit status is not known; a command that has to be
 * believed says so in a line. */
#include <stddef.h>

#include "netstack/stream.h"

struct shell_job;

struct shell_job_setup {
	/* Has the command run, as ssh_tunnel_run(). */
	int (*run)(void *arg, const char *command, struct stream **out);
	void *run_arg;
	const char *command;
	const void *input; /* outlives the job */
	size_t input_len;

	/* Printable, without its end; one that is too long comes in pieces. */
	void (*line)(void *arg, const char *line);
	/* 0, or -errno when it did not start or was cut off. The job is gone. */
	void (*done)(void *arg, int error);
	void *arg;
};

/* 0 or -errno; done() is not called from within. */
int shell_job_start(const struct shell_job_setup *setup, struct shell_job **out);
/* Without done(). Accepts NULL. */
void shell_job_cancel(struct shell_job *job);
