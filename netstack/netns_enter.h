/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A child process for what must be done inside another network namespace. */
#include <sys/types.h>

/* What failed, in a few words. */
#define NETNS_STEP_SIZE 96

/* fork(2), with all signals blocked in the child: the handlers that it inherits
 * belong to the parent's loop. It leaves by _exit(). */
pid_t netns_fork(void);

/* In the child: into the namespace, by the user namespace that owns it where that is
 * one of ours, as a rootless container's is. netns: a name of /run/netns, a path, or
 * a process id. 0, or -errno with the step. */
int netns_enter(const char *netns, char step[static NETNS_STEP_SIZE]);
