/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/rpc/serial_session.h"

#include <assert.h>

struct serial_session serial_session_host(void)
{
	return (struct serial_session){ .is_host = true };
}

struct serial_session serial_session_guest(void)
{
	return (struct serial_session){ .is_host = false };
}

static void begin(struct serial_session *s, enum serial_state state, uint64_t ours, uint64_t theirs)
{
	s->state = state;
	s->ours = ours;
	s->theirs = theirs;
	s->n_sent = s->n_received = 0;
}

void serial_session_call(struct serial_session *s, uint64_t tag)
{
	assert(s->is_host && tag != 0);
	begin(s, SERIAL_CALLING, tag, 0);
}

void serial_session_end(struct serial_session *s)
{
	begin(s, SERIAL_IDLE, 0, 0);
}

static enum serial_event lose(struct serial_session *s)
{
	serial_session_end(s);
	return SERIAL_EVENT_LOST;
}

/* The guest has started. A call that it did not read, or read before, is made
 * again. */
static enum serial_event on_hello(struct serial_session *s, enum serial_reply *reply)
{
	if (s->is_host && s->state == SERIAL_CALLING)
		*reply = SERIAL_REPLY_CALL;
	return s->is_host && s->state == SERIAL_OPEN ? lose(s) : SERIAL_EVENT_STALE;
}

static enum serial_event on_call(struct serial_session *s, const struct serial_frame *frame,
				 uint64_t tag, enum serial_reply *reply)
{
	uint64_t theirs = serial_tag_read(frame->payload);

	if (s->is_host || theirs == 0)
		return SERIAL_EVENT_STALE;
	*reply = SERIAL_REPLY_ANSWER;
	if (s->state == SERIAL_OPEN && s->theirs == theirs) /* the same call, repeated */
		return SERIAL_EVENT_STALE;
	begin(s, SERIAL_OPEN, tag, theirs);
	return SERIAL_EVENT_OPENED;
}

static enum serial_event on_answer(struct serial_session *s, const struct serial_frame *frame)
{
	if (s->state != SERIAL_CALLING || frame->tag != s->ours)
		return SERIAL_EVENT_STALE;
	begin(s, SERIAL_OPEN, s->ours, serial_tag_read(frame->payload));
	return SERIAL_EVENT_OPENED;
}

static bool is_ours(const struct serial_session *s, const struct serial_frame *frame)
{
	return s->state == SERIAL_OPEN && frame->tag == s->ours;
}

static enum serial_event on_data(struct serial_session *s, const struct serial_frame *frame)
{
	if (!is_ours(s, frame))
		return SERIAL_EVENT_STALE;
	return frame->number == s->n_received++ ? SERIAL_EVENT_DATA : lose(s);
}

static enum serial_event on_close(struct serial_session *s, const struct serial_frame *frame)
{
	if (!is_ours(s, frame))
		return SERIAL_EVENT_STALE;
	serial_session_end(s);
	return SERIAL_EVENT_CLOSED;
}

enum serial_event serial_session_receive(struct serial_session *s, const struct serial_frame *frame,
					 uint64_t tag, enum serial_reply *reply)
{
	*reply = SERIAL_REPLY_NONE;
	switch (frame->type) {
	case SERIAL_HELLO:
		return on_hello(s, reply);
	case SERIAL_CALL:
		return on_call(s, frame, tag, reply);
	case SERIAL_ANSWER:
		return on_answer(s, frame);
	case SERIAL_DATA:
		return on_data(s, frame);
	case SERIAL_END:
		return is_ours(s, frame) ? SERIAL_EVENT_ENDED : SERIAL_EVENT_STALE;
	case SERIAL_CLOSE:
		return on_close(s, frame);
	}
	return SERIAL_EVENT_STALE;
}

struct serial_frame serial_session_data(struct serial_session *s, uint32_t len)
{
	assert(s->state == SERIAL_OPEN && len <= SERIAL_PAYLOAD_MAX);
	return (struct serial_frame){
		.type = SERIAL_DATA,
		.tag = s->theirs,
		.number = s->n_sent++,
		.len = len,
	};
}

struct serial_frame serial_session_control(const struct serial_session *s, enum serial_type type)
{
	bool has_tag = type == SERIAL_CALL || type == SERIAL_ANSWER;

	return (struct serial_frame){
		.type = type,
		.tag = s->theirs,
		.len = has_tag ? SERIAL_TAG_SIZE : 0,
	};
}
