/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/fake_loop.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "netstack/base/loop.h"

#define MAX_WATCHES 16384
#define MAX_ROUNDS 20000
/* For loop_run(): real time for a peer in another process or thread. */
#define PATIENCE_MS 10000

struct loop {
	uint64_t now_ms;
	uint64_t looks; /* how often the exact time was asked: each takes a microsecond */
	struct list hooks;
	struct list deferred;
	struct list watches; /* watch.node */
	struct list timers;  /* timer.node */
	bool is_stopped;
	bool do_not_sleep;
};

struct watch {
	struct list node; /* loop.watches */
	int fd;
	watch_fn *fn; /* NULL: freed, until the end of the round */
	void *arg;
	unsigned int wanted;
};

struct timer {
	struct list node; /* loop.timers */
	struct loop *loop;
	loop_fn *fn; /* NULL: freed, until the end of the round */
	void *arg;
	bool is_running;
	uint64_t due_ms;
};

static void give_up(const char *why)
{
	(void)fprintf(stderr, "fake_loop: %s\n", why);
	abort();
}

int loop_new(struct loop **out)
{
	struct loop *loop = calloc(1, sizeof(*loop));

	if (!loop)
		return -ENOMEM;
	loop->now_ms = 1000000;
	list_init(&loop->hooks);
	list_init(&loop->deferred);
	list_init(&loop->watches);
	list_init(&loop->timers);
	*out = loop;
	return 0;
}

static bool run_deferred(struct loop *loop)
{
	struct list batch, *node;
	bool ran = false;

	list_init(&batch);
	list_move_all(&batch, &loop->deferred);
	while ((node = list_take(&batch))) {
		struct loop_deferred *d = container_of(node, struct loop_deferred, node);

		d->fn(d->arg);
		ran = true;
	}
	return ran;
}

static void free_closed(struct loop *loop, bool all)
{
	list_for_each(node, &loop->watches) {
		struct watch *w = container_of(node, struct watch, node);

		if (all || !w->fn) {
			list_unlink(node);
			free(w);
		}
	}
	list_for_each(node, &loop->timers) {
		struct timer *t = container_of(node, struct timer, node);

		if (all || !t->fn) {
			list_unlink(node);
			free(t);
		}
	}
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	(void)run_deferred(loop);
	free_closed(loop, true);
	free(loop);
}

/* The running timer that is due first. */
static struct timer *next_timer(struct loop *loop)
{
	struct timer *first = NULL;

	list_for_each(node, &loop->timers) {
		struct timer *t = container_of(node, struct timer, node);

		if (t->fn && t->is_running && (!first || t->due_ms < first->due_ms))
			first = t;
	}
	return first;
}

static bool run_timers(struct loop *loop)
{
	struct timer *t;
	bool ran = false;

	while ((t = next_timer(loop)) && t->due_ms <= loop->now_ms) {
		t->is_running = false;
		t->fn(t->arg);
		ran = true;
	}
	return ran;
}

/* Fills in what poll(2) is to look at; returns how many there are. */
static nfds_t gather(struct loop *loop, struct pollfd *fds, struct watch **watches)
{
	nfds_t n = 0;

	list_for_each(node, &loop->watches) {
		struct watch *w = container_of(node, struct watch, node);

		if (!w->fn || !w->wanted)
			continue;
		if (n == MAX_WATCHES)
			give_up("too many watches");
		watches[n] = w;
		fds[n] = (struct pollfd){ .fd = w->fd };
		fds[n].events |= w->wanted & LOOP_READ ? POLLIN : 0;
		fds[n].events |= w->wanted & LOOP_WRITE ? POLLOUT : 0;
		n++;
	}
	return n;
}

static unsigned int events_of(const struct watch *w, short revents)
{
	unsigned int events = 0;

	if (revents & POLLNVAL)
		give_up("a descriptor was closed before its watch");
	if (revents & (POLLERR | POLLHUP))
		return w->wanted; /* LOOP_HANGUP is for this only */
	events |= revents & POLLIN ? LOOP_READ : 0;
	events |= revents & POLLOUT ? LOOP_WRITE : 0;
	return events & w->wanted; /* less than before, perhaps */
}

