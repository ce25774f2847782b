/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/verb_agent.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/agent_program.h"
#include "forwarder/agent_steps.h"
#include "forwarder/config_env.h"
#include "forwarder/ssh_install.h"
#include "netstack/base/log.h"

const char verb_agent_help[] =
	"Usage: netfwd agent install --config FILE [--control PATH | --print]\n"
	"\n"
	"Brings netfwd-agent(8) into the guest for good, for the transport that the\n"
	"configuration's `agent` section names. With a section `ssh` this is done by SSH,\n"
	"and may be repeated: what is there already stays. Without ssh.host the netfwd that\n"
	"has the guest is asked for a way to it. Without the section the steps are printed.\n"
	"\n"
	"  --config FILE      netfwd.yaml(5)\n"
	"  --control PATH     by SSH through the netfwd that serves this control socket\n"
	"                     (default: the user's, in $XDG_RUNTIME_DIR/netfwd)\n"
	"  --print            print the steps in any case, and change nothing\n"
	"\n"
	"Example:\n"
	"  netfwd agent install --config configs/agent.yaml\n";

struct arguments {
	const char *config_path;
	const char *control;
	bool only_print;
};

static int check_arguments(int n_words, char *words[], const struct arguments *a)
{
	if (n_words != 1 || strcmp(words[0], "install") != 0) {
		log_error("netfwd agent: \"install\" is what it does; see netfwd agent --help");
		return -EINVAL;
	}
	if (!a->config_path)
		log_error("netfwd agent install needs --config FILE, whose agent section says "
			  "how the agent is to be reached; see netfwd agent --help");
	else if (a->control && a->only_print)
		log_error("--print asks no netfwd: leave --control out; see netfwd agent --help");
	else
		return 0;
	return -EINVAL;
}

static int parse_arguments(int argc, char *argv[], struct arguments *a)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "control", required_argument, NULL, 's' },
		{ "print", no_argument, NULL, 'p' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	*a = (struct arguments){ .config_path = NULL };
	optind = 0; /* glibc: start afresh */
	opterr = 0;
	while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (option != 'c' && option != 's' && option != 'p') {
			log_error("%s: %s; see netfwd agent --help", argv[optind - 1],
				  option == ':' ? "needs a value" : "unknown option");
			return -EINVAL;
		}
		if (option == 'c')
			a->config_path = optarg;
		else if (option == 's')
			a->control = optarg;
		else
			a->only_print = true;
	}
	return check_arguments(argc - optind, argv + optind, a);
}

static int print_steps(const struct agent_steps *steps)
{
	char program[PATH_MAX];
	struct agent_steps with_program = *steps;
	int r = agent_program_find(NULL, program);

	if (r < 0) {
		log_error("%s: %s: the agent is expected beside netfwd", program, strerror(-r));
		return r;
	}
	with_program.program = program;
	return agent_steps_print(&with_program, stdout) < 0 ? -EIO : 0;
}

static int check_transport(const struct agent_steps *s)
{
	if (s->agent->transport == CONFIG_AGENT_SSH) {
		log_error("%s: agent.transport is ssh: netfwd brings the agent along by itself, "
			  "and nothing is to be installed",
			  s->config_path);
		return -EINVAL;
	}
	if (s->agent->transport > CONFIG_AGENT_NONE)
		return 0;
	log_error("%s: agent.transport is not set: serial is for netfwd qemu, unix for a "
		  "namespace, vsock and tcp are for other virtual machines",
		  s->config_path);
	return -EINVAL;
}

static bool is_by_ssh(const struct config *config, const struct arguments *a)
{
	if (a->only_print || config->agent.transport == CONFIG_AGENT_UNIX)
		return false; /* a namespace has the files of the host */
	return a->control || config_uses_ssh(&config->ssh);
}

/* An option that would do nothing. */
static int check_control(const struct config *config, const struct arguments *a)
{
	const char *why = NULL;

	if (config->agent.transport == CONFIG_AGENT_UNIX)
		why = "agent.transport is unix: the guest is a namespace";
	else if (config->ssh.host)
		why = "ssh.host is set: the guest is reached there";
	if (!a->control || !why)
		return 0;
	log_error("%s: %s; leave --control out", a->config_path, why);
	return -EINVAL;
}

static int install(const struct agent_steps *s, const struct config *config,
		   const struct arguments *a)
{
	char options[AGENT_STEPS_OPTIONS_SIZE];
	const struct ssh_install_setup setup = {
		.config = config,
		.config_path = s->config_path,
		.options = options,
		.control = a->control,
	};
	int r = check_transport(s);

	if (r == 0)
		r = check_control(config, a);
	if (r < 0)
		return r;
	if (!is_by_ssh(config, a))
		return print_steps(s);
	agent_steps_options(s, options);
	return ssh_install(&setup);
}

int verb_agent(int argc, char *argv[])
{
	struct agent_steps steps;
	struct arguments a;
	struct config *config;
	int r;

	if (parse_arguments(argc, argv, &a) < 0 ||
	    config_env_read(a.config_path, CONFIG_GUEST_OF_FILE, &config) < 0)
		return EXIT_FAILURE;
	steps = (struct agent_steps){
		.config_path = a.config_path,
		.agent = &config->agent,
		.ssh = &config->ssh,
	};
	r = install(&steps, config, &a);
	config_free(config);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
