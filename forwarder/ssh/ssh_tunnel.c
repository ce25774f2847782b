/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/ssh/ssh_tunnel.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "forwarder/ssh/ssh_backoff.h"
#include "forwarder/ssh/ssh_listeners.h"
#include "forwarder/ssh/ssh_session.h"
#include "forwarder/ssh/ssh_stream.h"
#include "forwarder/ssh/ssh_target.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"

/* Two from the start: connections that come together are then on two processes of
 * the guest's sshd, and on two threads here. More when all of them are busy, and there
 * are processors for them. */
#define SESSIONS_MIN 2U
#define SESSIONS_MAX 4U
/* sshd takes a moment to count a session as logged in, and may allow few that are not
 * (sshd_config(5), MaxStartups). */
#define NEXT_AFTER_MS 500U
/* What makes a session busy: its connections, and MB/s. */
#define BUSY 100U
/* A dial waits so long for a session; and is worth a wait so long after the loss. */
#define DIAL_WAIT_MS 5000U
#define LOSS_GRACE_MS 10000U
/* Strings of a struct ssh_config. */
#define STRINGS_MAX 12

struct slot {
	struct ssh_session *session; /* NULL: none */
	unsigned int target;	     /* of config.targets: its, or the next one's */
	bool was_up;
	struct ssh_backoff backoff;
};

struct ssh_tunnel {
	struct tunnel base;
	struct loop *loop;
	struct ssh_config config;
	char *strings[STRINGS_MAX]; /* of config */
	unsigned int n_strings;
	struct timer *timer;

	struct slot slots[SESSIONS_MAX];
	unsigned int n_slots, max_slots;
	unsigned int target;		 /* where the last session that came up is */
	char first_error[SSH_TEXT_SIZE]; /* why the first target did not do, the last time */
	bool has_stopped;
	uint64_t lost_ms; /* when the last session was lost; 0: never was up */

	struct list waiting; /* of struct ssh_stream */
	struct ssh_listeners listeners;
};

static struct ssh_tunnel *from_tunnel(struct tunnel *t)
{
	return container_of(t, struct ssh_tunnel, base);
}

/* ---- state ---- */

static bool is_up(const struct slot *slot)
{
	return slot->session && slot->session->phase == SSH_PHASE_UP;
}

/* Cut off where it is too long. */
static void note_error(struct ssh_tunnel *t, const char *error)
{
	size_t len = strnlen(error, sizeof(t->base.error) - 1);

	memcpy(t->base.error, error, len);
	t->base.error[len] = '\0';
}

static unsigned int n_up(const struct ssh_tunnel *t)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < t->n_slots; i++)
		n += is_up(&t->slots[i]);
	return n;
}

/* The least busy session that is up, or NULL. */
static struct ssh_session *pick(struct ssh_tunnel *t)
{
	struct ssh_session *best = NULL;
	unsigned int least = 0;

	for (unsigned int i = 0; i < t->n_slots; i++) {
		unsigned int load;

		if (!is_up(&t->slots[i]))
			continue;
		load = ssh_session_load(t->slots[i].session);
		if (!best || load < least) {
			best = t->slots[i].session;
			least = load;
		}
	}
	if (best && least >= BUSY && t->n_slots < t->max_slots && n_up(t) == t->n_slots)
		ssh_backoff_reset(&t->slots[t->n_slots++].backoff, 0);
	return best;
}

/* ---- connections ---- */

static void break_stream(struct ssh_stream *s, int error)
{
	list_unlink(&s->node);
	s->ended = NULL;
	s->moved = NULL;
	ssh_stream_detach(s, error);
}

static void carry_waiting(struct ssh_tunnel *t)
{
	struct ssh_session *session;

	while (!list_empty(&t->waiting) && (session = pick(t))) {
		struct ssh_stream *s = container_of(t->waiting.next, struct ssh_stream, node);

		if (ssh_session_carry(session, s, &s->place) < 0)
			break_stream(s, -ENOMEM);
	}
}

static void break_waiting(struct ssh_tunnel *t, uint64_t until_ms, int error)
{
	for (;;) {
		struct ssh_stream *first = NULL;

		list_for_each(node, &t->waiting) {
			struct ssh_stream *s = container_of(node, struct ssh_stream, node);

			if (!first && s->deadline_ms <= until_ms)
				first = s;
		}
		if (!first)
			return;
		break_stream(first, error);
	}
}

