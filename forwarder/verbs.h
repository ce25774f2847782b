/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* `netfwd VERB ...`: what the program does besides serving a guest. A verb is
 * looked up before any option is read, and reads its own. A new one is a line
 * in verbs.c's table and a function in a file of its own.
 *
 * (`netfwd qemu` is not in the table: it serves a guest, with netfwd's own
 * options.) */
#include <stdio.h>

struct verb {
	const char *name;
	const char *summary; /* for netfwd --help, without a full stop */
	const char *help;    /* for netfwd VERB --help: usage, options, examples */
	/* argv[0] is the verb. The result is the process's exit status. */
	int (*run)(int argc, char *argv[]);
};

/* NULL if there is no such verb. */
const struct verb *verb_find(const char *name);
/* Answers --help, or runs the verb. The exit status. */
int verb_run(const struct verb *verb, int argc, char *argv[]);
/* The list of verbs, for the general help. Negative on error, as fprintf(3). */
int verbs_print(FILE *to);
