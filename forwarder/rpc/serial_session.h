/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Sessions on a serial line (serial_frame.h): one at a time, begun by the host's
 * end. Pure.
 *
 * Each end gives every session a tag of its own, at random, and puts the other's
 * on what it sends. So what somebody left on the line for an earlier session, or
 * wrote before it knew of this one, is not taken for a part of it.
 *
 *   host                            guest
 *                          HELLO    it has started: what there was is over
 *   CALL(h) ----------------------> whatever session there was is over
 *           <-------------- ANSWER(g) to h
 *   DATA to g, 0, 1, ...            DATA to h, 0, 1, ...
 *   END to g                        END to h
 *   CLOSE to g                  or  CLOSE to h */
#include <stdbool.h>
#include <stdint.h>

#include "forwarder/rpc/serial_frame.h"

enum serial_state {
	SERIAL_IDLE,
	SERIAL_CALLING, /* the host's end */
	SERIAL_OPEN,
};

struct serial_session {
	bool is_host;
	enum serial_state state;
	uint64_t ours, theirs; /* tags */
	uint32_t n_sent, n_received;
};

/* What has come of a frame. */
enum serial_event {
	SERIAL_EVENT_STALE,  /* not for this session: drop it */
	SERIAL_EVENT_OPENED, /* if there was a session before, that is lost */
	SERIAL_EVENT_DATA,   /* the payload is the session's */
	SERIAL_EVENT_ENDED,  /* no more data will come */
	SERIAL_EVENT_CLOSED, /* in order */
	SERIAL_EVENT_LOST,   /* the other end has started anew, or frames are missing */
};

/* What is to be answered. */
enum serial_reply {
	SERIAL_REPLY_NONE,
	SERIAL_REPLY_CALL, /* again */
	SERIAL_REPLY_ANSWER,
};

struct serial_session serial_session_host(void);
struct serial_session serial_session_guest(void);

/* The host's end begins a session with a fresh tag, which is not 0. */
void serial_session_call(struct serial_session *s, uint64_t tag);
/* `tag` is the one to be used if this begins a session. */
enum serial_event serial_session_receive(struct serial_session *s, const struct serial_frame *frame,
					 uint64_t tag, enum serial_reply *reply);
/* The session ends: by us, or because the line broke. */
void serial_session_end(struct serial_session *s);

/* What is sent next, but for the payload: len bytes of data; or a frame whose
 * payload is a tag or nothing. */
struct serial_frame serial_session_data(struct serial_session *s, uint32_t len);
struct serial_frame serial_session_control(const struct serial_session *s, enum serial_type type);
