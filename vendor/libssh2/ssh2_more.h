/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What a program with many channels on one session needs of libssh2 and its API
 * does not offer: to hear what has arrived without asking every channel, to take
 * data without copying it, to have several channels opening at once, and to know
 * that the other end still answers.
 *
 * Nothing here waits. It is written for a session whose send callback always
 * takes everything, so that no call is left half done. Errors are libssh2's. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <libssh2.h>

/* What libssh2 calls: its send and receive callbacks, and an allocator, whose pieces any
 * thread may release. */
struct ssh2_hooks {
	ssize_t (*send)(int fd, const void *bytes, size_t len, int flags, void **abstract);
	ssize_t (*receive)(int fd, void *bytes, size_t len, int flags, void **abstract);
	void *(*allocate)(void *arg, size_t size);
	void (*release)(void *memory);
	void *arg;
};
/* Before anything else. What the session's abstract points to begins with a void *, for
 * use by this module alone, NULL at first. 0 or an error. */
int ssh2_more_start(LIBSSH2_SESSION *session, const struct ssh2_hooks *hooks);
/* Before the session is freed. */
void ssh2_more_stop(LIBSSH2_SESSION *session);

/* What ssh2_more_read() came upon. */
#define SSH2_SAW_DATA 1U    /* see ssh2_more_take() */
#define SSH2_SAW_END 2U	    /* end of stream or close, of some channel */
#define SSH2_SAW_ANSWER 4U  /* to one that is opening, or to a command */
#define SSH2_SAW_ROOM 8U    /* a window has grown */
#define SSH2_SAW_REPLY 16U  /* to a global request */
#define SSH2_SAW_CALLER 32U /* a connection to a listener */

/* Takes in every packet that the receive callback has. 0 or an error. */
int ssh2_more_read(LIBSSH2_SESSION *session, unsigned int *saw);

/* The first packet of data that waits, whichever channel it is for. */
struct ssh2_data {
	uint32_t channel;
	uint8_t *memory;      /* to be freed as the session's memory is */
	const uint8_t *bytes; /* in it; none for a stream other than the first */
	size_t len;
	size_t window; /* what it took of the window, for ssh2_more_taken() */
};
bool ssh2_more_take(LIBSSH2_SESSION *session, struct ssh2_data *out);
/* To be called for each, before the window is adjusted. */
void ssh2_more_taken(LIBSSH2_CHANNEL *channel, size_t window);
/* So many of them were dealt with: the window grows. 0; LIBSSH2_ERROR_EAGAIN: not now, a key
 * exchange is on. */
int ssh2_more_grant(LIBSSH2_SESSION *session, LIBSSH2_CHANNEL *channel, uint32_t n);
/* Data that ssh2_more_take() had to leave can be taken since then. */
bool ssh2_more_has_more(LIBSSH2_SESSION *session);

/* Packets that were not asked for, and that nobody will take: a peer that goes on
 * sending them is to be left. */
size_t ssh2_more_n_stray(LIBSSH2_SESSION *session);

/* The number of a channel that came from libssh2 itself, once. 0 or an error. */
int ssh2_more_id(LIBSSH2_SESSION *session, LIBSSH2_CHANNEL *channel, uint32_t *id);
/* As libssh2_channel_free(). */
int ssh2_more_free(LIBSSH2_SESSION *session, LIBSSH2_CHANNEL *channel);
bool ssh2_more_has_ended(LIBSSH2_CHANNEL *channel);  /* nothing more to read */
bool ssh2_more_has_closed(LIBSSH2_CHANNEL *channel); /* and none reads */

/* One channel that is opening; zero it first. RFC 4254, section 5.1. */
struct ssh2_opening {
	void *state;
};
struct ssh2_open_request {
	const char *type;
	uint32_t window, packet;
	const void *message;
	size_t message_len;
};
/* 0; LIBSSH2_ERROR_EAGAIN: call again when SSH2_SAW_ANSWER; other: why not.
 * id is known after the first call. */
int ssh2_more_open(LIBSSH2_SESSION *session, struct ssh2_opening *opening,
		   const struct ssh2_open_request *request, LIBSSH2_CHANNEL **out, uint32_t *id);
/* Before the session is freed. */
void ssh2_more_open_drop(LIBSSH2_SESSION *session, struct ssh2_opening *opening);

/* Has a command run on a channel of type "session", once. RFC 4254, section 6.5. 0;
 * LIBSSH2_ERROR_EAGAIN: not now, a key exchange is on. */
int ssh2_more_exec(LIBSSH2_SESSION *session, LIBSSH2_CHANNEL *channel, const void *command,
		   size_t len);
/* Whether the answer to it is here. */
bool ssh2_more_take_started(LIBSSH2_SESSION *session, LIBSSH2_CHANNEL *channel, bool *is_started);

/* A global request (RFC 4254, section 4) with one string, and whether the answer is
 * here. Those that have to be answered one at a time, and none while libssh2 waits for
 * the reply to one of its own. */
struct ssh2_request {
	const char *name;
	const char *argument; /* NULL: none */
	bool wants_reply;
};
int ssh2_more_ask(LIBSSH2_SESSION *session, const struct ssh2_request *request);
bool ssh2_more_take_reply(LIBSSH2_SESSION *session, bool *is_granted);

/* Whether the server can be asked to listen on a UNIX socket. */
bool ssh2_more_can_listen_on_paths(void);
/* A channel that the server has opened, for a socket that it listens on for us
 * (OpenSSH's PROTOCOL, section 2.4): NULL: there is none, or it cannot be answered
 * now. Other kinds than that are refused here. */
#define SSH2_CALL_PATH_SIZE 108
struct ssh2_call {
	uint32_t channel, window, packet; /* the server's */
	char path[SSH2_CALL_PATH_SIZE];
};
bool ssh2_more_take_call(LIBSSH2_SESSION *session, struct ssh2_call *call);
/* NULL: an error ends the session, or there is no memory. */
LIBSSH2_CHANNEL *ssh2_more_accept(LIBSSH2_SESSION *session, const struct ssh2_call *call,
				  uint32_t window, uint32_t packet);
int ssh2_more_refuse(LIBSSH2_SESSION *session, const struct ssh2_call *call);
