/* SPDX-License-Identifier: Apache-2.0 */
/* The same for an installed libssh2, by its public API alone, from 1.10 on. What that cannot
 * do is done in another way, which is slower, or not at all (README.md):
 *
 * - Any channel that is read takes in whatever has come. So that there is always one, a
 *   channel of type "session" is kept, which runs nothing.
 * - A channel that is read has its window grown by the library. So one whose bytes were not
 *   dealt with is not read, once they are as many as its window.
 * - One channel is opened at a time.
 * - Whether the server answers is asked by a request that it refuses, on that idle channel. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <ssh2_more.h>

#define PIECE_SIZE 32768U /* read at once */
#define FIRST_IDS 16U
#define EVERYTHING                                                                         \
	(SSH2_SAW_DATA | SSH2_SAW_END | SSH2_SAW_ANSWER | SSH2_SAW_ROOM | SSH2_SAW_REPLY | \
	 SSH2_SAW_CALLER)

struct entry {
	LIBSSH2_CHANNEL *channel;
	uint32_t id;
	size_t window, held; /* bytes; those that were taken and not dealt with */
	char *command;	     /* that has not been answered yet */
	bool is_closing;
};

struct state {
	struct ssh2_hooks hooks;
	LIBSSH2_CHANNEL *idle;
	const void *opening; /* whose turn it is, NULL: nobody's */
	struct entry *entries;
	size_t n_entries, capacity, turn;
	uint32_t next_id;
	bool was_full;	/* a channel was not read, as too much of it is held */
	bool has_more;	/* and can be now */
	bool is_asking; /* whether the server answers */
};

static struct state *state_of(LIBSSH2_SESSION *session)
{
	return *(void **)*libssh2_session_abstract(session);
}

int ssh2_more_start(LIBSSH2_SESSION *session, const struct ssh2_hooks *hooks)
{
	struct state *state = calloc(1, sizeof(*state));

	*(void **)*libssh2_session_abstract(session) = state;
	if (!state)
		return LIBSSH2_ERROR_ALLOC;
	state->hooks = *hooks;
	(void)libssh2_session_callback_set(session, LIBSSH2_CALLBACK_SEND, (void *)hooks->send);
	(void)libssh2_session_callback_set(session, LIBSSH2_CALLBACK_RECV, (void *)hooks->receive);
	return 0;
}

void ssh2_more_stop(LIBSSH2_SESSION *session)
{
	struct state *state = state_of(session);

	if (!state)
		return;
	for (size_t i = 0; i < state->n_entries; i++)
		free(state->entries[i].command);
	free(state->entries);
	free(state);
	*(void **)*libssh2_session_abstract(session) = NULL;
}

/* ---- channels ---- */

static struct entry *find(struct state *state, const LIBSSH2_CHANNEL *channel)
{
	for (size_t i = 0; i < state->n_entries; i++) {
		if (state->entries[i].channel == channel)
			return &state->entries[i];
	}
	return NULL;
}

static int add(struct state *state, const struct entry *entry)
{
	if (state->n_entries == state->capacity) {
		size_t capacity = state->capacity ? state->capacity * 2 : FIRST_IDS;
		struct entry *entries = realloc(state->entries, capacity * sizeof(*entries));

		if (!entries)
			return LIBSSH2_ERROR_ALLOC;
		state->entries = entries;
		state->capacity = capacity;
	}
	state->entries[state->n_entries++] = *entry;
	/* what comes on it is for nobody, and would fill its window */
	(void)libssh2_channel_handle_extended_data2(entry->channel,
						    LIBSSH2_CHANNEL_EXTENDED_DATA_IGNORE);
	return 0;
}

int ssh2_more_id(LIBSSH2_SESSION *session, LIBSSH2_CHANNEL *channel, uint32_t *id)
{
	struct state *state = state_of(session);
	struct entry entry = { .channel = channel, .window = LIBSSH2_CHANNEL_WINDOW_DEFAULT };

	*id = entry.id = state->next_id++;
	return add(state, &entry);
}

