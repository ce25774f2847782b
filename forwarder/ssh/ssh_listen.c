/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/ssh/ssh_listen.h"

#include <errno.h>
#include <string.h>

#include "forwarder/ssh/ssh_channel.h"

void ssh_listens_init(struct ssh_listens *l, struct ssh_lines *lines, const bool *is_held)
{
	l->lines = lines;
	l->is_held = is_held;
	list_init(&l->asking);
	list_init(&l->listening);
	list_init(&l->leaving);
	l->current = NULL;
	l->is_asking = false;
}

static struct ssh_reverse *first_of(struct list *list)
{
	return list_empty(list) ? NULL : container_of(list->next, struct ssh_reverse, node);
}

static void move(struct ssh_reverse *r, struct list *to)
{
	list_unlink(&r->node);
	list_append(to, &r->node);
}

/* Connections that the loop will not take any more. */
static void drop_untaken(struct ssh_listens *l, struct ssh_reverse *r)
{
	struct ssh_channel *channel;

	while ((channel = ssh_reverse_take(r))) {
		ssh_channel_leave(channel, SSH_LEAVE_RESET);
		ssh_mailbox_post(l->lines->worker, &channel->to_worker);
		ssh_channel_release(channel);
	}
}

static void let_go(struct ssh_listens *l, struct ssh_reverse *r)
{
	drop_untaken(l, r);
	ssh_mailbox_void(l->lines->worker, &r->to_worker);
	list_unlink(&r->node);
	ssh_reverse_release(r);
}

void ssh_listens_decline(struct ssh_listens *l, struct ssh_reverse *r)
{
	ssh_reverse_answered(r, -ECONNRESET);
	ssh_mailbox_put(l->lines->loop, &r->to_loop);
	let_go(l, r);
}

static void leave(struct ssh_listens *l, struct ssh_reverse *r)
{
	r->is_leaving = true;
	move(r, &l->leaving);
}

/* A port: 0 once it is answered, *is_granted or not; LIBSSH2_ERROR_EAGAIN before. */
static int ask_for_port(struct ssh_listens *l, struct ssh_reverse *r, bool *is_granted)
{
	char host[ADDR_TEXT_SIZE];
	int port = 0, error;

	ipaddr_format(&r->endpoint.addr, host);
	r->listener = libssh2_channel_forward_listen_ex(l->lines->session, host, r->endpoint.port,
							&port, SSH_REVERSE_QUEUE);
	*is_granted = r->listener != NULL;
	if (r->listener)
		return 0;
	error = libssh2_session_last_errno(l->lines->session);
	return error == LIBSSH2_ERROR_REQUEST_DENIED ? 0 : error;
}

/* The same of a path (OpenSSH's PROTOCOL, section 2.4). */
static int ask_for_path(struct ssh_listens *l, struct ssh_reverse *r, bool *is_granted)
{
	const struct ssh2_request request = { .name = "streamlocal-forward@openssh.com",
					      .argument = r->path,
					      .wants_reply = true };
	int error = 0;

	if (!r->is_asked)
		error = ssh2_more_ask(l->lines->session, &request);
	if (error < 0)
		return error;
	r->is_asked = true;
	return ssh2_more_take_reply(l->lines->session, is_granted) ? 0 : LIBSSH2_ERROR_EAGAIN;
}

static int ask_to_listen(struct ssh_listens *l, struct ssh_reverse *r)
{
	bool is_granted = false, is_possible = !*r->path || ssh2_more_can_listen_on_paths();
	int error = 0;

	if (is_possible)
		error = *r->path ? ask_for_path(l, r, &is_granted) :
				   ask_for_port(l, r, &is_granted);
	if (error < 0)
		return error;
	r->is_listening = is_granted;
	ssh_reverse_answered(r, is_granted ? 0 : is_possible ? -EADDRINUSE : -EOPNOTSUPP);
	ssh_mailbox_put(l->lines->loop, &r->to_loop);
	if (!is_granted)
		let_go(l, r);
	else if (ssh_reverse_is_left(r))
		leave(l, r);
	else
		move(r, &l->listening);
	return 0;
}

