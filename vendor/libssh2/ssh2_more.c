/* SPDX-License-Identifier: Apache-2.0 */
#include "vendor/libssh2/ssh2_more.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "libssh2_priv.h"
#include "packet.h"
#include "transport.h"

/* A message's type (1), the recipient's channel (4); for data of a stream other
 * than the first its number (4); the length (4). RFC 4254, section 5.2. */
#define DATA_HEADER 9U
#define EXTENDED_DATA_HEADER 13U

static unsigned int what_is(int type)
{
	switch (type) {
	case SSH_MSG_CHANNEL_DATA:
	case SSH_MSG_CHANNEL_EXTENDED_DATA:
		return SSH2_SAW_DATA;
	case SSH_MSG_CHANNEL_EOF:
	case SSH_MSG_CHANNEL_CLOSE:
		return SSH2_SAW_END;
	case SSH_MSG_CHANNEL_OPEN_CONFIRMATION:
	case SSH_MSG_CHANNEL_OPEN_FAILURE:
		return SSH2_SAW_ANSWER;
	case SSH_MSG_CHANNEL_WINDOW_ADJUST:
		return SSH2_SAW_ROOM;
	case SSH_MSG_REQUEST_SUCCESS:
	case SSH_MSG_REQUEST_FAILURE:
		return SSH2_SAW_REPLY;
	case SSH_MSG_CHANNEL_OPEN:
		return SSH2_SAW_CALLER;
	default:
		return 0;
	}
}

int ssh2_more_read(LIBSSH2_SESSION *session, unsigned int *saw)
{
	int r;

	while ((r = _libssh2_transport_read(session)) > 0)
		*saw |= what_is(r);
	return r == LIBSSH2_ERROR_EAGAIN ? 0 : r;
}

static size_t header_of(const LIBSSH2_PACKET *p)
{
	if (p->data[0] == SSH_MSG_CHANNEL_DATA)
		return DATA_HEADER;
	return p->data[0] == SSH_MSG_CHANNEL_EXTENDED_DATA ? EXTENDED_DATA_HEADER : 0;
}

static LIBSSH2_PACKET *first_data(LIBSSH2_SESSION *session)
{
	LIBSSH2_PACKET *p = _libssh2_list_first(&session->packets);

	while (p && (header_of(p) == 0 || p->data_len < header_of(p)))
		p = _libssh2_list_next(&p->node);
	return p;
}

bool ssh2_more_take(LIBSSH2_SESSION *session, struct ssh2_data *out)
{
	LIBSSH2_PACKET *p = first_data(session);

	if (!p)
		return false;
	*out = (struct ssh2_data){
		.channel = _libssh2_ntohu32(p->data + 1),
		.memory = p->data,
		.bytes = p->data + header_of(p),
		.window = p->data_len - header_of(p),
	};
	if (header_of(p) == DATA_HEADER)
		out->len = out->window;
	_libssh2_list_remove(&p->node);
	LIBSSH2_FREE(session, p);
	return true;
}

void ssh2_more_taken(LIBSSH2_CHANNEL *channel, size_t window)
{
	channel->read_avail -= window;
	channel->remote.window_size -= (uint32_t)window;
}

size_t ssh2_more_n_stray(LIBSSH2_SESSION *session)
{
	LIBSSH2_PACKET *p = _libssh2_list_first(&session->packets);
	size_t n = 0;

	for (; p; p = _libssh2_list_next(&p->node))
		n++;
	return n;
}

uint32_t ssh2_more_id(const LIBSSH2_CHANNEL *channel)
{
	return channel->local.id;
}

bool ssh2_more_has_ended(const LIBSSH2_CHANNEL *channel)
{
	return channel->remote.eof || channel->remote.close;
}

bool ssh2_more_has_closed(const LIBSSH2_CHANNEL *channel)
{
	return channel->remote.close;
}

/* What a session remembers between two calls for the one channel that it can have
 * opening; here one for each. */
struct opening_state {
	libssh2_nonblocking_states state;
	packet_requirev_state_t wait;
	LIBSSH2_CHANNEL *channel;
	unsigned char *packet, *data;
	size_t packet_len, data_len;
	uint32_t id;
};

static void put_into_session(LIBSSH2_SESSION *session, const struct opening_state *o)
{
	session->open_state = o->state;
	session->open_packet_requirev_state = o->wait;
	session->open_channel = o->channel;
	session->open_packet = o->packet;
	session->open_packet_len = o->packet_len;
	session->open_data = o->data;
	session->open_data_len = o->data_len;
	session->open_local_channel = o->id;
}

static struct opening_state take_from_session(LIBSSH2_SESSION *session)
{
	const struct opening_state o = {
		.state = session->open_state,
		.wait = session->open_packet_requirev_state,
		.channel = session->open_channel,
		.packet = session->open_packet,
		.packet_len = session->open_packet_len,
		.data = session->open_data,
		.data_len = session->open_data_len,
		.id = session->open_local_channel,
	};

	put_into_session(session, &(struct opening_state){ .state = libssh2_NB_state_idle });
	return o;
}

int ssh2_more_open(LIBSSH2_SESSION *session, struct ssh2_opening *opening,
		   const struct ssh2_open_request *request, LIBSSH2_CHANNEL **out, uint32_t *id)
{
	struct opening_state *state = opening->state;
	int error;

	if (!state)
		opening->state = state = calloc(1, sizeof(*state));
	if (!state)
		return LIBSSH2_ERROR_ALLOC;
	put_into_session(session, state);
	*out = libssh2_channel_open_ex(session, request->type, (unsigned int)strlen(request->type),
				       request->window, request->packet, request->message,
				       (unsigned int)request->message_len);
	error = *out ? 0 : libssh2_session_last_errno(session);
	*state = take_from_session(session);
	*id = state->id;
	/* It gives up waiting after a time of its own; nobody would know of the
	 * channel when the answer comes. */
	state->wait.start = 0;
	if (error != LIBSSH2_ERROR_EAGAIN)
		ssh2_more_open_drop(session, opening);
	return error;
}

/* The channel is in the session's list, which frees it. */
void ssh2_more_open_drop(LIBSSH2_SESSION *session, struct ssh2_opening *opening)
{
	struct opening_state *state = opening->state;

	if (!state)
		return;
	if (state->state != libssh2_NB_state_idle) {
		if (state->packet)
			LIBSSH2_FREE(session, state->packet);
		if (state->data)
			LIBSSH2_FREE(session, state->data);
	}
	free(state);
	opening->state = NULL;
}

int ssh2_more_ping(LIBSSH2_SESSION *session)
{
	/* RFC 4254, section 4; the name is the one that OpenSSH's client uses. */
	static const unsigned char request[] = "\x50\0\0\0\x15keepalive@openssh.com\x01";

	return _libssh2_transport_send(session, request, sizeof(request) - 1, NULL, 0);
}

bool ssh2_more_take_reply(LIBSSH2_SESSION *session)
{
	static const unsigned char replies[] = { SSH_MSG_REQUEST_SUCCESS, SSH_MSG_REQUEST_FAILURE,
						 0 };
	unsigned char *data;
	size_t len;

	if (_libssh2_packet_askv(session, replies, &data, &len, 0, NULL, 0) < 0)
		return false;
	LIBSSH2_FREE(session, data);
	return true;
}
