/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* One port that the guest's SSH server listens on for us (RFC 4254, section 7.1), as
 * the loop and a session's thread share it. */
#include <pthread.h>
#include <stdbool.h>

#include "forwarder/ssh/ssh_mailbox.h"
#include "netstack/addr.h"
#include "netstack/base/list.h"

/* Connections that the loop has not taken yet; further ones are refused. */
#define SSH_REVERSE_QUEUE 16

#define SSH_REVERSE_PATH_SIZE 108

struct ssh_channel;
struct tunnel_place;

struct ssh_reverse {
	struct ssh_letter to_worker, to_loop;
	struct endpoint endpoint;	  /* the guest's; does not change; or */
	char path[SSH_REVERSE_PATH_SIZE]; /* of a UNIX socket; "": endpoint */
	void *user;			  /* the loop's */
	struct list node;		  /* the worker's: one of struct ssh_listens */
	bool is_leaving;		  /* the worker's */
	bool is_asked;			  /* the worker's, with a path: the reply is due */
	bool is_listening;		  /* the worker's */
	void *listener;			  /* the worker's: a LIBSSH2_LISTENER */

	pthread_mutex_t lock; /* of all that follows */
	int n_ends;
	bool is_left; /* by the loop */
	bool is_known;
	int error; /* once known: 0, it listens; or -errno */
	struct ssh_channel *accepted[SSH_REVERSE_QUEUE];
	unsigned int n_accepted;
};

/* With two ends; NULL: no memory. The path, if any, has room. */
struct ssh_reverse *ssh_reverse_new(const struct tunnel_place *guest);
void ssh_reverse_release(struct ssh_reverse *r);

/* The loop's. */
void ssh_reverse_leave(struct ssh_reverse *r);
/* -EAGAIN: not known yet. */
int ssh_reverse_status(struct ssh_reverse *r);
struct ssh_channel *ssh_reverse_take(struct ssh_reverse *r);

/* The worker's. */
bool ssh_reverse_is_left(struct ssh_reverse *r);
void ssh_reverse_answered(struct ssh_reverse *r, int error);
bool ssh_reverse_has_room(struct ssh_reverse *r);
void ssh_reverse_put(struct ssh_reverse *r, struct ssh_channel *channel);