static int cancel_path(struct ssh_listens *l, struct ssh_reverse *r)
{
	const struct ssh2_request request = { .name = "cancel-streamlocal-forward@openssh.com",
					      .argument = r->path };

	return ssh2_more_ask(l->lines->session, &request);
}

static int ask_to_cancel(struct ssh_listens *l, struct ssh_reverse *r)
{
	int error = 0;

	if (r->is_listening)
		error = *r->path ? cancel_path(l, r) : libssh2_channel_forward_cancel(r->listener);
	if (error == LIBSSH2_ERROR_EAGAIN)
		return error;
	let_go(l, r);
	return 0;
}

/* Who leaves goes first: the next may want the same port. */
static struct ssh_reverse *next_of(struct ssh_listens *l)
{
	if (l->current)
		return l->current;
	return list_empty(&l->leaving) ? first_of(&l->asking) : first_of(&l->leaving);
}

static int ask(struct ssh_listens *l, struct ssh_reverse *r)
{
	bool is_cancelled = r->is_leaving || (r != l->current && ssh_reverse_is_left(r));

	return is_cancelled ? ask_to_cancel(l, r) : ask_to_listen(l, r);
}

/* As far as it goes: one request after the other. */
static int go_on(struct ssh_listens *l)
{
	struct ssh_reverse *r;
	int error = 0;

	while (error == 0 && !*l->is_held && (r = next_of(l))) {
		error = ask(l, r);
		l->current = error == LIBSSH2_ERROR_EAGAIN ? r : NULL;
	}
	l->is_asking = l->current && !l->current->is_leaving;
	return error == LIBSSH2_ERROR_EAGAIN ? 0 : error;
}

static void take_in(struct ssh_listens *l, struct ssh_reverse *r, LIBSSH2_CHANNEL *lib)
{
	struct ssh_channel *channel = ssh_lines_adopt(l->lines, lib);

	if (!channel) {
		(void)ssh2_more_free(l->lines->session, lib);
		return;
	}
	ssh_reverse_put(r, channel);
	ssh_mailbox_put(l->lines->loop, &r->to_loop);
}

static void take_callers(struct ssh_listens *l, struct ssh_reverse *r)
{
	LIBSSH2_CHANNEL *lib;

	while (r->listener && ssh_reverse_has_room(r) &&
	       (lib = libssh2_channel_forward_accept(r->listener)))
		take_in(l, r, lib);
}

static struct ssh_reverse *find_path(struct ssh_listens *l, const char *path)
{
	list_for_each(node, &l->listening) {
		struct ssh_reverse *r = container_of(node, struct ssh_reverse, node);

		if (*r->path && strcmp(r->path, path) == 0)
			return r;
	}
	return NULL;
}

static void take_path_callers(struct ssh_listens *l)
{
	struct ssh2_call call;

	while (ssh2_more_take_call(l->lines->session, &call)) {
		struct ssh_reverse *r = find_path(l, call.path);
		LIBSSH2_CHANNEL *lib = NULL;

		if (r && ssh_reverse_has_room(r))
			lib = ssh2_more_accept(l->lines->session, &call, SSH_WINDOW,
					       SSH_LINE_PACKET);
		if (lib)
			take_in(l, r, lib);
		else
			(void)ssh2_more_refuse(l->lines->session, &call);
	}
}

int ssh_listens_notice(struct ssh_listens *l, struct ssh_reverse *r)
{
	bool is_left = ssh_reverse_is_left(r);

	if (r->is_listening && is_left)
		leave(l, r);
	else if (r->is_listening)
		take_callers(l, r); /* there is room again */
	else if (list_empty(&r->node))
		move(r, &l->asking);
	return l->current ? 0 : go_on(l);
}

int ssh_listens_receive(struct ssh_listens *l, unsigned int saw)
{
	if (saw & SSH2_SAW_CALLER) {
		list_for_each(node, &l->listening)
			take_callers(l, container_of(node, struct ssh_reverse, node));
	}
	take_path_callers(l);
	return go_on(l);
}

void ssh_listens_end(struct ssh_listens *l)
{
	struct ssh_reverse *r;

	while ((r = first_of(&l->asking)) || (r = first_of(&l->leaving)) ||
	       (r = first_of(&l->listening)))
		ssh_listens_decline(l, r);
}
