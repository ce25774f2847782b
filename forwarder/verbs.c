/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/verbs.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/verb_agent.h"
#include "forwarder/verb_config.h"
#include "forwarder/verb_control.h"

static const struct verb verbs[] = {
	{ "check", "validate a configuration and print its rules", verb_check_help, verb_check },
	{ "explain", "what becomes of a port that the guest listens on", verb_explain_help,
	  verb_explain },
	{ "status", "what a running netfwd forwards, and how much", verb_status_help, verb_status },
	{ "expose", "open a port of the host in a running netfwd", verb_expose_help, verb_expose },
	{ "unexpose", "close what expose opened", verb_unexpose_help, verb_unexpose },
	{ "events", "what has happened, and with --follow what happens", verb_events_help,
	  verb_events },
	{ "reload", "have a running netfwd read its configuration again", verb_reload_help,
	  verb_reload },
	{ "agent", "how to bring the agent into the guest", verb_agent_help, verb_agent },
	{ "ip", "the addresses of the guests of a shared network", verb_ip_help, verb_ip },
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
