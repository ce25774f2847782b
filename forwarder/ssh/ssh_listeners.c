/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/ssh/ssh_listeners.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/ssh/ssh_channel.h"
#include "forwarder/ssh/ssh_reverse.h"
#include "forwarder/ssh/ssh_session.h"
#include "forwarder/ssh/ssh_stream.h"

struct tunnel_listener {
	struct list node; /* ssh_listeners.all */
	struct tunnel_place place;
	char path[SSH_REVERSE_PATH_SIZE]; /* of place */
	const struct tunnel_accept *accept;
	void *arg;
	struct ssh_reverse *reverse; /* NULL: no session has it */
	struct ssh_session *session;
	int told; /* by state(); -EAGAIN: nothing yet */
};

static void tell(struct tunnel_listener *l, int error)
{
	if (l->told == error)
		return;
	l->told = error;
	l->accept->state(l->arg, error);
}

static void drop_reverse(struct tunnel_listener *l)
{
	struct ssh_worker *w = &l->session->worker;

	ssh_mailbox_void(&w->to_loop, &l->reverse->to_loop);
	ssh_reverse_leave(l->reverse);
	ssh_mailbox_post(&w->to_worker, &l->reverse->to_worker);
	ssh_reverse_release(l->reverse);
	l->reverse = NULL;
	l->session = NULL;
}

static void ask_for(struct tunnel_listener *l, struct ssh_session *session)
{
	l->reverse = ssh_reverse_new(&l->place);
	if (!l->reverse) {
		tell(l, -ENOMEM);
		return;
	}
	l->reverse->user = l;
	l->session = session;
	ssh_mailbox_post(&session->worker.to_worker, &l->reverse->to_worker);
}

void ssh_listeners_ask(struct ssh_listeners *all, struct ssh_session *session)
{
	list_for_each(node, &all->all) {
		struct tunnel_listener *l = container_of(node, struct tunnel_listener, node);

		if (session && !l->reverse && l->told != -EADDRINUSE && l->told != -EOPNOTSUPP)
			ask_for(l, session);
	}
}

/* A callback may end any listener, so they are looked for anew after each. */
static struct tunnel_listener *first_of(struct ssh_listeners *all,
					const struct ssh_session *session)
{
	list_for_each(node, &all->all) {
		struct tunnel_listener *l = container_of(node, struct tunnel_listener, node);

		if (l->session == session)
			return l;
	}
	return NULL;
}

void ssh_listeners_lose(struct ssh_listeners *all, struct ssh_session *session)
{
	struct tunnel_listener *l;

	while ((l = first_of(all, session))) {
		drop_reverse(l);
		tell(l, -ECONNRESET);
	}
}

static void take_callers(struct tunnel_listener *l)
{
	struct ssh_reverse *r = l->reverse;
	struct ssh_session *session = l->session;
	struct ssh_channel *channel;

	while (l->reverse == r && (channel = ssh_reverse_take(r))) {
		struct ssh_stream *s = ssh_session_accept(session, channel);

		if (s) {
			l->accept->accepted(l->arg, &s->base);
			continue;
		}
		ssh_channel_leave(channel, SSH_LEAVE_RESET);
		ssh_mailbox_post(&session->worker.to_worker, &channel->to_worker);
		ssh_channel_release(channel);
	}
	ssh_mailbox_post(&session->worker.to_worker, &r->to_worker); /* there is room */
}

void ssh_listeners_news(void *arg, struct ssh_reverse *r)
{
	struct tunnel_listener *l = r->user;
	int status = ssh_reverse_status(r);

	(void)arg;
	if (status == -EAGAIN)
		return;
	if (status == 0) {
		tell(l, 0);
		take_callers(l);
		return;
	}
	drop_reverse(l);
	tell(l, status);
}

int ssh_listeners_add(struct ssh_listeners *all, const struct tunnel_place *guest,
		      const struct tunnel_accept *accept, void *arg, struct tunnel_listener **out)
{
	struct tunnel_listener *l;

	if (guest->path && strlen(guest->path) >= SSH_REVERSE_PATH_SIZE)
		return -ENAMETOOLONG;
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->place = *guest;
	if (guest->path) {
		snprintf(l->path, sizeof(l->path), "%s", guest->path);
		l->place.path = l->path;
	}
	l->accept = accept;
	l->arg = arg;
	l->told = -EAGAIN;
	list_append(&all->all, &l->node);
	*out = l;
	return 0;
}

void ssh_listeners_remove(struct tunnel_listener *l)
{
	if (l->reverse)
		drop_reverse(l);
	list_unlink(&l->node);
	free(l);
}
