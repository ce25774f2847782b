/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "forwarder/app.h"
#include "forwarder/config_env.h"
#include "forwarder/log_setup.h"
#include "forwarder/options.h"
#include "forwarder/options_merge.h"
#include "forwarder/verbs.h"
#include "netstack/base/log.h"

static int print_help(void)
{
	if (fputs(options_help(), stdout) < 0)
		return EXIT_FAILURE;
	return verbs_print(stdout) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int serve(struct options *options)
{
	log_setup(options, options->config);
	options_complete(options);
	return app_run(options);
}

static int serve_with_config(struct options *options)
{
	char error[OPTIONS_ERROR_SIZE];
	struct config *config;
	int status = EXIT_FAILURE;

	log_set_json(options->log_json);
	if (config_env_read(options->config_path, options_guest_kind(options), &config) < 0)
		return EXIT_FAILURE;
	if (options_merge(options, config, error) < 0)
		log_error("%s", error);
	else
		status = serve(options);
	config_free(config);
	return status;
}

static int run(struct options *options)
{
	switch (options->action) {
	case OPTIONS_HELP:
		return print_help();
	case OPTIONS_VERSION:
		return puts("netfwd " NETFWD_VERSION) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
	case OPTIONS_RUN:
		return options->config_path ? serve_with_config(options) : serve(options);
	}
	return EXIT_FAILURE;
}

int main(int argc, char *argv[])
{
	char error[OPTIONS_ERROR_SIZE];
	const struct verb *verb = argc > 1 ? verb_find(argv[1]) : NULL;
	struct options options;
	int status;

	if (verb)
		return verb_run(verb, argc - 1, argv + 1);
	if (options_parse(argc, argv, &options, error) < 0) {
		log_error("%s", error);
		return EXIT_FAILURE;
	}
	status = run(&options);
	options_deinit(&options);
	return status;
}
