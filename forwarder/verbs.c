/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/verbs.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/control_verbs.h"

static const struct verb verbs[] = {
	{ "status", "what a running netfwd forwards, and how much", status_help, status_run },
	{ "expose", "open a port of the host in a running netfwd", expose_help, expose_run },
	{ "unexpose", "close what expose opened", unexpose_help, unexpose_run },
	{ "events", "what has happened, and with --follow what happens", events_help, events_run },
	{ "reload", "read the configuration again", reload_help, reload_run },
	{ .name = NULL },
};

const struct verb *verb_find(const char *name)
{
	for (const struct verb *verb = verbs; verb->name; verb++) {
		if (strcmp(verb->name, name) == 0)
			return verb;
	}
	return NULL;
}

static bool asks_for_help(int argc, char *const argv[])
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (strcmp(argv[i], "--help") == 0)
			return true;
	}
	return false;
}

int verb_run(const struct verb *verb, int argc, char *argv[])
{
	int status = EXIT_SUCCESS;

	if (!asks_for_help(argc, argv))
		status = verb->run(argc, argv);
	else if (fputs(verb->help, stdout) < 0)
		status = EXIT_FAILURE;
	/* what a full disk or a closed pipe did not take was not said */
	if (fflush(stdout) != 0 || ferror(stdout))
		status = EXIT_FAILURE;
	return status;
}

int verbs_print(FILE *to)
{
	int r = 0;

	if (verbs[0].name)
		r = fputs("\nVerbs, each with a --help of its own:\n", to);
	for (const struct verb *verb = verbs; r >= 0 && verb->name; verb++)
		r = fprintf(to, "  %-18s %s\n", verb->name, verb->summary);
	return r;
}