/* Of a session that has ended: what was not open yet goes over another. */
static void reclaim(struct ssh_tunnel *t, struct ssh_session *session)
{
	struct list all;

	list_init(&all);
	list_move_all(&all, &session->streams);
	while (!list_empty(&all)) {
		struct ssh_stream *s = container_of(all.next, struct ssh_stream, node);

		if (!ssh_channel_is_undecided(s->channel)) {
			break_stream(s, -ECONNRESET);
			continue;
		}
		break_stream(s, 0);
		list_append(&t->waiting, &s->node);
	}
}

/* ---- sessions ---- */

static void go_on(struct ssh_tunnel *t);

/* Said when it changes. */
static void note_target(struct ssh_tunnel *t, unsigned int target)
{
	char where[160];

	if (target == t->target)
		return;
	t->target = target;
	ssh_target_format(&t->config.targets[0], where, sizeof(where));
	if (target == 0)
		log_info("ssh: an SSH server answers at %s now: connections go there", where);
	else
		log_warn("ssh: there is no SSH server at %s (%s): connections go by TCP", where,
			 t->first_error);
}

static void log_up(struct ssh_tunnel *t, const struct ssh_session *s, bool is_first)
{
	char where[160];

	ssh_target_format(&t->config.targets[s->target], where, sizeof(where));
	if (is_first)
		log_info("ssh: logged in at %s as %s", where, t->config.user);
	if (*s->text)
		log_info("ssh: %s", s->text);
	note_target(t, s->target);
}

static void went_up(struct ssh_tunnel *t, struct ssh_session *s)
{
	log_up(t, s, t->base.state != TUNNEL_UP);
	while (t->n_slots < SESSIONS_MIN)
		ssh_backoff_reset(&t->slots[t->n_slots++].backoff,
				  loop_now_ms(t->loop) + NEXT_AFTER_MS);
	for (unsigned int i = 0; i < t->n_slots; i++) {
		if (t->slots[i].session == s)
			ssh_backoff_reset(&t->slots[i].backoff, loop_now_ms(t->loop));
	}
	if (t->base.state != TUNNEL_UP)
		tunnel_set_state(&t->base, TUNNEL_UP, "");
	carry_waiting(t);
	ssh_listeners_ask(&t->listeners, pick(t));
}

static void give_up(struct ssh_tunnel *t, const char *why)
{
	t->has_stopped = true;
	tunnel_set_state(&t->base, TUNNEL_FAILED, why);
	break_waiting(t, UINT64_MAX, -ECONNRESET);
}

/* The last session was lost, or the first did not come about. */
static void went_down(struct ssh_tunnel *t, bool was_up, const char *why)
{
	if (was_up)
		t->lost_ms = loop_now_ms(t->loop);
	else
		log_debug("ssh: %s", why); /* the state is logged by whoever has the tunnel */
	tunnel_set_state(&t->base, was_up ? TUNNEL_CONNECTING : TUNNEL_DOWN, why);
}

/* Each session begins at the first target; where that fails before it has shown to be
 * an SSH server, the second is tried at once. */
static bool try_other_target(struct ssh_tunnel *t, struct slot *slot, const char *why)
{
	if (t->config.n_targets < 2 || slot->target != 0)
		return false;
	snprintf(t->first_error, sizeof(t->first_error), "%s", why);
	slot->target = 1;
	return true;
}

static void begin_anew(struct ssh_tunnel *t, struct slot *slot)
{
	slot->target = 0;
	ssh_backoff_failed(&slot->backoff, loop_now_ms(t->loop));
}

static void session_ended(struct ssh_tunnel *t, struct slot *slot, bool was_up)
{
	struct ssh_session *s = slot->session;
	int error = s->error;
	char why[SSH_TEXT_SIZE];
	bool is_other = !was_up && !s->is_exchanged && try_other_target(t, slot, s->text);

	memcpy(why, s->text, sizeof(why));
	slot->session = NULL;
	reclaim(t, s);
	ssh_listeners_lose(&t->listeners, s);
	ssh_session_free(s);
	if (is_other)
		ssh_backoff_now(&slot->backoff);
	else
		begin_anew(t, slot);
	if (n_up(t) > 0)
		log_debug("ssh: one session of several: %s", why);
	else if (error == -EKEYREJECTED)
		give_up(t, why);
	else if (is_other)
		note_error(t, why);
	else
		went_down(t, was_up, why);
	carry_waiting(t);
	ssh_listeners_ask(&t->listeners, pick(t));
}

