/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/ssh/ssh_worker.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "forwarder/ssh/ssh_alive.h"
#include "forwarder/ssh/ssh_channel.h"
#include "forwarder/ssh/ssh_line.h"
#include "forwarder/ssh/ssh_listen.h"
#include "forwarder/ssh/ssh_login.h"
#include "forwarder/ssh/ssh_target.h"
#include "forwarder/ssh/ssh_transport.h"

/* Each way in one round: enough to be efficient, and what was decrypted is still in
 * the processor's cache when it is passed on. */
#define ROUND_SIZE (256UL * 1024)
/* Of a session's socket; the kernel doubles it. */
#define SOCKET_BUFFER (1024 * 1024)
/* Waking the loop costs about as much as decrypting 20 KB: in a bulk transfer, where
 * the next packets are about to come, it waits for so many bytes, or this long. */
#define BULK_SIZE (32UL * 1024)
#define HOLD_SIZE (192UL * 1024)
#define HOLD_NS 150000

struct work {
	struct ssh_worker *worker;
	uint64_t told_at; /* transport.n_received when the loop was last woken */
	bool is_holding;  /* there is something for it, and more is about to come */
	struct ssh_transport transport;
	struct ssh_lines lines;
	struct ssh_listens listens;
	struct ssh_alive alive;
};

static void report(struct ssh_worker *w, enum ssh_phase phase, int error, const char *text)
{
	pthread_mutex_lock(&w->lock);
	w->phase = phase;
	w->error = error;
	snprintf(w->text, sizeof(w->text), "%s", text);
	pthread_mutex_unlock(&w->lock);
	ssh_mailbox_post(&w->to_loop, &w->report);
}

/* ---- letters ---- */

static int take_letter(struct work *w, struct ssh_letter *letter)
{
	if (letter->kind == SSH_LETTER_REVERSE)
		return ssh_listens_notice(&w->listens,
					  container_of(letter, struct ssh_reverse, to_worker));
	return ssh_lines_notice(&w->lines, container_of(letter, struct ssh_channel, to_worker));
}

static int take_letters(struct work *w)
{
	struct ssh_letter *letter;
	int r = 0;

	while (r == 0 && (letter = ssh_mailbox_take(&w->worker->to_worker)))
		r = take_letter(w, letter);
	return r;
}

/* ---- rounds ---- */

static int receive(struct work *w)
{
	unsigned int saw = 0;
	int r;

	ssh_transport_allow(&w->transport, ROUND_SIZE);
	r = ssh2_more_read(w->lines.session, &saw);
	if (saw & SSH2_SAW_REPLY)
		ssh_alive_replied(&w->alive);
	if (r == 0)
		r = ssh_lines_receive(&w->lines, saw);
	if (r == 0)
		r = ssh_listens_receive(&w->listens, saw);
	return r;
}

static struct timespec patience(const struct work *w, bool is_busy)
{
	int ms = ssh_alive_timeout_ms(&w->alive);

	if (is_busy)
		return (struct timespec){ .tv_sec = 0 };
	if (w->is_holding)
		return (struct timespec){ .tv_nsec = HOLD_NS };
	return (struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };
}

/* Sleeps when there is nothing to do. True: something may have come. */
static bool wait_for_work(struct work *w)
{
	struct pollfd p[] = {
		{ .fd = w->transport.fd, .events = ssh_transport_events(&w->transport) },
		{ .fd = w->worker->to_worker.fd, .events = POLLIN },
	};
	bool is_busy = ssh_lines_can_go_on(&w->lines) || ssh_transport_has_more(&w->transport) ||
		       ssh2_more_has_more(w->lines.session) ||
		       !ssh_mailbox_may_sleep(&w->worker->to_worker);
	const struct timespec timeout = patience(w, is_busy);
	bool is_readable =
		ppoll(p, 2, &timeout, NULL) > 0 && (p[0].revents & (POLLIN | POLLERR | POLLHUP));

	return is_readable || ssh_transport_has_more(&w->transport) ||
	       ssh2_more_has_more(w->lines.session);
}

/* Of what this round has received, which began with so many bytes in all. */
static void tell_loop(struct work *w, uint64_t before)
{
	uint64_t now = w->transport.n_received;

	w->is_holding = now - before >= BULK_SIZE && now - w->told_at < HOLD_SIZE;
	if (w->is_holding)
		return;
	w->told_at = now;
	ssh_mailbox_rouse(&w->worker->to_loop);
}

static int round_of_work(struct work *w)
{
	bool is_readable = wait_for_work(w);
	uint64_t before = w->transport.n_received;
	int r = 0;

	if (ssh_transport_flush(&w->transport) < 0)
		return LIBSSH2_ERROR_SOCKET_SEND;
	if (is_readable)
		r = receive(w);
	tell_loop(w, before);
	if (r == 0)
		r = take_letters(w);
	if (r == 0)
		r = ssh_lines_send(&w->lines, ROUND_SIZE);
	ssh_transport_push(&w->transport);
	if (!w->is_holding)
		ssh_mailbox_rouse(&w->worker->to_loop);
	if (r == 0)
		r = ssh_alive_check(&w->alive, w->transport.n_received);
	return r;
}

