/* SPDX-License-Identifier: Apache-2.0 */
/* agent_command.c, with real processes and real time. */
#include "forwarder/agent_command.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "netstack/base/loop.h"
#include "netstack/stream.h"
#include "tests/support/run_until.h"

struct fixture {
	struct loop *loop;
	struct agent_command *command;
	struct stream *stream;
	char text[64];
	size_t len;
	ssize_t end; /* what read() has said last */
};

static int setup(void **state)
{
	static struct fixture f;

	f = (struct fixture){ 0 };
	*state = &f;
	(void)signal(SIGPIPE, SIG_IGN);
	return loop_new(&f.loop);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->stream)
		f->stream->ops->close(f->stream);
	agent_command_free(f->command);
	loop_free(f->loop);
	return 0;
}

static void on_ready(void *arg)
{
	struct fixture *f = arg;
	struct iovec iov = { f->text + f->len, sizeof(f->text) - 1 - f->len };

	f->end = f->stream->ops->read(f->stream, &iov, 1);
	if (f->end > 0)
		f->len += (size_t)f->end;
	f->text[f->len] = '\0';
}

static void connect_command(struct fixture *f)
{
	assert_int_equal(agent_command_connect(f->command, &f->stream), 0);
	stream_set_ready(f->stream, on_ready, f);
	f->stream->ops->want(f->stream, STREAM_READ);
	f->end = -EAGAIN;
}

static void start(struct fixture *f, const char *script)
{
	static char sh[] = "sh", c[] = "-c", *argv[] = { sh, c, NULL };

	argv[2] = (char *)(uintptr_t)script;
	assert_int_equal(agent_command_new(f->loop, argv, 3, &f->command), 0);
	connect_command(f);
}

static void disconnect(struct fixture *f)
{
	f->stream->ops->close(f->stream);
	f->stream = NULL;
}

static bool has_said_something(void *arg)
{
	struct fixture *f = arg;

	return f->len > 0;
}

static bool has_ended(void *arg)
{
	struct fixture *f = arg;

	return f->end == 0 || f->end == -ECONNRESET;
}

/* A child of ours that has ended, and was waited for by the loop, is not there. */
static bool is_gone(void *arg)
{
	const struct fixture *f = arg;
	long pid = strtol(f->text, NULL, 10);

	return pid > 0 && kill((pid_t)pid, 0) < 0 && errno == ESRCH;
}

static void its_input_and_output_are_a_stream(void **state)
{
	struct fixture *f = *state;
	struct iovec iov = { (char[]){ "ping\n" }, 5 };

	start(f, "read word; echo got $word");
	assert_int_equal(f->stream->ops->write(f->stream, &iov, 1), 5);
	run_until(f->loop, has_ended, f);

	assert_string_equal(f->text, "got ping\n");
}

static void it_ends_with_its_input(void **state)
{
	struct fixture *f = *state;

	start(f, "echo $$; cat");
	run_until(f->loop, has_said_something, f);
	disconnect(f);
	run_until(f->loop, is_gone, f);
}

static void one_that_ignores_its_end_is_ended(void **state)
{
	struct fixture *f = *state;

	start(f, "trap '' HUP PIPE; echo $$; exec >/dev/null; exec sleep 1000");
	run_until(f->loop, has_said_something, f);
	disconnect(f);
	run_until(f->loop, is_gone, f);
}

static void one_that_runs_when_all_ends_is_ended(void **state)
{
	struct fixture *f = *state;

	start(f, "echo $$; exec sleep 1000");
	run_until(f->loop, has_said_something, f);
	disconnect(f);
	agent_command_free(f->command);
	f->command = NULL;
	run_until(f->loop, is_gone, f);
}

static bool starts_again(void *arg)
{
	struct fixture *f = arg;
	int r = agent_command_connect(f->command, &f->stream);

	assert_true(r == 0 || r == -EAGAIN);
	loop_do_not_sleep(f->loop);
	return r == 0;
}

static void one_that_ends_at_once_is_not_started_again_at_once(void **state)
{
	struct fixture *f = *state;

	start(f, "echo $$; exit 3");
	run_until(f->loop, is_gone, f);
	disconnect(f);
	assert_int_equal(agent_command_connect(f->command, &f->stream), -EAGAIN);
	run_until(f->loop, starts_again, f);
}

static void a_program_that_is_not_there_is_said(void **state)
{
	char *argv[] = { (char[]){ "/nonexistent/netfwd-agent" } };
	struct fixture *f = *state;

	assert_int_equal(agent_command_new(f->loop, argv, 1, &f->command), 0);
	assert_int_equal(agent_command_connect(f->command, &f->stream), -ENOENT);
	f->stream = NULL;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(its_input_and_output_are_a_stream),
		CASE(it_ends_with_its_input),
		CASE(one_that_ignores_its_end_is_ended),
		CASE(one_that_runs_when_all_ends_is_ended),
		CASE(one_that_ends_at_once_is_not_started_again_at_once),
		CASE(a_program_that_is_not_there_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
