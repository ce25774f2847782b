/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/ssh/ssh_line.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/ssh/ssh_channel.h"
#include "forwarder/ssh/ssh_mailbox.h"
#include "forwarder/ssh/ssh_memory.h"
#include "forwarder/ssh/ssh_transport.h"

/* The window is opened again in steps of this. */
#define GRANT_STEP ((uint32_t)(SSH_WINDOW / 8))
/* Packets that nobody asked for, before the peer is taken for hostile. */
#define STRAY_MAX 256U

struct line {
	struct list by_id;	     /* ssh_lines.by_id; once it has an id */
	struct list turn;	     /* one of the lists of ssh_lines */
	struct ssh_channel *channel; /* NULL: both sides are done with it */
	LIBSSH2_CHANNEL *lib;	     /* NULL: is opening */
	struct ssh2_opening opening;
	uint32_t id;
	uint32_t credit;  /* bytes that were consumed, the window not yet grown by */
	uint32_t granted; /* those that it is being grown by */
	bool has_asked;	  /* for its command to be run */
	bool is_started;  /* or there is none */
	bool has_sent_end;
	bool is_closing; /* by us; the other side has not answered yet */
};

void ssh_lines_init(struct ssh_lines *l)
{
	for (size_t i = 0; i < SSH_LINE_BUCKETS; i++)
		list_init(&l->by_id[i]);
	list_init(&l->opening);
	list_init(&l->busy);
	list_init(&l->starved);
	list_init(&l->idle);
	list_init(&l->closing);
	l->n = 0;
	l->is_held = false;
}

static void move(struct line *line, struct list *to)
{
	list_unlink(&line->turn);
	list_append(to, &line->turn);
}

static struct line *find(struct ssh_lines *l, uint32_t id)
{
	list_for_each(node, &l->by_id[id % SSH_LINE_BUCKETS]) {
		struct line *line = container_of(node, struct line, by_id);

		if (line->id == id)
			return line;
	}
	return NULL;
}

static struct line *new_line(struct ssh_lines *l, struct ssh_channel *channel)
{
	struct line *line = calloc(1, sizeof(*line));

	if (!line)
		return NULL;
	list_init(&line->by_id);
	list_init(&line->turn);
	line->channel = channel;
	channel->line = line;
	l->n++;
	return line;
}

static void set_id(struct ssh_lines *l, struct line *line, uint32_t id)
{
	line->id = id;
	list_unlink(&line->by_id);
	list_append(&l->by_id[id % SSH_LINE_BUCKETS], &line->by_id);
}

static void tell_loop(struct ssh_lines *l, struct line *line)
{
	ssh_mailbox_put(l->loop, &line->channel->to_loop);
}

/* The shared part is the loop's alone from now on. */
static void let_go(struct ssh_lines *l, struct line *line)
{
	if (!line->channel)
		return;
	ssh_mailbox_void(l->worker, &line->channel->to_worker);
	ssh_channel_release(line->channel);
	line->channel = NULL;
}

static void free_line(struct ssh_lines *l, struct line *line)
{
	let_go(l, line);
	ssh2_more_open_drop(l->session, &line->opening);
	list_unlink(&line->by_id);
	list_unlink(&line->turn);
	free(line);
	l->n--;
}

/* True for what is wrong with the session. */
static bool is_fatal(int r)
{
	return r < 0 && r != LIBSSH2_ERROR_EAGAIN && r != LIBSSH2_ERROR_CHANNEL_FAILURE;
}

/* Closes, and waits for the other side to do the same. */
static void close_line(struct ssh_lines *l, struct line *line)
{
	let_go(l, line);
	if (ssh2_more_free(l->session, line->lib) != LIBSSH2_ERROR_EAGAIN) {
		free_line(l, line);
	} else if (!line->is_closing) {
		line->is_closing = true;
		move(line, &l->closing);
	}
}

/* Those that could not even ask, during a key exchange. */
static void retry_closing(struct ssh_lines *l)
{
	list_for_each(node, &l->closing)
		close_line(l, container_of(node, struct line, turn));
}

/* ---- opening ---- */

/* libssh2 tells SSH_OPEN_ADMINISTRATIVELY_PROHIBITED (RFC 4254, section 5.1) from the
 * others only in words. */
static bool is_prohibited(const struct ssh_lines *l)
{
	char *text = NULL;

	libssh2_session_last_error(l->session, &text, NULL, 0);
	return text && strstr(text, "prohibited");
}

static void was_refused(struct ssh_lines *l, struct line *line)
{
	if (is_prohibited(l))
		ssh_channel_prohibited(line->channel);
	ssh_channel_broke(line->channel, -ECONNREFUSED);
	tell_loop(l, line);
	free_line(l, line);
}

