/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/config_env.h"

#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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

/* Whose user the guest has, Lima makes the same as the host's. Where the home
 * directory in the guest is, nobody said. */
struct names {
	char socket_dir[PATH_MAX], dir[PATH_MAX], uid[16];
	struct rule_variable guest[3], host[7];
};

static void names_init(struct names *n)
{
	const struct runtime_env env = runtime_env_get();
	const struct passwd *user = getpwuid(env.uid);
	const char *temp = getenv("TMPDIR");

	*n = (struct names){ 0 };
	(void)snprintf(n->uid, sizeof(n->uid), "%u", (unsigned int)env.uid);
	if (runtime_dir_path(&env, n->dir, sizeof(n->dir) - strlen(SOCKET_DIR)) < 0)
		n->dir[0] = '\0';
	else
		(void)snprintf(n->socket_dir, sizeof(n->socket_dir), "%.*s" SOCKET_DIR,
			       (int)(sizeof(n->dir) - strlen(SOCKET_DIR) - 1), n->dir);
	n->guest[0] = (struct rule_variable){ "UID", n->uid };
	n->guest[1] = (struct rule_variable){ "User", user ? user->pw_name : NULL };
	n->host[0] = n->guest[0];
	n->host[1] = n->guest[1];
	n->host[2] = (struct rule_variable){ "Home", user ? user->pw_dir : NULL };
	n->host[3] = (struct rule_variable){ "Dir", *n->dir ? n->dir : NULL };
	n->host[4] = (struct rule_variable){ "TempDir", temp ? temp : "/tmp" };
	n->host[5] = (struct rule_variable){ "GlobalTempDir", "/tmp" };
}

void config_env_make_socket_dir(const struct config *config)
{
	const struct runtime_env env = runtime_env_get();
	char error[RUNTIME_ERROR_SIZE];
	struct names names;
	bool is_needed = false;

	names_init(&names);
	for (unsigned int i = 0; *names.dir && i < config->n_port_forwards; i++) {
		const struct rule *rule = &config->rules[i];
		size_t len = strlen(names.socket_dir);

		if (rule->host_socket && !rule->is_reverse &&
		    strncmp(rule->host_socket, names.socket_dir, len) == 0 &&
		    rule->host_socket[len] == '/')
			is_needed = true;
	}
	if (!is_needed)
		return;
	if (runtime_dir_make(&env, names.dir, sizeof(names.dir), error) < 0)
		log_error("%s", error);
	else if (mkdir(names.socket_dir, 0700) < 0 && errno != EEXIST)
		log_error("%s: %s", names.socket_dir, strerror(errno));
}

static int read_and_print(const char *path, const struct config_context *context,
			  struct config **out)
{
	struct problems *problems = calloc(1, sizeof(*problems));
	int r;

	if (!problems)
		return -ENOMEM;
	r = read_or_default(path, context, out, problems);
	problems_print(problems, path ? path : "netfwd", on_problem, NULL);
	free(problems);
	return r;
}

int config_env_read(const char *path, enum config_guest_kind guest, struct config **out)
{
	struct names names;
	const struct config_context context = {
		.guest = guest,
		.env.ssh_port_forwarder = getenv("LIMA_SSH_PORT_FORWARDER"),
		.env.ssh_over_vsock = getenv("LIMA_SSH_OVER_VSOCK"),
		.socket_dir = names.socket_dir,
		.guest_variables = names.guest,
		.host_variables = names.host,
	};
	int r;

	names_init(&names);
	r = read_and_print(path, &context, out);
	if (r == -ENOMEM)
		log_error("%s: out of memory", path ? path : "netfwd");
	return r;
}
