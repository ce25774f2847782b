/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "forwarder/agent/agent.h"
#include "forwarder/agent/agent_options.h"
#include "netstack/base/log.h"

static enum log_level log_level_of(unsigned int verbosity)
{
	static const enum log_level levels[] = {
		LOG_LEVEL_WARN,
		LOG_LEVEL_INFO,
		LOG_LEVEL_DEBUG,
		LOG_LEVEL_TRACE,
	};

	return levels[verbosity < 3 ? verbosity : 3];
}

int main(int argc, char *argv[])
{
	char error[AGENT_OPTIONS_ERROR_SIZE];
	struct agent_options options;

	log_set_program("netfwd-agent");
	if (agent_options_parse(argc, argv, &options, error) < 0) {
		log_error("%s", error);
		return EXIT_FAILURE;
	}
	log_set_level(log_level_of(options.verbosity));
	switch (options.action) {
	case AGENT_HELP:
		return fputs(agent_options_help(), stdout) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
	case AGENT_VERSION:
		return puts("netfwd-agent " NETFWD_VERSION) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
	case AGENT_RUN:
		return agent_run(&options);
	}
	return EXIT_FAILURE;
}
