/* SPDX-License-Identifier: Apache-2.0 */
#include "vendor/libssh2/ssh2_more.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "channel.h"
#include "libssh2_priv.h"
#include "packet.h"
#include "transport.h"

/* A message's type (1), the recipient's channel (4); for data of a stream other
 * than the first its number (4); the length (4). RFC 4254, section 5.2. */
#define DATA_HEADER 9U
#define EXTENDED_DATA_HEADER 13U

int ssh2_more_start(LIBSSH2_SESSION *session, const struct ssh2_hooks *hooks)
{
	libssh2_session_callback_set2(session, LIBSSH2_CALLBACK_SEND,
				      (libssh2_cb_generic *)hooks->send);
	libssh2_session_callback_set2(session, LIBSSH2_CALLBACK_RECV,
				      (libssh2_cb_generic *)hooks->receive);
	return 0;
}

void ssh2_more_stop(LIBSSH2_SESSION *session)
{
	(void)session;
}

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
	case SSH_MSG_CHANNEL_SUCCESS:
	case SSH_MSG_CHANNEL_FAILURE:
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

int ssh2_more_grant(LIBSSH2_SESSION *session, LIBSSH2_CHANNEL *channel, uint32_t n)
{
	(void)session;
	return libssh2_channel_receive_window_adjust2(channel, n, 1, NULL);
}

/* None is ever left. */
bool ssh2_more_has_more(LIBSSH2_SESSION *session)
{
	(void)session;
	return false;
}

size_t ssh2_more_n_stray(LIBSSH2_SESSION *session)
{
	LIBSSH2_PACKET *p = _libssh2_list_first(&session->packets);
	size_t n = 0;

	for (; p; p = _libssh2_list_next(&p->node))
		n++;
	return n;
}

int ssh2_more_id(LIBSSH2_SESSION *session, LIBSSH2_CHANNEL *channel, uint32_t *id)
{
	(void)session;
	*id = channel->local.id;
	return 0;
}

int ssh2_more_free(LIBSSH2_SESSION *session, LIBSSH2_CHANNEL *channel)
{
	(void)session;
	return libssh2_channel_free(channel);
}

bool ssh2_more_has_ended(LIBSSH2_CHANNEL *channel)
{
	return channel->remote.eof || channel->remote.close;
}

bool ssh2_more_has_closed(LIBSSH2_CHANNEL *channel)
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

/* ---- commands ---- */

#define EXEC_SIZE 1024

int ssh2_more_exec(LIBSSH2_SESSION *session, LIBSSH2_CHANNEL *channel, const void *command,
		   size_t len)
{
	unsigned char packet[EXEC_SIZE], *s = packet;

	if (len + 32 > sizeof(packet))
		return LIBSSH2_ERROR_INVAL;
	*s++ = SSH_MSG_CHANNEL_REQUEST;
	_libssh2_store_u32(&s, channel->remote.id);
	_libssh2_store_str(&s, "exec", 4);
	*s++ = 1; /* wants a reply */
	_libssh2_store_str(&s, command, len);
	return _libssh2_transport_send(session, packet, (size_t)(s - packet), NULL, 0);
}

bool ssh2_more_take_started(LIBSSH2_SESSION *session, LIBSSH2_CHANNEL *channel, bool *is_started)
{
	static const unsigned char replies[] = { SSH_MSG_CHANNEL_SUCCESS, SSH_MSG_CHANNEL_FAILURE,
						 0 };
	unsigned char id[4], *data;
	size_t len;

	_libssh2_htonu32(id, channel->local.id);
	if (_libssh2_packet_askv(session, replies, &data, &len, 1, id, sizeof(id)) < 0)
		return false;
	*is_started = data[0] == SSH_MSG_CHANNEL_SUCCESS;
	LIBSSH2_FREE(session, data);
	return true;
}

/* ---- global requests ---- */

#define REQUEST_SIZE 512

int ssh2_more_ask(LIBSSH2_SESSION *session, const struct ssh2_request *request)
{
	unsigned char packet[REQUEST_SIZE], *s = packet;
	size_t n_name = strlen(request->name);
	size_t n_argument = request->argument ? strlen(request->argument) : 0;

	if (n_name + n_argument + 10 > sizeof(packet))
		return LIBSSH2_ERROR_INVAL;
	*s++ = SSH_MSG_GLOBAL_REQUEST;
	_libssh2_store_str(&s, request->name, n_name);
	*s++ = request->wants_reply;
	if (request->argument)
		_libssh2_store_str(&s, request->argument, n_argument);
	return _libssh2_transport_send(session, packet, (size_t)(s - packet), NULL, 0);
}

