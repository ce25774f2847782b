/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* When to try again: at once, then with pauses that grow, each a little different
 * from the last so that many do not come in step. In the first minutes they stay
 * short: a server that comes back is to be found within a second. Pure but for the
 * dice. */
#include <stdint.h>

struct ssh_backoff {
	uint64_t due_ms;
	uint64_t since_ms;     /* the first failure in a row */
	uint64_t tried_ms;     /* the last */
	unsigned int pause_ms; /* 0: the next is the first */
};

/* It works; should it fail, it is due at once. */
void ssh_backoff_reset(struct ssh_backoff *b, uint64_t now_ms);
void ssh_backoff_failed(struct ssh_backoff *b, uint64_t now_ms);
/* At once, with the next pause as long as it would have been. */
void ssh_backoff_now(struct ssh_backoff *b);
uint64_t ssh_backoff_due_ms(const struct ssh_backoff *b);
/* Somebody is waiting: no pause but the shortest. */
void ssh_backoff_hurry(struct ssh_backoff *b);
