/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Whether the server still answers. A silent one is asked, by a global request that
 * it has to answer (RFC 4254, section 4); after the machine has slept at once, and
 * with little patience, as the connection is most likely gone. */
#include <libssh2.h>
#include <stdbool.h>
#include <stdint.h>

struct ssh_config;

struct ssh_alive {
	LIBSSH2_SESSION *session;
	const bool *is_asking; /* libssh2 waits for the reply to a request of its own */
	uint64_t interval_ms;
	unsigned int count_max;
	uint64_t n_received;
	uint64_t heard_ms, asked_ms; /* when the server was last heard; asked */
	unsigned int n_unanswered;
	bool is_reply_due;
	int64_t asleep_ms;	   /* how long the machine has slept since it was started */
	uint64_t wake_deadline_ms; /* 0, or: heard by then, or lost */
};

void ssh_alive_init(struct ssh_alive *a, LIBSSH2_SESSION *session, const struct ssh_config *config,
		    const bool *is_asking);
void ssh_alive_replied(struct ssh_alive *a);
/* 0, LIBSSH2_ERROR_TIMEOUT, or what libssh2 says. n_received: bytes, in all. */
int ssh_alive_check(struct ssh_alive *a, uint64_t n_received);
/* Until check() should be called again. */
int ssh_alive_timeout_ms(const struct ssh_alive *a);
/* How long the machine has slept, in ms: CLOCK_BOOTTIME goes on, CLOCK_MONOTONIC
 * does not. */
int64_t ssh_alive_slept_ms(void);
