/* SPDX-License-Identifier: Apache-2.0 */
/* loop.c over libuv, with pipes and real time. */
#include "netstack/base/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/run_until.h"

struct fixture {
	struct loop *loop;
	int pipe[2];
	struct watch *watch;
	struct timer *timer;
	struct loop_deferred deferred;
	struct loop_hook hook;
	unsigned int n_calls, n_hooks;
	bool has_slept;
};

static int setup(void **state)
{
	static struct fixture f;

	f = (struct fixture){ 0 };
	*state = &f;
	if (pipe(f.pipe) < 0)
		return -1;
	return loop_new(&f.loop);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	loop_free(f->loop);
	close(f->pipe[0]);
	close(f->pipe[1]);
	return 0;
}

static bool was_called(void *arg)
{
	struct fixture *f = arg;

	return f->n_calls > 0;
}

static void count(void *arg)
{
	struct fixture *f = arg;

	f->n_calls++;
}

static void free_own_watch(void *arg, unsigned int events)
{
	struct fixture *f = arg;

	(void)events;
	f->n_calls++;
	watch_free(f->watch);
}

static void a_watch_may_be_freed_in_its_own_callback(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(watch_new(f->loop, f->pipe[0], free_own_watch, f, &f->watch), 0);
	watch_want(f->watch, LOOP_READ);
	assert_int_equal(write(f->pipe[1], "x", 1), 1);

	run_until(f->loop, was_called, f);
	run_a_little(f->loop);

	assert_int_equal(f->n_calls, 1); /* the pipe is still readable */
}

static void on_event(void *arg, unsigned int events)
{
	struct fixture *f = arg;

	assert_int_equal(events, LOOP_READ);
	f->n_calls++;
}

static void nothing_is_called_that_is_not_wanted(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(watch_new(f->loop, f->pipe[0], on_event, f, &f->watch), 0);
	assert_int_equal(write(f->pipe[1], "x", 1), 1);
	run_a_little(f->loop);
	assert_int_equal(f->n_calls, 0);

	watch_want(f->watch, LOOP_READ);
	run_until(f->loop, was_called, f);

	f->n_calls = 0;
	watch_want(f->watch, 0);
	run_a_little(f->loop);
	assert_int_equal(f->n_calls, 0);
	watch_free(f->watch);
}

static void a_deferred_call_comes_once(void **state)
{
	struct fixture *f = *state;

	loop_deferred_init(&f->deferred, count, f);
	loop_defer(f->loop, &f->deferred);
	loop_defer(f->loop, &f->deferred);
	assert_int_equal(f->n_calls, 0);

	run_a_little(f->loop);
	assert_int_equal(f->n_calls, 1);
	loop_defer(f->loop, &f->deferred);
	loop_cancel_deferred(&f->deferred);
	run_a_little(f->loop);
	assert_int_equal(f->n_calls, 1);
}

static void defer_again(void *arg)
{
	struct fixture *f = arg;

	if (++f->n_calls < 10)
		loop_defer(f->loop, &f->deferred);
}

static void count_round(void *arg)
{
	struct fixture *f = arg;

	if (f->n_calls < 10)
		f->n_hooks++;
	else
		loop_stop(f->loop);
}

static void what_a_deferred_call_defers_waits_for_the_next_round(void **state)
{
	struct fixture *f = *state;

	f->hook = (struct loop_hook){ .fn = count_round, .arg = f };
	loop_add_hook(f->loop, &f->hook);
	loop_deferred_init(&f->deferred, defer_again, f);
	loop_defer(f->loop, &f->deferred);

	assert_int_equal(loop_run(f->loop), 0); /* without a sleep: nothing would end it */

	assert_int_equal(f->n_calls, 10);
	assert_int_equal(f->n_hooks, 9);
	loop_remove_hook(&f->hook);
}

static void ask_not_to_sleep(void *arg)
{
	struct fixture *f = arg;

	f->n_calls++;
	loop_do_not_sleep(f->loop);
}

/* The second hook after the request: the sleep between them was none. */
static void stop_at_second_hook(void *arg)
{
	struct fixture *f = arg;

	if (f->n_calls && ++f->n_hooks == 2)
		loop_stop(f->loop);
}

static void on_slept(void *arg)
{
	struct fixture *f = arg;

	f->has_slept = true;
	loop_stop(f->loop);
}

