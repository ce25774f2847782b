/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/log_setup.h"

#include "forwarder/config.h"
#include "forwarder/options.h"
#include "netstack/base/log.h"

static enum log_level level_of_options(unsigned int verbosity)
{
	static const enum log_level levels[] = {
		LOG_LEVEL_WARN,
		LOG_LEVEL_INFO,
		LOG_LEVEL_DEBUG,
		LOG_LEVEL_TRACE,
	};

	return levels[verbosity < 3 ? verbosity : 3];
}

static enum log_level level_of_config(enum config_level level)
{
	switch (level) {
	case CONFIG_LEVEL_DEFAULT:
	case CONFIG_LEVEL_WARN:
		break;
	case CONFIG_LEVEL_INFO:
		return LOG_LEVEL_INFO;
	case CONFIG_LEVEL_DEBUG:
		return LOG_LEVEL_DEBUG;
	case CONFIG_LEVEL_TRACE:
		return LOG_LEVEL_TRACE;
	}
	return LOG_LEVEL_WARN;
}

void log_setup(const struct options *options, const struct config *config)
{
	bool is_json = options->log_json;

	if (config && config->logging.json == RULE_SWITCH_ON)
		is_json = true;
	log_set_json(is_json);
	if (config && options->verbosity == 0)
		log_set_level(level_of_config(config->logging.level));
	else
		log_set_level(level_of_options(options->verbosity));
}