static bool run_watches(struct loop *loop, int timeout_ms)
{
	struct pollfd fds[MAX_WATCHES];
	struct watch *watches[MAX_WATCHES];
	nfds_t n = gather(loop, fds, watches);
	bool ran = false;

	if (poll(fds, n, timeout_ms) < 0 && errno != EINTR) /* libFuzzer has an alarm clock */
		give_up("poll failed");
	for (nfds_t i = 0; i < n; i++) {
		struct watch *w = watches[i];
		unsigned int events = w->fn ? events_of(w, fds[i].revents) : 0;

		if (!events)
			continue;
		w->fn(w->arg, events);
		ran = true;
	}
	return ran;
}

static bool turn(struct loop *loop, int timeout_ms)
{
	bool ran = run_timers(loop);

	ran |= run_deferred(loop);
	list_for_each(node, &loop->hooks) {
		struct loop_hook *hook = container_of(node, struct loop_hook, node);

		hook->fn(hook->arg);
	}
	ran |= loop->do_not_sleep || !list_empty(&loop->deferred);
	loop->do_not_sleep = false;
	ran |= run_watches(loop, ran || loop->is_stopped ? 0 : timeout_ms);
	free_closed(loop, false);
	return ran || !list_empty(&loop->deferred);
}

bool fake_loop_turn(struct loop *loop)
{
	return turn(loop, 0);
}

void fake_loop_settle(struct loop *loop)
{
	for (int i = 0; i < MAX_ROUNDS; i++)
		if (!turn(loop, 0))
			return;
	give_up("does not settle");
}

void fake_loop_advance(struct loop *loop, uint64_t ms)
{
	uint64_t end = loop->now_ms + ms;
	struct timer *t;

	while ((t = next_timer(loop)) && t->due_ms <= end) {
		if (t->due_ms > loop->now_ms)
			loop->now_ms = t->due_ms;
		fake_loop_settle(loop);
	}
	loop->now_ms = end;
	fake_loop_settle(loop);
}

int loop_run(struct loop *loop)
{
	loop->is_stopped = false;
	while (!loop->is_stopped) {
		struct timer *t;

		if (turn(loop, 0) || loop->is_stopped)
			continue;
		t = next_timer(loop);
		if (t)
			loop->now_ms = t->due_ms;
		else if (!turn(loop, PATIENCE_MS))
			give_up("nothing to wait for");
	}
	return 0;
}

void loop_stop(struct loop *loop)
{
	loop->is_stopped = true;
}

uint64_t loop_now_ms(struct loop *loop)
{
	return loop->now_ms;
}

uint64_t loop_exact_us(struct loop *loop)
{
	return loop->now_ms * 1000 + loop->looks++;
}

void loop_do_not_sleep(struct loop *loop)
{
	loop->do_not_sleep = true;
}

void loop_add_hook(struct loop *loop, struct loop_hook *hook)
{
	list_append(&loop->hooks, &hook->node);
}

void loop_remove_hook(struct loop_hook *hook)
{
	list_unlink(&hook->node);
}

void loop_deferred_init(struct loop_deferred *deferred, loop_fn *fn, void *arg)
{
	list_init(&deferred->node);
	deferred->fn = fn;
	deferred->arg = arg;
}

void loop_defer(struct loop *loop, struct loop_deferred *deferred)
{
	if (list_empty(&deferred->node))
		list_append(&loop->deferred, &deferred->node);
}

void loop_cancel_deferred(struct loop_deferred *deferred)
{
	list_unlink(&deferred->node);
}

int watch_new(struct loop *loop, int fd, watch_fn *fn, void *arg, struct watch **out)
{
	struct watch *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->fd = fd;
	w->fn = fn;
	w->arg = arg;
	list_append(&loop->watches, &w->node);
	*out = w;
	return 0;
}

void watch_want(struct watch *watch, unsigned int events)
{
	watch->wanted = events;
}

void watch_free(struct watch *watch)
{
	if (!watch)
		return;
	watch->fn = NULL;
	watch->wanted = 0;
}

int timer_new(struct loop *loop, loop_fn *fn, void *arg, struct timer **out)
{
	struct timer *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->loop = loop;
	t->fn = fn;
	t->arg = arg;
	list_append(&loop->timers, &t->node);
	*out = t;
	return 0;
}

void timer_start(struct timer *timer, uint64_t delay_ms)
{
	timer->is_running = true;
	timer->due_ms = timer->loop->now_ms + delay_ms;
}

void timer_stop(struct timer *timer)
{
	timer->is_running = false;
}

bool timer_is_running(const struct timer *timer)
{
	return timer->is_running;
}

void timer_free(struct timer *timer)
{
	if (timer)
		timer->fn = NULL;
}
