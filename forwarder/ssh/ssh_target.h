/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Connecting to where an SSH server is, in a session's thread. */
#include <stddef.h>

#include "forwarder/ssh/ssh_config.h"

struct ssh_mailbox;

/* "127.0.0.1:2222" or its name, for people. */
void ssh_target_format(const struct ssh_target *target, char *text, size_t size);

/* A non-blocking socket, connected: the descriptor; -ECANCELED when the mailbox was
 * stopped; other -errno, with what went wrong in error. Not for a target
 * that is dialled. */
int ssh_target_connect(const struct ssh_target *target, struct ssh_mailbox *mailbox, char *error,
		       size_t size);
