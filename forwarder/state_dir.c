/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/state_dir.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct state_env state_env_get(void)
{
	return (struct state_env){ .xdg_state_home = getenv("XDG_STATE_HOME"),
				   .home = getenv("HOME") };
}

/* Every directory that path names, but its last part. */
static int make_parents(char *path)
{
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		int r;

		*slash = '\0';
		r = mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;
		*slash = '/';
		if (r < 0)
			return r;
	}
	return 0;
}

int state_dir_file(const struct state_env *env, const char *name, char *path, size_t size)
{
	int len;

	/* relative paths are to be ignored, says the specification */
	if (env->xdg_state_home && env->xdg_state_home[0] == '/')
		len = snprintf(path, size, "%s/netfwd/%s", env->xdg_state_home, name);
	else if (env->home && env->home[0] == '/')
		len = snprintf(path, size, "%s/.local/state/netfwd/%s", env->home, name);
	else
		return -ENOENT;
	if (len < 0 || (size_t)len >= size)
		return -ENAMETOOLONG;
	return make_parents(path);
}
