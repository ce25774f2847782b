/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The agents on this machine, for guests: `netfwd-agent` beside netfwd is for a
 * processor as this one, `netfwd-agent-MACHINE` for another. */
#include <limits.h>
#include <stddef.h>
#include <stdint.h>

/* What `uname -m` says in the guest; NULL: as here. 0, with its path, readable; -errno, with the
 * path that was looked for; -EINVAL: machine is no such word. */
int agent_program_find(const char *machine, char path[static PATH_MAX]);

/* All of it; *out is to be freed. 0; -ENOEXEC: it is no program that could be; -errno. */
int agent_program_read(const char *path, uint8_t **out, size_t *len);
