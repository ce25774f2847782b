/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The thread of one session: connects, logs in, and then carries the channels until
 * the session is lost or no longer wanted. It owns its socket and all of libssh2's
 * state; with the loop it shares letters, and the report. */
#include <pthread.h>
#include <stdbool.h>

#include "forwarder/ssh/ssh_config.h"
#include "forwarder/ssh/ssh_mailbox.h"
#include "forwarder/ssh/ssh_memory.h"

enum ssh_phase {
	SSH_PHASE_CONNECTING,
	SSH_PHASE_UP,
	SSH_PHASE_ENDED, /* the thread's last word */
};

struct ssh_worker {
	const struct ssh_config *config;
	unsigned int target; /* of config->targets */
	unsigned int exchange_ms;
	int fd; /* of a target that is dialled, else -1; taken */
	struct ssh_mailbox to_worker, to_loop;
	struct ssh_memory memory;

	struct ssh_letter report; /* what follows has changed */
	pthread_mutex_t lock;	  /* of what follows */
	enum ssh_phase phase;
	bool is_exchanged;	  /* as struct ssh_login has it */
	int error;		  /* why it has ended; as ssh_login() has it */
	char text[SSH_TEXT_SIZE]; /* why, for people; or, once up, what to know */
};

/* Once, before all threads. 0 or -ENOMEM. */
int ssh_worker_start_library(void);
/* The thread's function; arg is the struct ssh_worker. */
void *ssh_worker_run(void *arg);
