/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Where what must outlive the program is kept (XDG Base Directory Specification,
 * 0.8: $XDG_STATE_HOME). */
#include <stddef.h>

struct state_env {
	const char *xdg_state_home; /* $XDG_STATE_HOME, may be NULL */
	const char *home;	    /* $HOME, may be NULL */
};

struct state_env state_env_get(void);

/* Writes the path of a file in it, and makes the directories on the way, mode
 * 0700, that are missing: $XDG_STATE_HOME/netfwd/NAME, or else
 * $HOME/.local/state/netfwd/NAME. -ENOENT without either; -ENAMETOOLONG; -errno
 * of mkdir(2). */
int state_dir_file(const struct state_env *env, const char *name, char *path, size_t size);
