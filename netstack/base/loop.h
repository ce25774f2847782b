/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The event loop: descriptors, timers, signals, child processes. Backed by
 * libuv, which only loop.c includes; tests link a loop with a virtual clock
 * instead (tests/support/fake_loop.c).
 *
 * One round: timers, then deferred calls and before-sleep hooks, then sleep,
 * then the callbacks of the descriptors that are ready. Everything runs on the
 * thread that called loop_run(). An object may be freed inside its own
 * callback: its memory goes at the end of the round, and no callback of a
 * freed object is ever called. */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "netstack/base/list.h"

struct loop;
struct watch;
struct timer;

typedef void loop_fn(void *arg);

int loop_new(struct loop **out);
void loop_free(struct loop *loop);
/* Runs until loop_stop(). 0, or -errno when the loop cannot go on. */
int loop_run(struct loop *loop);
void loop_stop(struct loop *loop);
/* Milliseconds of a monotonic clock, as of the start of the round. */
uint64_t loop_now_ms(struct loop *loop);
/* The same clock in microseconds, and now: it goes on within a round. */
uint64_t loop_exact_us(struct loop *loop);
/* The next sleep returns at once, from whatever callback this is called. */
void loop_do_not_sleep(struct loop *loop);

/* Called before every sleep, in the order added. Embedded by the user. */
struct loop_hook {
	struct list node; /* loop.hooks */
	loop_fn *fn;
	void *arg;
};
void loop_add_hook(struct loop *loop, struct loop_hook *hook);
void loop_remove_hook(struct loop_hook *hook);

/* A call made once, before the next sleep, or if a deferred call asks for it, in
 * the next round, which then comes without a sleep. For frees that must wait
 * until no caller up the stack uses the object, and for work that others should
 * get their turn in between. Adding it twice is harmless. */
struct loop_deferred {
	struct list node; /* loop.deferred */
	loop_fn *fn;
	void *arg;
};
void loop_deferred_init(struct loop_deferred *deferred, loop_fn *fn, void *arg);
void loop_defer(struct loop *loop, struct loop_deferred *deferred);
void loop_cancel_deferred(struct loop_deferred *deferred);

/* Interest in a descriptor. Level-triggered. On an error condition of the
 * descriptor fn gets every event of LOOP_READ | LOOP_WRITE that is wanted: the
 * next system call on it tells what is wrong. The descriptor stays the
 * caller's; it may be closed directly after watch_free(). */
#define LOOP_READ 1U
#define LOOP_WRITE 2U
/* Alone: only an error, or both directions ended; for who wants neither. */
#define LOOP_HANGUP 4U
typedef void watch_fn(void *arg, unsigned int events);
int watch_new(struct loop *loop, int fd, watch_fn *fn, void *arg, struct watch **out);
void watch_want(struct watch *watch, unsigned int events);
void watch_free(struct watch *watch); /* accepts NULL */

/* One shot. Starting a running timer moves it. */
int timer_new(struct loop *loop, loop_fn *fn, void *arg, struct timer **out);
void timer_start(struct timer *timer, uint64_t delay_ms);
void timer_stop(struct timer *timer);
bool timer_is_running(const struct timer *timer);
void timer_free(struct timer *timer); /* accepts NULL */

/* fn is called for every arrival of the signal until loop_free(). */
typedef void loop_signal_fn(void *arg, int signum);
int loop_on_signal(struct loop *loop, int signum, loop_signal_fn *fn, void *arg);

/* Starts argv[0] (looked up in PATH) with this process's descriptors 0 to 2,
 * and the descriptors in extra_fds as 3 and up. on_exit gets the exit status,
 * or 128 + signal. Returns -errno when it cannot be started. */
struct loop_child {
	char *const *argv;
	const int *stdio; /* two descriptors that are 0 and 1 in its place, or NULL */
	const int *extra_fds;
	int n_extra_fds;
	void (*on_exit)(void *arg, int status);
	void *arg;
};
int loop_spawn(struct loop *loop, const struct loop_child *child, pid_t *pid);
/* on_exit of that child is not called any more; it is still waited for. */
void loop_forget_child(struct loop *loop, pid_t pid);