int ssh2_more_free(LIBSSH2_SESSION *session, LIBSSH2_CHANNEL *channel)
{
	struct state *state = state_of(session);
	struct entry *entry = find(state, channel);
	int r = libssh2_channel_free(channel);

	if (entry)
		entry->is_closing = true;
	if (r != LIBSSH2_ERROR_EAGAIN && entry) {
		free(entry->command);
		*entry = state->entries[--state->n_entries];
	}
	return r;
}

bool ssh2_more_has_ended(LIBSSH2_CHANNEL *channel)
{
	return libssh2_channel_eof(channel) == 1;
}

bool ssh2_more_has_closed(LIBSSH2_CHANNEL *channel)
{
	return libssh2_channel_wait_closed(channel) == 0;
}

/* ---- what comes ---- */

static int open_idle(LIBSSH2_SESSION *session, struct state *state)
{
	if (state->opening && state->opening != &state->idle)
		return 0;
	state->opening = &state->idle;
	state->idle = libssh2_channel_open_session(session);
	if (!state->idle && libssh2_session_last_errno(session) == LIBSSH2_ERROR_EAGAIN)
		return 0;
	state->opening = NULL;
	return state->idle ? 0 : libssh2_session_last_errno(session);
}

int ssh2_more_read(LIBSSH2_SESSION *session, unsigned int *saw)
{
	struct state *state = state_of(session);
	char nothing[1];
	ssize_t r;

	*saw |= EVERYTHING; /* it does not say */
	if (!state->idle)
		return open_idle(session, state);
	r = libssh2_channel_read(state->idle, nothing, sizeof(nothing));
	return r == LIBSSH2_ERROR_EAGAIN || r >= 0 ? 0 : (int)r;
}

/* Bytes, 0: none. */
static size_t take_from(struct state *state, struct entry *entry, struct ssh2_data *out)
{
	size_t room = entry->window > entry->held ? entry->window - entry->held : 0;
	size_t size = room < PIECE_SIZE ? room : PIECE_SIZE;
	void *memory;
	ssize_t r;

	if (entry->is_closing)
		return 0;
	if (size == 0) {
		state->was_full = true;
		return 0;
	}
	memory = state->hooks.allocate(state->hooks.arg, PIECE_SIZE);
	r = memory ? libssh2_channel_read(entry->channel, memory, size) : 0;
	if (r <= 0) {
		state->hooks.release(memory);
		return 0;
	}
	entry->held += (size_t)r;
	*out = (struct ssh2_data){ .channel = entry->id,
				   .memory = memory,
				   .bytes = memory,
				   .len = (size_t)r,
				   .window = (size_t)r };
	return (size_t)r;
}

bool ssh2_more_take(LIBSSH2_SESSION *session, struct ssh2_data *out)
{
	struct state *state = state_of(session);

	state->has_more = false;
	for (size_t i = 0; i < state->n_entries; i++) {
		state->turn = (state->turn + 1) % state->n_entries;
		if (take_from(state, &state->entries[state->turn], out))
			return true;
	}
	return false;
}

void ssh2_more_taken(LIBSSH2_CHANNEL *channel, size_t window)
{
	(void)channel;
	(void)window;
}

int ssh2_more_grant(LIBSSH2_SESSION *session, LIBSSH2_CHANNEL *channel, uint32_t n)
{
	struct state *state = state_of(session);
	struct entry *entry = find(state, channel);

	if (entry)
		entry->held -= n < entry->held ? n : entry->held;
	state->has_more = state->has_more || state->was_full;
	state->was_full = false;
	return 0;
}

bool ssh2_more_has_more(LIBSSH2_SESSION *session)
{
	return state_of(session)->has_more;
}

/* The library keeps them to itself. */
size_t ssh2_more_n_stray(LIBSSH2_SESSION *session)
{
	(void)session;
	return 0;
}

/* ---- opening ---- */

struct opening_state {
	uint32_t id;
};