static void a_timer_can_keep_the_loop_awake(void **state)
{
	struct fixture *f = *state;
	struct timer *alarm;

	f->hook = (struct loop_hook){ .fn = stop_at_second_hook, .arg = f };
	loop_add_hook(f->loop, &f->hook);
	assert_int_equal(timer_new(f->loop, ask_not_to_sleep, f, &f->timer), 0);
	assert_int_equal(timer_new(f->loop, on_slept, f, &alarm), 0);
	timer_start(f->timer, 1);
	timer_start(alarm, 5000);

	assert_int_equal(loop_run(f->loop), 0);

	assert_false(f->has_slept);
	assert_int_equal(f->n_hooks, 2);
	loop_remove_hook(&f->hook);
	timer_free(f->timer);
	timer_free(alarm);
}

static void a_stopped_timer_stays_silent(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(timer_new(f->loop, count, f, &f->timer), 0);
	timer_start(f->timer, 0);
	assert_true(timer_is_running(f->timer));
	timer_stop(f->timer);
	assert_false(timer_is_running(f->timer));

	run_a_little(f->loop);

	assert_int_equal(f->n_calls, 0);
	timer_free(f->timer);
}

static void on_exit_status(void *arg, int status)
{
	struct fixture *f = arg;

	assert_int_equal(status, 7);
	f->n_calls++;
}

static void a_child_inherits_what_it_is_given(void **state)
{
	char *argv[] = { (char[]){ "sh" }, (char[]){ "-c" }, (char[]){ "echo hi >&3; exit 7" },
			 NULL };
	struct fixture *f = *state;
	struct loop_child child = {
		.argv = argv,
		.extra_fds = &f->pipe[1],
		.n_extra_fds = 1,
		.on_exit = on_exit_status,
		.arg = f,
	};
	char text[8];
	pid_t pid;

	assert_int_equal(loop_spawn(f->loop, &child, &pid), 0);
	assert_true(pid > 0);
	run_until(f->loop, was_called, f);

	assert_int_equal(read(f->pipe[0], text, sizeof(text)), 3);
	assert_memory_equal(text, "hi\n", 3);
}

static void a_child_may_have_other_standard_descriptors(void **state)
{
	char *argv[] = { (char[]){ "sh" }, (char[]){ "-c" }, (char[]){ "echo hi; exit 7" }, NULL };
	struct fixture *f = *state;
	const int stdio[2] = { f->pipe[0], f->pipe[1] };
	struct loop_child child = {
		.argv = argv, .stdio = stdio, .on_exit = on_exit_status, .arg = f
	};
	char text[8];
	pid_t pid;

	assert_int_equal(loop_spawn(f->loop, &child, &pid), 0);
	run_until(f->loop, was_called, f);

	assert_int_equal(read(f->pipe[0], text, sizeof(text)), 3);
	assert_memory_equal(text, "hi\n", 3);
}

static void a_forgotten_child_calls_nobody(void **state)
{
	char *argv[] = { (char[]){ "sh" }, (char[]){ "-c" }, (char[]){ "exit 7" }, NULL };
	struct fixture *f = *state;
	struct loop_child child = { .argv = argv, .on_exit = on_exit_status, .arg = f };
	pid_t forgotten, pid;

	assert_int_equal(loop_spawn(f->loop, &child, &forgotten), 0);
	loop_forget_child(f->loop, forgotten);
	assert_int_equal(waitid(P_PID, (id_t)forgotten, &(siginfo_t){ 0 }, WEXITED | WNOWAIT), 0);
	assert_int_equal(loop_spawn(f->loop, &child, &pid), 0);
	run_until(f->loop, was_called, f);

	assert_int_equal(f->n_calls, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_watch_may_be_freed_in_its_own_callback, setup,
						teardown),
		cmocka_unit_test_setup_teardown(nothing_is_called_that_is_not_wanted, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_deferred_call_comes_once, setup, teardown),
		cmocka_unit_test_setup_teardown(
			what_a_deferred_call_defers_waits_for_the_next_round, setup, teardown),
		cmocka_unit_test_setup_teardown(a_timer_can_keep_the_loop_awake, setup, teardown),
		cmocka_unit_test_setup_teardown(a_stopped_timer_stays_silent, setup, teardown),
		cmocka_unit_test_setup_teardown(a_child_inherits_what_it_is_given, setup, teardown),
		cmocka_unit_test_setup_teardown(a_child_may_have_other_standard_descriptors, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_forgotten_child_calls_nobody, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