bool ssh2_more_take_reply(LIBSSH2_SESSION *session, bool *is_granted)
{
	static const unsigned char replies[] = { SSH_MSG_REQUEST_SUCCESS, SSH_MSG_REQUEST_FAILURE,
						 0 };
	unsigned char *data;
	size_t len;

	if (_libssh2_packet_askv(session, replies, &data, &len, 0, NULL, 0) < 0)
		return false;
	*is_granted = data[0] == SSH_MSG_REQUEST_SUCCESS;
	LIBSSH2_FREE(session, data);
	return true;
}

/* ---- channels that the server opens ---- */

bool ssh2_more_can_listen_on_paths(void)
{
	return true;
}

/* RFC 4254, section 5.1; with the path of the socket behind it. False: it makes no
 * sense. */
static bool parse_call(const unsigned char *data, size_t len, struct ssh2_call *call,
		       bool *is_known)
{
	static const char known[] = "forwarded-streamlocal@openssh.com";
	unsigned char *bytes = (unsigned char *)(uintptr_t)data; /* is only read */
	struct string_buf buf = { .data = bytes, .dataptr = bytes + 1, .len = len };
	unsigned char *type, *path;
	size_t n_type, n_path;

	if (_libssh2_get_string(&buf, &type, &n_type) || _libssh2_get_u32(&buf, &call->channel) ||
	    _libssh2_get_u32(&buf, &call->window) || _libssh2_get_u32(&buf, &call->packet))
		return false;
	*is_known = n_type == sizeof(known) - 1 && memcmp(type, known, n_type) == 0;
	if (!*is_known)
		return true;
	if (_libssh2_get_string(&buf, &path, &n_path) || n_path >= sizeof(call->path) ||
	    memchr(path, '\0', n_path))
		return false;
	memcpy(call->path, path, n_path);
	call->path[n_path] = '\0';
	return true;
}

int ssh2_more_refuse(LIBSSH2_SESSION *session, const struct ssh2_call *call)
{
	unsigned char packet[17] = { SSH_MSG_CHANNEL_OPEN_FAILURE }, *s = packet + 1;

	_libssh2_store_u32(&s, call->channel);
	_libssh2_store_u32(&s, SSH_OPEN_ADMINISTRATIVELY_PROHIBITED);
	_libssh2_store_u32(&s, 0); /* no words */
	_libssh2_store_u32(&s, 0);
	return _libssh2_transport_send(session, packet, sizeof(packet), NULL, 0);
}

bool ssh2_more_take_call(LIBSSH2_SESSION *session, struct ssh2_call *call)
{
	unsigned char *data;
	size_t len;

	while (!(session->state & LIBSSH2_STATE_EXCHANGING_KEYS) &&
	       _libssh2_packet_ask(session, SSH_MSG_CHANNEL_OPEN, &data, &len, 0, NULL, 0) == 0) {
		bool is_known = false, makes_sense = parse_call(data, len, call, &is_known);

		LIBSSH2_FREE(session, data);
		if (makes_sense && is_known)
			return true;
		if (makes_sense)
			(void)ssh2_more_refuse(session, call);
	}
	return false;
}

static LIBSSH2_CHANNEL *new_channel(LIBSSH2_SESSION *session, const char *type)
{
	LIBSSH2_CHANNEL *channel = LIBSSH2_ALLOC(session, sizeof(*channel));

	if (!channel)
		return NULL;
	memset(channel, 0, sizeof(*channel));
	channel->channel_type_len = (unsigned int)strlen(type);
	channel->channel_type = LIBSSH2_ALLOC(session, channel->channel_type_len + 1);
	if (!channel->channel_type) {
		LIBSSH2_FREE(session, channel);
		return NULL;
	}
	memcpy(channel->channel_type, type, channel->channel_type_len + 1);
	channel->session = session;
	return channel;
}

LIBSSH2_CHANNEL *ssh2_more_accept(LIBSSH2_SESSION *session, const struct ssh2_call *call,
				  uint32_t window, uint32_t packet)
{
	LIBSSH2_CHANNEL *channel = new_channel(session, "forwarded-streamlocal");
	unsigned char answer[17] = { SSH_MSG_CHANNEL_OPEN_CONFIRMATION }, *s = answer + 1;

	if (!channel)
		return NULL;
	/* "remote" is what we receive, "local" what we send */
	channel->remote.id = call->channel;
	channel->remote.window_size = channel->remote.window_size_initial = window;
	channel->remote.packet_size = packet;
	channel->local.id = _libssh2_channel_nextid(session);
	channel->local.window_size = channel->local.window_size_initial = call->window;
	channel->local.packet_size = call->packet;
	_libssh2_list_add(&session->channels, &channel->node);
	_libssh2_store_u32(&s, channel->remote.id);
	_libssh2_store_u32(&s, channel->local.id);
	_libssh2_store_u32(&s, window);
	_libssh2_store_u32(&s, packet);
	/* Nothing else is on: a packet that could not be sent is kept, and a key
	 * exchange was looked for. What is wrong is seen by the next call. */
	(void)_libssh2_transport_send(session, answer, sizeof(answer), NULL, 0);
	return channel;
}
