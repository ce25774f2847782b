/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/verb_agent.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "forwarder/agent_steps.h"
#include "forwarder/config_env.h"
#include "netstack/base/log.h"

#define AGENT_NAME "netfwd-agent"

const char verb_agent_help[] =
	"Usage: netfwd agent install --config FILE\n"
	"\n"
	"Prints the steps that bring netfwd-agent(8) into the guest, for the transport\n"
	"that the configuration's `agent` section names.\n"
	"\n"
	"  --config FILE      netfwd.yaml(5)\n"
	"\n"
	"Example:\n"
	"  netfwd agent install --config configs/agent.yaml\n";

static int parse_arguments(int argc, char *argv[], const char **config_path)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	*config_path = NULL;
	optind = 0; /* glibc: start afresh */
	opterr = 0;
	while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (option != 'c') {
			log_error("%s: %s; see netfwd agent --help", argv[optind - 1],
				  option == ':' ? "needs a value" : "unknown option");
			return -EINVAL;
		}
		*config_path = optarg;
	}
	if (argc - optind != 1 || strcmp(argv[optind], "install") != 0) {
		log_error("netfwd agent: \"install\" is what it does; see netfwd agent --help");
		return -EINVAL;
	}
	if (!*config_path)
		log_error("netfwd agent install needs --config FILE, whose agent section says "
			  "how the agent is to be reached; see netfwd agent --help");
	return *config_path ? 0 : -EINVAL;
}

/* Beside this program, as both are built and installed. */
static int find_program(char path[static PATH_MAX])
{
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - sizeof(AGENT_NAME));
	char *slash;

	if (n < 0) {
		log_error("/proc/self/exe: %s", strerror(errno));
		return -errno;
	}
	path[n] = '\0';
	slash = strrchr(path, '/');
	memcpy(slash ? slash + 1 : path, AGENT_NAME, sizeof(AGENT_NAME));
	if (access(path, X_OK) == 0)
		return 0;
	log_error("%s: %s: the agent is expected beside netfwd", path, strerror(errno));
	return -ENOENT;
}

static int print_steps(const char *config_path, const struct config *config)
{
	char program[PATH_MAX];
	const struct agent_steps steps = {
		.program = program,
		.config_path = config_path,
		.agent = &config->agent,
		.ssh = &config->ssh,
	};

	if (config->agent.transport <= CONFIG_AGENT_NONE) {
		log_error("%s: agent.transport is not set: serial is for netfwd qemu, unix for a "
			  "namespace, vsock and tcp are for other virtual machines",
			  config_path);
		return EXIT_FAILURE;
	}
	if (find_program(program) < 0)
		return EXIT_FAILURE;
	return agent_steps_print(&steps, stdout) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int verb_agent(int argc, char *argv[])
{
	const char *config_path;
	struct config *config;
	int status;

	if (parse_arguments(argc, argv, &config_path) < 0 ||
	    config_env_read(config_path, CONFIG_GUEST_OF_FILE, &config) < 0)
		return EXIT_FAILURE;
	status = print_steps(config_path, config);
	config_free(config);
	return status;
}
