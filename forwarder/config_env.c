/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/config_env.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/runtime_dir.h"
#include "netstack/base/log.h"

#define SOCKET_DIR "/sock"

static void on_problem(void *arg, bool is_warning, const char *line)
{
	(void)arg;
	log_at(is_warning ? LOG_LEVEL_WARN : LOG_LEVEL_ERROR, "%s", line);
}

static int read_or_default(const char *path, const struct config_context *context,
			   struct config **out, struct problems *problems)
{
	static const char defaults[] = "{}";

	if (path)
		return config_read(path, context, out, problems);
	return config_parse(defaults, strlen(defaults), context, out, problems);
}

int config_env_read(const char *path, struct config **out)
{
	const struct runtime_env env = runtime_env_get();
	char socket_dir[PATH_MAX];
	struct config_context context = {
		.env.ssh_port_forwarder = getenv("LIMA_SSH_PORT_FORWARDER"),
		.env.ssh_over_vsock = getenv("LIMA_SSH_OVER_VSOCK"),
	};
	struct problems *problems = calloc(1, sizeof(*problems));
	int r;

	if (!problems)
		return -ENOMEM;
	if (runtime_dir_path(&env, socket_dir, sizeof(socket_dir) - strlen(SOCKET_DIR)) == 0) {
		memcpy(socket_dir + strlen(socket_dir), SOCKET_DIR, sizeof(SOCKET_DIR));
		context.socket_dir = socket_dir;
	}
	r = read_or_default(path, &context, out, problems);
	problems_print(problems, path ? path : "netfwd", on_problem, NULL);
	if (r == -ENOMEM)
		log_error("%s: out of memory", path ? path : "netfwd");
	free(problems);
	return r;
}
