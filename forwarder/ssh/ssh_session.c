/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/ssh/ssh_session.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "forwarder/ssh/ssh_reverse.h"
#include "forwarder/ssh/ssh_stream.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"

/* Letters in one go, before others on the loop get their turn. */
#define LETTERS_MAX 64
/* A thread that hangs, in a resolver or an agent, must not hang the program. */
#define JOIN_S 2
/* The time over which a session's rate is measured, at least. */
#define RATE_MS 200

static void take_report(struct ssh_session *s)
{
	struct ssh_worker *w = &s->worker;

	pthread_mutex_lock(&w->lock);
	s->phase = w->phase;
	s->is_exchanged = w->is_exchanged;
	s->error = w->error;
	memcpy(s->text, w->text, sizeof(s->text));
	pthread_mutex_unlock(&w->lock);
	s->owner.changed(s->owner.arg, s);
}

/* True when the session may have been freed. */
static bool take_letter(struct ssh_session *s, struct ssh_letter *letter)
{
	struct ssh_channel *channel;

	switch (letter->kind) {
	case SSH_LETTER_CHANNEL:
		channel = container_of(letter, struct ssh_channel, to_loop);
		if (ssh_channel_take_prohibited(channel))
			log_limited(LOG_LEVEL_WARN,
				    "ssh: the server forbids a connection: see AllowTcpForwarding, "
				    "AllowStreamLocalForwarding and PermitOpen in its sshd_config");
		if (channel->user) /* NULL: accepted in the guest, not taken here yet */
			ssh_stream_notify(channel->user);
		return false;
	case SSH_LETTER_REVERSE:
		s->owner.reverse(s->owner.arg, container_of(letter, struct ssh_reverse, to_loop));
		return false;
	case SSH_LETTER_REPORT:
		take_report(s);
		return true;
	}
	return false;
}

static void on_letters(void *arg, unsigned int events)
{
	struct ssh_session *s = arg;
	struct ssh_letter *letter;

	(void)events;
	for (int i = 0; i < LETTERS_MAX; i++) {
		letter = ssh_mailbox_take(&s->worker.to_loop);
		if (!letter && ssh_mailbox_may_sleep(&s->worker.to_loop))
			return;
		if (letter && take_letter(s, letter))
			return; /* the rest in the next round */
	}
}

/* No signal is this thread's. */
static int start_thread(struct ssh_session *s)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&s->thread, NULL, ssh_worker_run, &s->worker);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}

static int start(struct ssh_session *s)
{
	struct ssh_worker *w = &s->worker;
	int r = ssh_mailbox_init(&w->to_worker);

	if (r < 0)
		return r;
	r = ssh_mailbox_init(&w->to_loop);
	if (r < 0)
		goto no_mailbox;
	r = watch_new(s->loop, w->to_loop.fd, on_letters, s, &s->watch);
	if (r < 0)
		goto no_watch;
	watch_want(s->watch, LOOP_READ);
	r = start_thread(s);
	if (r == 0)
		return 0;
	watch_free(s->watch);
no_watch:
	ssh_mailbox_deinit(&w->to_loop);
no_mailbox:
	ssh_mailbox_deinit(&w->to_worker);
	return r;
}

int ssh_session_new(struct loop *loop, const struct ssh_session_setup *setup,
		    struct ssh_session **out)
{
	struct ssh_session *s = calloc(1, sizeof(*s));
	int r = -ENOMEM;

	if (s) {
		s->loop = loop;
		s->owner = setup->owner;
		s->target = setup->target;
		s->worker.config = setup->config;
		s->worker.target = setup->target;
		s->worker.exchange_ms = setup->exchange_ms;
		s->worker.fd = setup->fd;
		list_init(&s->streams);
		ssh_letter_init(&s->worker.report, SSH_LETTER_REPORT);
		pthread_mutex_init(&s->worker.lock, NULL);
		ssh_memory_init(&s->worker.memory);
		r = start(s);
	}
	if (r < 0) {
		if (setup->fd >= 0)
			close(setup->fd);
		free(s);
		return r;
	}
	*out = s;
	return 0;
}

static bool join(struct ssh_session *s)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += JOIN_S;
	return pthread_timedjoin_np(s->thread, NULL, &until) == 0;
}

/* Of those that were posted after the thread's end, its end is let go here. */
static void drop_letters(struct ssh_session *s)
{
	struct ssh_letter *letter;

	while ((letter = ssh_mailbox_take(&s->worker.to_worker))) {
		if (letter->kind == SSH_LETTER_CHANNEL)
			ssh_channel_release(container_of(letter, struct ssh_channel, to_worker));
		else
			ssh_reverse_release(container_of(letter, struct ssh_reverse, to_worker));
	}
}

void ssh_session_free(struct ssh_session *s)
{
	assert(list_empty(&s->streams));
	watch_free(s->watch);
	ssh_mailbox_stop(&s->worker.to_worker);
	if (!join(s)) {
		log_warn("ssh: a thread is stuck, most likely in the resolver or the SSH agent; "
			 "it is left behind");
		pthread_detach(s->thread);
		return; /* what it uses, it keeps */
	}
	drop_letters(s);
	ssh_mailbox_deinit(&s->worker.to_loop);
	ssh_mailbox_deinit(&s->worker.to_worker);
	pthread_mutex_destroy(&s->worker.lock);
	ssh_memory_deinit(&s->worker.memory);
	free(s);
}

/* ---- streams ---- */

static void was_ended(struct ssh_stream *stream)
{
	struct ssh_session *s = stream->holder;

	s->n_streams--;
}

static void was_moved(struct ssh_stream *stream, size_t n)
{
	struct ssh_session *s = stream->holder;

	s->n_bytes += n;
}

static void take_in(struct ssh_session *s, struct ssh_stream *stream, struct ssh_channel *channel)
{
	list_unlink(&stream->node);
	list_append(&s->streams, &stream->node);
	s->n_streams++;
	stream->holder = s;
	stream->ended = was_ended;
	stream->moved = was_moved;
	ssh_stream_attach(stream, channel, &s->worker.to_worker, &s->worker.to_loop);
}

int ssh_session_carry(struct ssh_session *s, struct ssh_stream *stream,
		      const struct ssh_place *place)
{
	struct ssh_channel *channel = ssh_channel_new();

	if (!channel)
		return -ENOMEM;
	channel->place = *place;
	take_in(s, stream, channel);
	return 0;
}

struct ssh_stream *ssh_session_accept(struct ssh_session *s, struct ssh_channel *channel)
{
	struct ssh_stream *stream = ssh_stream_new();

	if (stream)
		take_in(s, stream, channel);
	return stream;
}

unsigned int ssh_session_load(struct ssh_session *s)
{
	uint64_t now = loop_now_ms(s->loop), ms = now - s->seen_ms;

	if (ms >= RATE_MS) {
		s->rate = (unsigned int)((s->n_bytes - s->seen_bytes) / 1000 / ms);
		s->seen_bytes = s->n_bytes;
		s->seen_ms = now;
	}
	return s->n_streams + s->rate;
}
