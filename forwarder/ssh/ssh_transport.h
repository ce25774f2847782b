/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The socket of a session as libssh2 sees it: its send and receive callbacks.
 * Sending never leaves a packet half sent: what the socket does not take is kept,
 * so none of libssh2's calls has to be repeated because of it. Who sends asks for
 * room first, and without room nothing is received either, as what is received may
 * have to be answered: so it is bounded. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct ssh_memory;

struct ssh_transport {
	void *more;		   /* of ssh2_more.h, and first for it */
	struct ssh_memory *memory; /* of the session: for its allocator */
	int fd;			   /* non-blocking; owned */
	uint8_t *kept;
	size_t kept_start, kept_len;
	size_t may_receive; /* bytes, in this round */
	bool is_dry;	    /* the socket had no more when last asked */
	bool is_dead;
	bool has_more_to_send; /* more packets follow at once: they may go together */
	bool is_corked;	       /* the kernel waits for them */
	uint64_t n_received;
};

int ssh_transport_init(struct ssh_transport *t, int fd); /* takes fd; 0 or -ENOMEM */
void ssh_transport_deinit(struct ssh_transport *t);

/* Another round of at most n bytes. */
void ssh_transport_allow(struct ssh_transport *t, size_t n);
/* Some was left in the socket, or may have been. */
bool ssh_transport_has_more(const struct ssh_transport *t);
bool ssh_transport_has_room(const struct ssh_transport *t);
/* Sends what was kept. 0 or -errno. */
int ssh_transport_flush(struct ssh_transport *t);
/* What waited for more goes out. */
void ssh_transport_push(struct ssh_transport *t);
/* Of poll(2). */
short ssh_transport_events(const struct ssh_transport *t);

/* The callbacks; *abstract is the struct ssh_transport, as
 * for its allocator. Another socket than the
 * session's is the agent's, which gets a while to answer. */
ssize_t ssh_transport_send(int fd, const void *bytes, size_t len, int flags, void **abstract);
ssize_t ssh_transport_receive(int fd, void *bytes, size_t len, int flags, void **abstract);
