/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Waiting in a session's thread: for its socket, with a time limit, and no longer
 * than the session is wanted. */
#include <stdint.h>

struct ssh_mailbox;

struct ssh_wait {
	int fd;
	struct ssh_mailbox *mailbox;
	uint64_t deadline_ms; /* of ssh_now_ms() */
};

uint64_t ssh_now_ms(void); /* monotonic */
/* Until one of events (poll(2)) is there: 0; -ETIMEDOUT; -ECANCELED when the mailbox
 * was stopped; -errno. */
int ssh_wait_for(const struct ssh_wait *w, short events);
