/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/runtime_dir.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct runtime_env runtime_env_get(void)
{
	return (struct runtime_env){
		.xdg_runtime_dir = getenv("XDG_RUNTIME_DIR"),
		.run_user = "/run/user",
		.tmp = "/tmp",
		.uid = geteuid(),
	};
}

/* Not so after su and sudo, which may leave another user's directory in the
 * environment. */
static bool is_own_directory(const char *path, uid_t uid)
{
	struct stat st;

	return path[0] == '/' && stat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == uid;
}

/* In a directory that everybody may write to, somebody may have been first. */
static int check_private(const char *path, uid_t uid, char *error)
{
	struct stat st;
	int r;

	if (lstat(path, &st) < 0) {
		r = -errno;
		(void)snprintf(error, RUNTIME_ERROR_SIZE, "%s: %s", path, strerror(-r));
		return r;
	}
	if (!S_ISDIR(st.st_mode)) {
		(void)snprintf(error, RUNTIME_ERROR_SIZE, "%s is not a directory; remove it", path);
		return -ENOTDIR;
	}
	if (st.st_uid != uid) {
		(void)snprintf(error, RUNTIME_ERROR_SIZE,
			       "%s belongs to user id %u; choose another place with --stream PATH",
			       path, (unsigned int)st.st_uid);
		return -EPERM;
	}
	if (st.st_mode & 077) {
		(void)snprintf(error, RUNTIME_ERROR_SIZE,
			       "%s is open to other users; close it: chmod 700 %s", path, path);
		return -EPERM;
	}
	return 0;
}

/* 0, or -ENAMETOOLONG. */
__attribute__((format(printf, 3, 4))) static int put_path(char *path, size_t size, const char *fmt,
							  ...)
{
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(path, size, fmt, ap);
	va_end(ap);
	return len < 0 || (size_t)len >= size ? -ENAMETOOLONG : 0;
}

int runtime_dir_path(const struct runtime_env *env, char *path, size_t size)
{
	unsigned int uid = env->uid;
	int r;

	if (env->xdg_runtime_dir && is_own_directory(env->xdg_runtime_dir, env->uid))
		return put_path(path, size, "%s/netfwd", env->xdg_runtime_dir);
	r = put_path(path, size, "%s/%u", env->run_user, uid);
	if (r == 0 && is_own_directory(path, env->uid))
		return put_path(path, size, "%s/%u/netfwd", env->run_user, uid);
	return put_path(path, size, "%s/netfwd-%u", env->tmp, uid);
}

static int choose_or_tell(const struct runtime_env *env, char *path, size_t size, char *error)
{
	int r = runtime_dir_path(env, path, size);

	if (r < 0)
		(void)snprintf(error, RUNTIME_ERROR_SIZE,
			       "the path of the runtime directory is too long for a socket; "
			       "choose a shorter one with --stream PATH");
	return r;
}

int runtime_dir_make(const struct runtime_env *env, char *path, size_t size,
		     char error[static RUNTIME_ERROR_SIZE])
{
	int r = choose_or_tell(env, path, size, error);

	if (r < 0)
		return r;
	if (mkdir(path, 0700) < 0 && errno != EEXIST) {
		r = -errno;
		(void)snprintf(error, RUNTIME_ERROR_SIZE, "%s cannot be made: %s", path,
			       strerror(-r));
		return r;
	}
	return check_private(path, env->uid, error);
}

int runtime_dir_find(const struct runtime_env *env, char *path, size_t size,
		     char error[static RUNTIME_ERROR_SIZE])
{
	int r = choose_or_tell(env, path, size, error);

	return r < 0 ? r : check_private(path, env->uid, error);
}