static void was_started(struct ssh_lines *l, struct line *line)
{
	line->is_started = true;
	ssh_channel_opened(line->channel);
	move(line, &l->busy); /* it may have been left by now */
	tell_loop(l, line);
}

static int step_command(struct ssh_lines *l, struct line *line)
{
	const struct ssh_place *place = &line->channel->place;
	bool is_started;
	int r;

	if (!line->has_asked) {
		r = ssh2_more_exec(l->session, line->lib, place->message, place->len);
		if (r < 0)
			return is_fatal(r) ? r : 0;
		line->has_asked = true;
	}
	if (!ssh2_more_take_started(l->session, line->lib, &is_started))
		return 0;
	if (is_started) {
		was_started(l, line);
		return 0;
	}
	ssh_channel_broke(line->channel, -ECONNREFUSED);
	tell_loop(l, line);
	close_line(l, line);
	return 0;
}

static int was_opened(struct ssh_lines *l, struct line *line, LIBSSH2_CHANNEL *lib)
{
	line->lib = lib;
	if (line->channel->place.is_command)
		return step_command(l, line);
	was_started(l, line);
	return 0;
}

static int step_opening(struct ssh_lines *l, struct line *line)
{
	const struct ssh_place *place = &line->channel->place;
	const struct ssh2_open_request request = {
		.type = place->type,
		.window = SSH_WINDOW,
		.packet = SSH_LINE_PACKET,
		.message = place->message,
		.message_len = place->is_command ? 0 : place->len,
	};
	LIBSSH2_CHANNEL *lib;
	uint32_t id;
	int r;

	if (line->lib)
		return step_command(l, line);
	r = ssh2_more_open(l->session, &line->opening, &request, &lib, &id);
	set_id(l, line, id);
	if (r == LIBSSH2_ERROR_EAGAIN || is_fatal(r))
		return is_fatal(r) ? r : 0;
	if (r == 0)
		return was_opened(l, line, lib);
	was_refused(l, line);
	return 0;
}

static int step_openings(struct ssh_lines *l)
{
	int r = 0;

	list_for_each(node, &l->opening) {
		if (r == 0)
			r = step_opening(l, container_of(node, struct line, turn));
	}
	return r;
}

void ssh_lines_decline(struct ssh_lines *l, struct ssh_channel *channel)
{
	ssh_mailbox_void(l->worker, &channel->to_worker);
	ssh_channel_release(channel);
}

int ssh_lines_notice(struct ssh_lines *l, struct ssh_channel *channel)
{
	struct line *line = channel->line;

	if (line) {
		if (line->is_started)
			move(line, &l->busy);
		return 0; /* one that is opening is left once it is open */
	}
	if (ssh_channel_todo(channel).leave != SSH_LEAVE_NOT) {
		ssh_lines_decline(l, channel);
		return 0;
	}
	line = new_line(l, channel);
	if (!line)
		return LIBSSH2_ERROR_ALLOC;
	list_append(&l->opening, &line->turn);
	return step_opening(l, line);
}

struct ssh_channel *ssh_lines_adopt(struct ssh_lines *l, LIBSSH2_CHANNEL *lib)
{
	struct ssh_channel *channel = ssh_channel_new();
	struct line *line = NULL;
	uint32_t id;

	if (channel && ssh2_more_id(l->session, lib, &id) == 0)
		line = new_line(l, channel);
	if (!line) {
		if (channel) {
			ssh_channel_release(channel);
			ssh_channel_release(channel);
		}
		return NULL;
	}
	list_append(&l->busy, &line->turn);
	line->lib = lib;
	line->is_started = true;
	set_id(l, line, id);
	ssh_channel_opened(channel);
	return channel;
}

/* ---- from the guest ---- */

static int take_data(struct ssh_lines *l)
{
	struct ssh2_data data;

	while (ssh2_more_take(l->session, &data)) {
		struct line *line = find(l, data.channel);
		const struct ssh_received received = { data.memory, data.bytes, data.len };

		if (!line || !line->channel || !line->lib || data.len == 0) {
			ssh_memory_free(data.memory);
			continue;
		}
		ssh2_more_taken(line->lib, data.window);
		if (ssh_channel_receive(line->channel, &received) < 0)
			return LIBSSH2_ERROR_ALLOC;
		tell_loop(l, line);
	}
	return 0;
}

/* The guest has closed. Unless it was told before that nothing follows, what is
 * still to be sent, or will be, is lost: that is a broken connection. */
static void was_closed(struct ssh_lines *l, struct line *line)
{
	if (!line->has_sent_end)
		ssh_channel_broke(line->channel, -ECONNRESET);
	close_line(l, line);
}