int ssh2_more_open(LIBSSH2_SESSION *session, struct ssh2_opening *opening,
		   const struct ssh2_open_request *request, LIBSSH2_CHANNEL **out, uint32_t *id)
{
	struct state *state = state_of(session);
	struct opening_state *mine = opening->state;
	int error = 0;

	if (!mine) {
		opening->state = mine = calloc(1, sizeof(*mine));
		if (!mine)
			return LIBSSH2_ERROR_ALLOC;
		mine->id = state->next_id++;
	}
	*id = mine->id;
	if (state->opening && state->opening != opening)
		return LIBSSH2_ERROR_EAGAIN;
	state->opening = opening;
	*out = libssh2_channel_open_ex(session, request->type, (unsigned int)strlen(request->type),
				       request->window, request->packet, request->message,
				       (unsigned int)request->message_len);
	if (!*out)
		error = libssh2_session_last_errno(session);
	if (error == LIBSSH2_ERROR_EAGAIN)
		return error;
	if (error == LIBSSH2_ERROR_TIMEOUT) /* its own limit: of this one, not of the session */
		error = LIBSSH2_ERROR_CHANNEL_FAILURE;
	state->opening = NULL;
	if (error == 0)
		error = add(state, &(struct entry){
					   .channel = *out, .id = *id, .window = request->window });
	ssh2_more_open_drop(session, opening);
	return error;
}

void ssh2_more_open_drop(LIBSSH2_SESSION *session, struct ssh2_opening *opening)
{
	(void)session;
	free(opening->state);
	opening->state = NULL;
}

/* ---- commands ---- */

int ssh2_more_exec(LIBSSH2_SESSION *session, LIBSSH2_CHANNEL *channel, const void *command,
		   size_t len)
{
	struct entry *entry = find(state_of(session), channel);

	entry->command = strndup(command, len); /* it wants to be told again */
	return entry->command ? 0 : LIBSSH2_ERROR_ALLOC;
}

bool ssh2_more_take_started(LIBSSH2_SESSION *session, LIBSSH2_CHANNEL *channel, bool *is_started)
{
	struct entry *entry = find(state_of(session), channel);
	int r = libssh2_channel_exec(channel, entry->command);

	if (r == LIBSSH2_ERROR_EAGAIN)
		return false;
	*is_started = r == 0;
	free(entry->command);
	entry->command = NULL;
	return true;
}

/* ---- whether the server answers ---- */

static const char question[] = "NETFWD_KEEPALIVE";

static int go_on_asking(struct state *state)
{
	return libssh2_channel_setenv_ex(state->idle, question, sizeof(question) - 1, "", 0);
}

int ssh2_more_ask(LIBSSH2_SESSION *session, const struct ssh2_request *request)
{
	struct state *state = state_of(session);

	(void)request;
	assert(request->wants_reply && !request->argument); /* nothing else is asked */
	if (!state->idle)
		return LIBSSH2_ERROR_EAGAIN;
	state->is_asking = true;
	(void)go_on_asking(state); /* what is wrong is seen by the next call */
	return 0;
}

bool ssh2_more_take_reply(LIBSSH2_SESSION *session, bool *is_granted)
{
	struct state *state = state_of(session);
	int r;

	if (!state->is_asking)
		return false;
	r = go_on_asking(state);
	*is_granted = r == 0;
	state->is_asking = r == LIBSSH2_ERROR_EAGAIN;
	return !state->is_asking;
}

/* ---- sockets that the server listens on ---- */

bool ssh2_more_can_listen_on_paths(void)
{
	return false;
}

bool ssh2_more_take_call(LIBSSH2_SESSION *session, struct ssh2_call *call)
{
	(void)session;
	(void)call;
	return false;
}

/* Of calls, which there are none of. */
LIBSSH2_CHANNEL *ssh2_more_accept(LIBSSH2_SESSION *session, const struct ssh2_call *call,
				  uint32_t window, uint32_t packet)
{
	(void)session;
	(void)call;
	(void)window;
	(void)packet;
	assert(!"a call that was never taken");
	return NULL;
}

int ssh2_more_refuse(LIBSSH2_SESSION *session, const struct ssh2_call *call)
{
	(void)session;
	(void)call;
	assert(!"a call that was never taken");
	return LIBSSH2_ERROR_METHOD_NOT_SUPPORTED;
}