static void on_session(void *arg, struct ssh_session *s)
{
	struct ssh_tunnel *t = arg;
	struct slot *slot = t->slots;

	while (slot->session != s)
		slot++;
	if (s->phase == SSH_PHASE_UP) {
		slot->was_up = true;
		went_up(t, s);
	} else if (s->phase == SSH_PHASE_ENDED) {
		bool was_up = slot->was_up;

		slot->was_up = false;
		session_ended(t, slot, was_up);
	}
	go_on(t);
}

static int open_session(struct ssh_tunnel *t, struct slot *slot)
{
	const struct ssh_target *target = &t->config.targets[slot->target];
	struct ssh_session_setup setup = {
		.config = &t->config,
		.target = slot->target,
		.exchange_ms = slot->target < t->target ? SSH_AGAIN_MS : SSH_EXCHANGE_MS,
		.fd = -1,
		.owner = { on_session, ssh_listeners_news, t },
	};
	int r = 0;

	if (target->dial)
		r = target->dial(target->arg, &setup.fd);
	if (r == 0)
		r = ssh_session_new(t->loop, &setup, &slot->session);
	return r;
}

static int start_session(struct ssh_tunnel *t, struct slot *slot)
{
	int r = open_session(t, slot);

	if (r < 0 && try_other_target(t, slot, strerror(-r)))
		r = open_session(t, slot);
	if (r < 0)
		begin_anew(t, slot);
	return r;
}

static bool is_connecting(const struct ssh_tunnel *t)
{
	for (unsigned int i = 0; i < t->n_slots; i++) {
		if (t->slots[i].session && !is_up(&t->slots[i]))
			return true;
	}
	return false;
}

/* One at a time: a server drops who comes in a crowd (sshd_config(5), MaxStartups),
 * and the first writes down its key for the others. The first slot goes first. */
static void start_what_is_due(struct ssh_tunnel *t)
{
	uint64_t now = loop_now_ms(t->loop);

	for (unsigned int i = 0; i < t->n_slots && !is_connecting(t); i++) {
		struct slot *slot = &t->slots[i];
		int r = 0;

		if (!slot->session && ssh_backoff_due_ms(&slot->backoff) <= now)
			r = start_session(t, slot);
		if (r < 0)
			log_limited(LOG_LEVEL_WARN, "ssh: no session can be started: %s",
				    strerror(-r));
	}
}

static uint64_t next_ms(const struct ssh_tunnel *t)
{
	uint64_t next = UINT64_MAX;

	list_for_each(node, &t->waiting) {
		const struct ssh_stream *s = container_of(node, struct ssh_stream, node);

		if (s->deadline_ms < next)
			next = s->deadline_ms;
	}
	for (unsigned int i = 0; i < t->n_slots && !t->has_stopped && !is_connecting(t); i++) {
		uint64_t due = ssh_backoff_due_ms(&t->slots[i].backoff);

		if (!t->slots[i].session && due < next)
			next = due;
	}
	return next;
}

/* Starts what is due, and comes back for what is not. */
static void go_on(struct ssh_tunnel *t)
{
	uint64_t now = loop_now_ms(t->loop), next;

	if (!t->has_stopped)
		start_what_is_due(t);
	next = next_ms(t);
	if (next == UINT64_MAX)
		timer_stop(t->timer);
	else
		timer_start(t->timer, next > now ? next - now : 0);
}

static void on_timer(void *arg)
{
	struct ssh_tunnel *t = arg;

	break_waiting(t, loop_now_ms(t->loop), -ECONNRESET);
	go_on(t);
}

/* ---- as a tunnel ---- */

/* Whether a session may come about soon enough for somebody to wait for it. */
static bool is_hopeful(const struct ssh_tunnel *t)
{
	if (t->base.state == TUNNEL_CONNECTING || t->base.state == TUNNEL_UP)
		return true;
	return t->base.state == TUNNEL_DOWN && t->lost_ms &&
	       loop_now_ms(t->loop) - t->lost_ms < LOSS_GRACE_MS;
}

