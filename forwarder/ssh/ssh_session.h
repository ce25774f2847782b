/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* One SSH session as the loop sees it. It connects once; when that ended, or did not
 * come about, it is to be freed, and another made. */
#include <stdbool.h>
#include <stdint.h>

#include "forwarder/ssh/ssh_worker.h"
#include "netstack/base/list.h"

struct loop;
struct ssh_channel;
struct ssh_place;
struct ssh_reverse;
struct ssh_session;
struct ssh_stream;

struct ssh_session_owner {
	/* phase has changed; last to SSH_PHASE_ENDED, where the owner may free it. */
	void (*changed)(void *arg, struct ssh_session *s);
	/* Something about a reverse forward; it is the owner's. */
	void (*reverse)(void *arg, struct ssh_reverse *r);
	void *arg;
};

struct ssh_session_setup {
	const struct ssh_config *config; /* outlives it */
	unsigned int target;		 /* of config */
	unsigned int exchange_ms;	 /* for the server to agree on keys */
	int fd;				 /* for a target that is dialled, taken; else -1 */
	struct ssh_session_owner owner;
};

struct ssh_session {
	struct loop *loop;
	struct ssh_worker worker;
	pthread_t thread;
	struct watch *watch;
	struct ssh_session_owner owner;
	struct list streams; /* of struct ssh_stream */
	unsigned int n_streams;

	enum ssh_phase phase;
	unsigned int target;
	bool is_exchanged;
	int error;
	char text[SSH_TEXT_SIZE];

	uint64_t n_bytes; /* of all its streams */
	uint64_t seen_bytes, seen_ms;
	unsigned int rate; /* MB/s, as last seen */
};

/* 0 or -errno, with fd closed. */
int ssh_session_new(struct loop *loop, const struct ssh_session_setup *setup,
		    struct ssh_session **out);
/* Its streams were taken from it before. Waits a moment for the thread. */
void ssh_session_free(struct ssh_session *s);

/* The stream is to be carried by it; it is up. 0 or -ENOMEM. */
int ssh_session_carry(struct ssh_session *s, struct ssh_stream *stream,
		      const struct ssh_place *place);
/* A connection that a reverse forward of it has taken; NULL without memory. */
struct ssh_stream *ssh_session_accept(struct ssh_session *s, struct ssh_channel *channel);
/* How busy it is; the least goes first. */
unsigned int ssh_session_load(struct ssh_session *s);
