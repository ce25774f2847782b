/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Where this user's sockets live: a directory that is the user's alone. */
#include <stddef.h>
#include <sys/types.h>

/* What decides, apart from the file system. */
struct runtime_env {
	const char *xdg_runtime_dir; /* $XDG_RUNTIME_DIR, may be NULL */
	const char *run_user;	     /* "/run/user" */
	const char *tmp;	     /* "/tmp" */
	uid_t uid;
};

struct runtime_env runtime_env_get(void);

/* Writes the path, makes nothing. 0 or -ENAMETOOLONG.
 *   $XDG_RUNTIME_DIR/netfwd   if that is a directory of this user,
 *   /run/user/UID/netfwd      likewise,
 *   /tmp/netfwd-UID           otherwise. */
int runtime_dir_path(const struct runtime_env *env, char *path, size_t size);

#define RUNTIME_ERROR_SIZE 256

/* The same, and makes the directory where it is missing, mode 0700.
 * -errno with a line that says why, when it belongs to somebody else, others
 * may enter it, or it cannot be made. */
int runtime_dir_make(const struct runtime_env *env, char *path, size_t size,
		     char error[static RUNTIME_ERROR_SIZE]);
/* The same for who looks for a socket in it: nothing is made, -ENOENT if it is
 * not there. */
int runtime_dir_find(const struct runtime_env *env, char *path, size_t size,
		     char error[static RUNTIME_ERROR_SIZE]);

/* Names in it. */
#define RUNTIME_CONTROL_SOCKET "control.sock"
