/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/base/loop.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <uv.h>

struct loop {
	uv_loop_t uv;
	uv_prepare_t prepare;
	uv_idle_t idle;	      /* active: the sleep returns at once */
	bool do_not_sleep;    /* asked for since the last sleep */
	struct list hooks;    /* loop_hook.node */
	struct list deferred; /* loop_deferred.node */
};

struct watch {
	uv_poll_t uv;
	int fd;
	watch_fn *fn;
	void *arg;
	unsigned int wanted;
	bool is_closing;
};

struct timer {
	uv_timer_t uv;
	loop_fn *fn;
	void *arg;
};

struct signal_watch {
	uv_signal_t uv;
	loop_signal_fn *fn;
	void *arg;
};

struct child {
	uv_process_t uv;
	void (*on_exit)(void *arg, int status);
	void *arg;
};

static void free_handle(uv_handle_t *handle)
{
	free(handle->data);
}

/* What a deferred call defers is for the next round, so that nobody keeps the
 * others waiting. */
static void run_deferred(struct loop *loop)
{
	struct list batch, *node;

	list_init(&batch);
	list_move_all(&batch, &loop->deferred);
	while ((node = list_take(&batch))) {
		struct loop_deferred *d = container_of(node, struct loop_deferred, node);

		d->fn(d->arg);
	}
}

static void on_idle(uv_idle_t *handle)
{
	(void)handle; /* being active is its whole purpose */
}

static void on_prepare(uv_prepare_t *handle)
{
	struct loop *loop = handle->data;

	run_deferred(loop);
	list_for_each(node, &loop->hooks) {
		struct loop_hook *hook = container_of(node, struct loop_hook, node);

		hook->fn(hook->arg);
	}
	if (loop->do_not_sleep || !list_empty(&loop->deferred))
		uv_idle_start(&loop->idle, on_idle);
	else
		uv_idle_stop(&loop->idle);
	loop->do_not_sleep = false;
}

int loop_new(struct loop **out)
{
	struct loop *loop = calloc(1, sizeof(*loop));
	int r;

	if (!loop)
		return -ENOMEM;
	r = uv_loop_init(&loop->uv);
	if (r < 0) {
		free(loop);
		return r;
	}
	list_init(&loop->hooks);
	list_init(&loop->deferred);
	uv_prepare_init(&loop->uv, &loop->prepare);
	loop->prepare.data = loop;
	uv_prepare_start(&loop->prepare, on_prepare);
	uv_idle_init(&loop->uv, &loop->idle);
	*out = loop;
	return 0;
}

static void close_leftover(uv_handle_t *handle, void *arg)
{
	(void)arg;
	if (!uv_is_closing(handle))
		uv_close(handle, handle->type == UV_PREPARE || handle->type == UV_IDLE ?
					 NULL :
					 free_handle);
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	run_deferred(loop);
	uv_walk(&loop->uv, close_leftover, NULL);
	uv_run(&loop->uv, UV_RUN_DEFAULT);
	uv_loop_close(&loop->uv);
	free(loop);
}

int loop_run(struct loop *loop)
{
	return uv_run(&loop->uv, UV_RUN_DEFAULT) < 0 ? -EIO : 0;
}

void loop_stop(struct loop *loop)
{
	uv_stop(&loop->uv);
}

uint64_t loop_now_ms(struct loop *loop)
{
	return uv_now(&loop->uv);
}

uint64_t loop_exact_us(struct loop *loop)
{
	(void)loop;
	return uv_hrtime() / 1000;
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

static void watch_arm(struct watch *w);

/* As opposed to urgent data, which nobody wants. */
static bool has_hung_up(const struct watch *w)
{
	struct pollfd p = { .fd = w->fd };

	return poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLERR));
}

static void on_poll(uv_poll_t *handle, int status, int uv_events)
{
	struct watch *w = handle->data;
	unsigned int events = 0;

	if (uv_events & UV_READABLE)
		events |= LOOP_READ;
	if (uv_events & UV_WRITABLE)
		events |= LOOP_WRITE;
	if (status < 0) /* error condition: libuv has stopped the handle */
		events = w->wanted;
	if (uv_events & UV_PRIORITIZED) { /* a hangup too is reported so */
		uv_poll_stop(&w->uv);
		if (has_hung_up(w))
			events |= LOOP_HANGUP;
	}
	if (events)
		w->fn(w->arg, events);
	if (status < 0 && !w->is_closing && w->wanted)
		watch_arm(w);
}

