/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* One channel of an SSH session as its two ends share it: the loop's, a struct
 * stream, and the session's thread. Bytes to the guest go through a ring, those
 * from the guest are passed on in the memory in which they were decrypted. Both
 * are bounded: the ring by its size, the other by the window that the guest was
 * given.
 *
 * Each function says whose it is. Everything behind `lock` is short; no bytes are
 * copied under it but those of small packets. The struct is freed when both ends
 * have let go of it. */
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "forwarder/ssh/ssh_mailbox.h"
#include "forwarder/ssh/ssh_place.h"
#include "netstack/base/list.h"

#define SSH_RING_SIZE (256UL * 1024)
/* What the guest may send before it is read: OpenSSH's own, and libssh2 stalls with
 * much more. */
#define SSH_WINDOW (2048UL * 1024)

/* How the loop's end has ended. */
enum ssh_leave {
	SSH_LEAVE_NOT,
	SSH_LEAVE_CLOSED, /* what is in the ring is to be delivered */
	SSH_LEAVE_RESET,
};

struct ssh_channel {
	struct ssh_letter to_worker, to_loop;
	struct ssh_place place; /* where it leads; set before it is shared */
	void *line;		/* the worker's */
	void *user;		/* the loop's */

	pthread_mutex_t lock; /* of all that follows */
	int n_ends;
	bool is_open;
	bool is_prohibited; /* and not told so yet: sshd allows no forwarding */
	int error;	    /* -errno of opening, or why no more can be sent; 0 */

	uint8_t *ring; /* SSH_RING_SIZE; NULL: nothing was sent yet */
	uint64_t n_put, n_sent;
	bool is_shut;	      /* nothing follows what is in the ring */
	bool is_loop_waiting; /* for room in the ring */
	enum ssh_leave leave;

	struct list chunks; /* of struct chunk, those from the guest */
	size_t n_returned;  /* bytes consumed, that the window may grow by */
	bool has_ended;	    /* nothing follows what is in chunks */
};

/* NULL: no memory. With two ends. */
struct ssh_channel *ssh_channel_new(void);
/* Either's: the end is gone. */
void ssh_channel_release(struct ssh_channel *c);

/* ---- the loop's ---- */

/* Writable memory in at most two pieces: the sum; -EAGAIN; or what is wrong. */
ssize_t ssh_channel_reserve(struct ssh_channel *c, struct iovec iov[static 2], int *n);
void ssh_channel_commit(struct ssh_channel *c, size_t len);
/* Readable memory: the sum; 0: end of stream; -EAGAIN; or what is wrong. */
ssize_t ssh_channel_peek(struct ssh_channel *c, struct iovec *iov, int n, int *n_filled);
#define SSH_TELL_WORKER 1U /* so much was consumed that it should know */
#define SSH_TELL_LOOP 2U   /* that was the last of it, and nothing can be sent */
unsigned int ssh_channel_consume(struct ssh_channel *c, size_t len);
void ssh_channel_shut(struct ssh_channel *c);
void ssh_channel_leave(struct ssh_channel *c, enum ssh_leave how);
/* 0 when it is open, -EAGAIN, or what is wrong. */
int ssh_channel_status(struct ssh_channel *c);
/* Neither opened nor refused. */
bool ssh_channel_is_undecided(struct ssh_channel *c);
/* Once, after the server has refused it as forbidden. */
bool ssh_channel_take_prohibited(struct ssh_channel *c);

/* ---- the worker's ---- */

void ssh_channel_opened(struct ssh_channel *c);
/* No more can be sent, -errno; and what the guest sent before can be read still. */
void ssh_channel_broke(struct ssh_channel *c, int error);
void ssh_channel_ended(struct ssh_channel *c);
void ssh_channel_prohibited(struct ssh_channel *c);

/* What there is to do. */
struct ssh_todo {
	const uint8_t *bytes; /* to send: the first piece */
	size_t len;
	bool is_shut; /* after these and no more */
	enum ssh_leave leave;
	size_t n_returned; /* handed over: the window is to grow */
};
struct ssh_todo ssh_channel_todo(struct ssh_channel *c);
/* True when the loop waits for the room that there is now. */
bool ssh_channel_sent(struct ssh_channel *c, size_t len);

/* Bytes from the guest, in memory of struct ssh_memory, now the channel's. 0 or
 * -ENOMEM. */
struct ssh_received {
	uint8_t *memory;
	const uint8_t *bytes;
	size_t len;
};
int ssh_channel_receive(struct ssh_channel *c, const struct ssh_received *received);