static void look_for_end(struct ssh_lines *l, struct line *line)
{
	if (line->is_closing) { /* it has only waited for this */
		close_line(l, line);
		return;
	}
	if (!line->lib || !ssh2_more_has_ended(line->lib))
		return;
	ssh_channel_ended(line->channel);
	tell_loop(l, line);
	if (ssh2_more_has_closed(line->lib))
		was_closed(l, line);
}

static void look_for_ends(struct ssh_lines *l)
{
	for (size_t i = 0; i < SSH_LINE_BUCKETS; i++) {
		list_for_each(node, &l->by_id[i])
			look_for_end(l, container_of(node, struct line, by_id));
	}
}

int ssh_lines_receive(struct ssh_lines *l, unsigned int saw)
{
	int r = 0;

	/* In this order: data may have come right behind the answer, and the end
	 * right behind the data. */
	if (saw & SSH2_SAW_ANSWER || saw == 0) /* 0: it may have been held up */
		r = step_openings(l);
	if (r == 0 && (saw & SSH2_SAW_DATA))
		r = take_data(l);
	if (r == 0 && (saw & SSH2_SAW_END))
		look_for_ends(l);
	if (r == 0 && saw == 0)
		retry_closing(l);
	if (saw & SSH2_SAW_ROOM)
		list_move_all(&l->busy, &l->starved);
	l->is_held = false;
	if (r == 0 && ssh2_more_n_stray(l->session) > STRAY_MAX)
		r = LIBSSH2_ERROR_PROTO;
	return r;
}

/* ---- to the guest ---- */

/* LIBSSH2_ERROR_EAGAIN: not now, a key exchange is on. */
static int grant_window(struct ssh_lines *l, struct line *line, size_t n_returned)
{
	int r;

	line->credit += (uint32_t)n_returned;
	if (line->granted == 0 && line->credit >= GRANT_STEP) {
		line->granted = line->credit;
		line->credit = 0;
	}
	if (line->granted == 0)
		return 0;
	r = ssh2_more_grant(l->session, line->lib, line->granted);
	if (r == 0)
		line->granted = 0;
	return r;
}

static ssize_t send_bytes(struct ssh_lines *l, struct line *line, const struct ssh_todo *todo)
{
	ssize_t r;

	if (libssh2_channel_window_write_ex(line->lib, NULL) == 0) {
		move(line, &l->starved);
		return 0;
	}
	l->transport->has_more_to_send =
		todo->len > SSH_LINE_PACKET || l->busy.next != l->busy.prev;
	r = libssh2_channel_write_ex(line->lib, 0, (const char *)todo->bytes, todo->len);
	l->transport->has_more_to_send = false;
	if (r <= 0)
		return r;
	if (ssh_channel_sent(line->channel, (size_t)r))
		tell_loop(l, line);
	move(line, &l->busy); /* to the end */
	return r;
}

/* All was sent. */
static int send_end(struct ssh_lines *l, struct line *line, const struct ssh_todo *todo)
{
	int r = 0;

	if (todo->is_shut && !line->has_sent_end) {
		r = libssh2_channel_send_eof(line->lib);
		if (r < 0)
			return r;
		line->has_sent_end = true;
	}
	if (todo->leave != SSH_LEAVE_NOT)
		close_line(l, line);
	else
		move(line, &l->idle);
	return 0;
}

/* Bytes sent, or an error. */
static ssize_t take_turn(struct ssh_lines *l, struct line *line)
{
	struct ssh_todo todo;
	ssize_t r;

	todo = ssh_channel_todo(line->channel);
	r = grant_window(l, line, todo.n_returned);
	if (r < 0)
		return r;
	if (todo.leave == SSH_LEAVE_RESET) {
		close_line(l, line);
		return 0;
	}
	return todo.len > 0 ? send_bytes(l, line, &todo) : send_end(l, line, &todo);
}

int ssh_lines_send(struct ssh_lines *l, size_t max)
{
	size_t sent = 0;

	while (sent < max && ssh_lines_can_go_on(l)) {
		ssize_t r = take_turn(l, container_of(l->busy.next, struct line, turn));

		if (r == LIBSSH2_ERROR_EAGAIN)
			l->is_held = true;
		else if (r < 0)
			return (int)r;
		else
			sent += (size_t)r;
	}
	return 0;
}

bool ssh_lines_can_go_on(const struct ssh_lines *l)
{
	return !l->is_held && !list_empty(&l->busy) && ssh_transport_has_room(l->transport);
}

static void free_all(struct ssh_lines *l, struct list *lines)
{
	while (!list_empty(lines))
		free_line(l, container_of(lines->next, struct line, turn));
}

void ssh_lines_end(struct ssh_lines *l)
{
	free_all(l, &l->opening);
	free_all(l, &l->busy);
	free_all(l, &l->starved);
	free_all(l, &l->idle);
	free_all(l, &l->closing);
}
