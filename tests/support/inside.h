/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A process that holds a network namespace of its own, for tests whose guest is
 * a namespace. Without root, a user namespace owns it, as a rootless
 * container's. */
#include <sys/types.h>

struct inside {
	pid_t pid; /* -1: this machine lets us make none */
	char pid_text[16];
};

void inside_start(struct inside *guest);
void inside_stop(struct inside *guest);

/* Does something in the namespace, in a child process. What fn returns comes
 * back: a descriptor, which is the caller's; INSIDE_NOTHING; or
 * INSIDE_FAILED(errno). */
#define INSIDE_NOTHING (-1)
#define INSIDE_FAILED(error) (-(error)-1)
typedef int inside_fn(const void *arg);
int inside_run(const struct inside *guest, inside_fn *fn, const void *arg);