/* ---- from start to end ---- */

static void end_session(LIBSSH2_SESSION *session, struct ssh_transport *t, bool is_wanted)
{
	if (!session)
		return;
	if (!is_wanted)
		(void)libssh2_session_disconnect(session, "no longer needed");
	t->is_dead = true; /* so nothing waits from here on */
	ssh2_more_stop(session);
	while (libssh2_session_free(session) == LIBSSH2_ERROR_EAGAIN)
		;
}

/* Why it was lost, for people. */
static void describe_end(struct work *w, int r, char text[static SSH_TEXT_SIZE])
{
	char *last = NULL;

	if (r == LIBSSH2_ERROR_TIMEOUT) {
		snprintf(text, SSH_TEXT_SIZE, "the SSH server does not answer any more");
		return;
	}
	if (r == LIBSSH2_ERROR_SOCKET_RECV || r == LIBSSH2_ERROR_SOCKET_SEND ||
	    r == LIBSSH2_ERROR_SOCKET_DISCONNECT) {
		snprintf(text, SSH_TEXT_SIZE, "the SSH server closed the connection");
		return;
	}
	libssh2_session_last_error(w->lines.session, &last, NULL, 0);
	snprintf(text, SSH_TEXT_SIZE, "the SSH session failed: %s (%d)",
		 last && *last ? last : "it is inconsistent", r);
}

/* Whoever has come too late. */
static void decline_letters(struct work *w)
{
	struct ssh_letter *letter;

	while ((letter = ssh_mailbox_take(&w->worker->to_worker))) {
		if (letter->kind == SSH_LETTER_CHANNEL)
			ssh_lines_decline(&w->lines,
					  container_of(letter, struct ssh_channel, to_worker));
		else
			ssh_listens_decline(&w->listens,
					    container_of(letter, struct ssh_reverse, to_worker));
	}
}

static void carry(struct work *w, LIBSSH2_SESSION *session)
{
	struct ssh_worker *worker = w->worker;
	char text[SSH_TEXT_SIZE] = "";
	int r = 0;

	w->lines.session = session;
	w->lines.transport = &w->transport;
	w->lines.worker = &worker->to_worker;
	w->lines.loop = &worker->to_loop;
	ssh_lines_init(&w->lines);
	ssh_listens_init(&w->listens, &w->lines, &w->alive.is_reply_due);
	ssh_alive_init(&w->alive, session, worker->config, &w->listens.is_asking);
	w->transport.is_dry = false; /* libssh2 has read ahead */
	while (r == 0 && !ssh_mailbox_is_stopped(&worker->to_worker))
		r = round_of_work(w);
	if (r < 0)
		describe_end(w, r, text);
	ssh_listens_end(&w->listens);
	ssh_lines_end(&w->lines);
	decline_letters(w);
	end_session(session, &w->transport, r < 0);
	ssh_transport_deinit(&w->transport);
	report(worker, SSH_PHASE_ENDED, r < 0 ? -ECONNRESET : -ECANCELED, text);
}

static void log_in(struct work *w)
{
	struct ssh_worker *worker = w->worker;
	struct ssh_login login = {
		.config = worker->config,
		.transport = &w->transport,
		.mailbox = &worker->to_worker,
		.exchange_ms = worker->exchange_ms,
	};
	int r = ssh_login(&login);

	pthread_mutex_lock(&worker->lock);
	worker->is_exchanged = login.is_exchanged;
	pthread_mutex_unlock(&worker->lock);
	if (r == 0) {
		report(worker, SSH_PHASE_UP, 0, login.note);
		carry(w, login.session);
		return;
	}
	end_session(login.session, &w->transport, true);
	ssh_transport_deinit(&w->transport);
	report(worker, SSH_PHASE_ENDED, r, login.error);
}

int ssh_worker_start_library(void)
{
	return libssh2_init(0) == 0 ? 0 : -ENOMEM;
}

static void set_buffers(int fd)
{
	const int size = SOCKET_BUFFER;

	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

void *ssh_worker_run(void *arg)
{
	struct ssh_worker *worker = arg;
	struct work w = { .worker = worker };
	const struct ssh_target *target = &worker->config->targets[worker->target];
	char why[SSH_TEXT_SIZE / 2 - 1], where[SSH_TEXT_SIZE / 2 - 1], text[SSH_TEXT_SIZE];
	int fd = worker->fd;

	if (fd < 0)
		fd = ssh_target_connect(target, &worker->to_worker, why, sizeof(why));
	if (fd < 0) {
		ssh_target_format(target, where, sizeof(where));
		snprintf(text, sizeof(text), "%s: %s", where, why);
		report(worker, SSH_PHASE_ENDED, fd, text);
		return NULL;
	}
	set_buffers(fd);
	if (ssh_transport_init(&w.transport, fd) < 0) {
		report(worker, SSH_PHASE_ENDED, -ENOMEM, "no memory");
		return NULL;
	}
	w.transport.memory = &worker->memory;
	log_in(&w);
	return NULL;
}