static int carry(struct ssh_tunnel *t, const struct ssh_place *place, struct stream **out)
{
	struct ssh_session *session = pick(t);
	struct ssh_stream *s;
	int r = 0;

	if (!session && !is_hopeful(t)) {
		for (unsigned int i = 0; i < t->n_slots; i++)
			ssh_backoff_hurry(&t->slots[i].backoff);
		go_on(t);
		return -ENOTCONN;
	}
	s = ssh_stream_new();
	if (!s)
		return -ENOMEM;
	s->deadline_ms = loop_now_ms(t->loop) + DIAL_WAIT_MS;
	s->place = *place;
	if (session)
		r = ssh_session_carry(session, s, &s->place);
	if (r < 0) {
		s->base.ops->reset(&s->base);
		return r;
	}
	if (!session)
		list_append(&t->waiting, &s->node);
	go_on(t);
	*out = &s->base;
	return 0;
}

static int ssh_tunnel_dial(struct tunnel *base, const struct tunnel_place *guest,
			   struct stream **out)
{
	struct ssh_place place;
	int r = ssh_place_make(guest, &place);

	return r < 0 ? r : carry(from_tunnel(base), &place, out);
}

int ssh_tunnel_run(struct tunnel *tunnel, const char *command, struct stream **out)
{
	struct ssh_place place;
	int r = ssh_place_command(command, &place);

	return r < 0 ? r : carry(from_tunnel(tunnel), &place, out);
}

static int ssh_tunnel_listen(struct tunnel *base, const struct tunnel_place *guest,
			     const struct tunnel_accept *accept, void *arg,
			     struct tunnel_listener **out)
{
	struct ssh_tunnel *t = from_tunnel(base);
	int r = ssh_listeners_add(&t->listeners, guest, accept, arg, out);

	if (r == 0)
		ssh_listeners_ask(&t->listeners, pick(t));
	return r;
}

static void ssh_tunnel_free(struct tunnel *base)
{
	struct ssh_tunnel *t = from_tunnel(base);

	assert(list_empty(&t->waiting) && list_empty(&t->listeners.all));
	for (unsigned int i = 0; i < SESSIONS_MAX; i++) {
		if (t->slots[i].session)
			ssh_session_free(t->slots[i].session);
	}
	timer_free(t->timer);
	for (unsigned int i = 0; i < t->n_strings; i++)
		free(t->strings[i]);
	free(t);
}

static const struct tunnel_ops ssh_tunnel_ops = {
	.dial = ssh_tunnel_dial,
	.listen = ssh_tunnel_listen,
	.unlisten = ssh_listeners_remove,
	.free = ssh_tunnel_free,
};

/* A copy that lives as long as t; false: no memory. */
static bool copy_string(struct ssh_tunnel *t, const char **string)
{
	char *copy;

	if (!*string)
		return true;
	assert(t->n_strings < STRINGS_MAX);
	copy = strdup(*string);
	t->strings[t->n_strings] = copy;
	t->n_strings += copy != NULL;
	*string = copy;
	return copy != NULL;
}

static bool copy_strings(struct ssh_tunnel *t)
{
	struct ssh_config *c = &t->config;
	bool is_done = copy_string(t, &c->user) && copy_string(t, &c->identity_file) &&
		       copy_string(t, &c->key_dir) && copy_string(t, &c->agent_path) &&
		       copy_string(t, &c->known_hosts) && copy_string(t, &c->host_name);

	for (unsigned int i = 0; i < c->n_targets && is_done; i++)
		is_done =
			copy_string(t, &c->targets[i].host) && copy_string(t, &c->targets[i].name);
	return is_done;
}

static unsigned int most_sessions(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	if (n < SESSIONS_MIN)
		return SESSIONS_MIN;
	return n > SESSIONS_MAX ? SESSIONS_MAX : (unsigned int)n;
}

int ssh_tunnel_new(struct loop *loop, const struct ssh_config *config, struct tunnel **out)
{
	struct ssh_tunnel *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	t->base.ops = &ssh_tunnel_ops;
	t->base.name = "ssh";
	t->base.state = TUNNEL_CONNECTING;
	t->loop = loop;
	t->config = *config;
	t->n_slots = 1;
	t->max_slots = most_sessions();
	list_init(&t->waiting);
	list_init(&t->listeners.all);
	r = copy_strings(t) ? 0 : -ENOMEM;
	if (r == 0)
		r = timer_new(loop, on_timer, t, &t->timer);
	if (r == 0 && ssh_worker_start_library() < 0)
		r = -ENOMEM;
	if (r < 0) {
		ssh_tunnel_free(&t->base);
		return r;
	}
	timer_start(t->timer, 0);
	*out = &t->base;
	return 0;
}