static void watch_arm(struct watch *w)
{
	int uv_events = 0;

	if (w->wanted & LOOP_READ)
		uv_events |= UV_READABLE;
	if (w->wanted & LOOP_WRITE)
		uv_events |= UV_WRITABLE;
	if (w->wanted & LOOP_HANGUP) /* polled at all, errors are reported */
		uv_events |= UV_PRIORITIZED;
	uv_poll_start(&w->uv, uv_events, on_poll);
}

int watch_new(struct loop *loop, int fd, watch_fn *fn, void *arg, struct watch **out)
{
	struct watch *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	r = uv_poll_init(&loop->uv, &w->uv, fd);
	if (r < 0) {
		free(w);
		return r;
	}
	w->uv.data = w;
	w->fd = fd;
	w->fn = fn;
	w->arg = arg;
	*out = w;
	return 0;
}

void watch_want(struct watch *w, unsigned int events)
{
	if (events == w->wanted)
		return;
	w->wanted = events;
	if (events)
		watch_arm(w);
	else
		uv_poll_stop(&w->uv);
}

void watch_free(struct watch *w)
{
	if (!w)
		return;
	w->is_closing = true;
	uv_close((uv_handle_t *)&w->uv, free_handle);
}

static void on_timer(uv_timer_t *handle)
{
	struct timer *t = handle->data;

	t->fn(t->arg);
}

int timer_new(struct loop *loop, loop_fn *fn, void *arg, struct timer **out)
{
	struct timer *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	uv_timer_init(&loop->uv, &t->uv);
	t->uv.data = t;
	t->fn = fn;
	t->arg = arg;
	*out = t;
	return 0;
}

void timer_start(struct timer *t, uint64_t delay_ms)
{
	uv_timer_start(&t->uv, on_timer, delay_ms, 0);
}

void timer_stop(struct timer *t)
{
	uv_timer_stop(&t->uv);
}

bool timer_is_running(const struct timer *t)
{
	return uv_is_active((const uv_handle_t *)&t->uv);
}

void timer_free(struct timer *t)
{
	if (t)
		uv_close((uv_handle_t *)&t->uv, free_handle);
}

static void on_signal(uv_signal_t *handle, int signum)
{
	struct signal_watch *s = handle->data;

	s->fn(s->arg, signum);
}

int loop_on_signal(struct loop *loop, int signum, loop_signal_fn *fn, void *arg)
{
	struct signal_watch *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	r = uv_signal_init(&loop->uv, &s->uv);
	if (r < 0) {
		free(s);
		return r;
	}
	s->uv.data = s;
	s->fn = fn;
	s->arg = arg;
	r = uv_signal_start(&s->uv, on_signal, signum);
	if (r < 0)
		uv_close((uv_handle_t *)&s->uv, free_handle);
	return r;
}

static void on_child_exit(uv_process_t *handle, int64_t status, int signum)
{
	struct child *c = handle->data;

	if (c->on_exit)
		c->on_exit(c->arg, signum ? 128 + signum : (int)status);
	uv_close((uv_handle_t *)handle, free_handle);
}

#define MAX_CHILD_FDS 8

static int child_descriptor(const struct loop_child *child, int i)
{
	if (i >= 3)
		return child->extra_fds[i - 3];
	return child->stdio && i < 2 ? child->stdio[i] : i;
}

int loop_spawn(struct loop *loop, const struct loop_child *child, pid_t *pid)
{
	uv_stdio_container_t stdio[3 + MAX_CHILD_FDS];
	struct child *c = calloc(1, sizeof(*c));
	uv_process_options_t options = {
		.file = child->argv[0],
		.args = (char **)(uintptr_t)child->argv, /* libuv does not write to it */
		.exit_cb = on_child_exit,
		.stdio = stdio,
		.stdio_count = 3 + child->n_extra_fds,
	};
	int r;

	assert(child->n_extra_fds <= MAX_CHILD_FDS);
	if (!c)
		return -ENOMEM;
	for (int i = 0; i < options.stdio_count; i++) {
		stdio[i].flags = UV_INHERIT_FD;
		stdio[i].data.fd = child_descriptor(child, i);
	}
	c->uv.data = c;
	c->on_exit = child->on_exit;
	c->arg = child->arg;
	r = uv_spawn(&loop->uv, &c->uv, &options);
	if (r < 0) {
		uv_close((uv_handle_t *)&c->uv, free_handle);
		return r;
	}
	*pid = c->uv.pid;
	return 0;
}

static void forget_if_it_is(uv_handle_t *handle, void *arg)
{
	const pid_t *pid = arg;
	struct child *c = handle->data;

	if (handle->type == UV_PROCESS && c->uv.pid == *pid)
		c->on_exit = NULL;
}

void loop_forget_child(struct loop *loop, pid_t pid)
{
	uv_walk(&loop->uv, forget_if_it_is, &pid);
}
