/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/run_until.h"

#include <stdio.h>
#include <stdlib.h>

#include "netstack/base/loop.h"

#define PATIENCE_MS 20000
#define A_LITTLE 20

struct run {
	struct loop *loop;
	condition_fn *condition;
	void *arg;
	int rounds;
};

static void on_hook(void *arg)
{
	struct run *run = arg;

	if (run->condition(run->arg))
		loop_stop(run->loop);
}

static void on_timeout(void *arg)
{
	(void)arg;
	(void)fprintf(stderr, "run_until: the condition never came true\n");
	abort();
}

void run_until(struct loop *loop, condition_fn *condition, void *arg)
{
	struct run run = { .loop = loop, .condition = condition, .arg = arg };
	struct loop_hook hook = { .fn = on_hook, .arg = &run };
	struct timer *timer;

	if (timer_new(loop, on_timeout, NULL, &timer) < 0)
		abort();
	timer_start(timer, PATIENCE_MS);
	loop_add_hook(loop, &hook);
	if (loop_run(loop) < 0)
		abort();
	loop_remove_hook(&hook);
	timer_free(timer);
}

static bool count_down(void *arg)
{
	struct run *run = arg;

	loop_do_not_sleep(run->loop);
	return run->rounds++ == A_LITTLE;
}

void run_a_little(struct loop *loop)
{
	struct run run = { .loop = loop };

	run_until(loop, count_down, &run);
}
