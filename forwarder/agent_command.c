/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/agent_command.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netstack/base/list.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/stream_pair.h"
#include "netstack/unix_socket.h"

struct agent_command {
	struct loop *loop;
	char **argv;	       /* ends with NULL */
	struct list runs;      /* run.node */
	unsigned int pause_ms; /* the next */
	uint64_t not_before_ms;
};

/* One process, until it has ended and its stream was closed. */
struct run {
	struct list node; /* agent_command.runs */
	struct agent_command *owner;
	struct timer *impatience; /* once the stream is closed */
	uint64_t started_ms;
	pid_t pid; /* 0: has ended */
	bool is_open, was_asked;
};

static void run_free(struct run *run)
{
	list_unlink(&run->node);
	timer_free(run->impatience);
	free(run);
}

static void on_impatience(void *arg)
{
	struct run *run = arg;

	(void)kill(run->pid, run->was_asked ? SIGKILL : SIGTERM);
	if (!run->was_asked)
		timer_start(run->impatience, AGENT_COMMAND_KILL_MS);
	run->was_asked = true;
}

static void on_closed(void *arg)
{
	struct run *run = arg;

	run->is_open = false;
	if (run->pid)
		timer_start(run->impatience, AGENT_COMMAND_TERM_MS);
	else
		run_free(run);
}

static void set_pause(struct agent_command *c, const struct run *run)
{
	uint64_t now = loop_now_ms(c->loop);

	if (now - run->started_ms >= AGENT_COMMAND_SHORT_MS) {
		c->pause_ms = AGENT_COMMAND_PAUSE_MS;
		return;
	}
	c->not_before_ms = now + c->pause_ms;
	if (c->pause_ms < AGENT_COMMAND_PAUSE_MAX_MS)
		c->pause_ms *= 2;
}

static void on_exit_of_run(void *arg, int status)
{
	struct run *run = arg;
	struct agent_command *c = run->owner;

	/* its end may be seen by the stream first; one that ends because we left is no news */
	if (run->is_open || (status != 0 && !run->was_asked))
		log_limited(LOG_LEVEL_WARN, "agent.command: %s has ended with status %d",
			    c->argv[0], status);
	run->pid = 0;
	timer_stop(run->impatience);
	set_pause(c, run);
	if (!run->is_open) /* else its stream says that it ended */
		run_free(run);
}

/* --- starting it --------------------------------------------------------- */

static int spawn(struct run *run, int fd)
{
	const int stdio[2] = { fd, fd };
	const struct loop_child child = {
		.argv = run->owner->argv,
		.stdio = stdio,
		.on_exit = on_exit_of_run,
		.arg = run,
	};
	int r = loop_spawn(run->owner->loop, &child, &run->pid);

	if (r < 0)
		log_limited(LOG_LEVEL_WARN, "agent.command: %s cannot be started: %s",
			    run->owner->argv[0], strerror(-r));
	return r;
}

static int start(struct run *run, struct stream **out)
{
	struct loop *loop = run->owner->loop;
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	unix_socket_widen(pair[0]);
	unix_socket_widen(pair[1]);
	r = timer_new(loop, on_impatience, run, &run->impatience);
	if (r == 0)
		r = spawn(run, pair[1]);
	close(pair[1]);
	if (r < 0) {
		close(pair[0]);
		return r;
	}
	pair[1] = pair[0];
	r = stream_pair_new(loop, pair, on_closed, run, out);
	if (r < 0) {
		loop_forget_child(loop, run->pid);
		(void)kill(run->pid, SIGTERM);
	}
	return r;
}

int agent_command_connect(struct agent_command *c, struct stream **out)
{
	struct run *run;
	int r;

	if (loop_now_ms(c->loop) < c->not_before_ms)
		return -EAGAIN;
	run = calloc(1, sizeof(*run));
	if (!run)
		return -ENOMEM;
	run->owner = c;
	run->started_ms = loop_now_ms(c->loop);
	run->is_open = true;
	list_append(&c->runs, &run->node);
	r = start(run, out);
	if (r < 0)
		run_free(run);
	return r;
}

/* --- life ---------------------------------------------------------------- */

int agent_command_new(struct loop *loop, char *const *argv, unsigned int n,
		      struct agent_command **out)
{
	struct agent_command *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->argv = calloc(n + 1U, sizeof(*c->argv));
	if (!c->argv) {
		free(c);
		return -ENOMEM;
	}
	memcpy(c->argv, argv, n * sizeof(*argv));
	c->loop = loop;
	c->pause_ms = AGENT_COMMAND_PAUSE_MS;
	list_init(&c->runs);
	*out = c;
	return 0;
}

void agent_command_free(struct agent_command *c)
{
	if (!c)
		return;
	list_for_each(node, &c->runs) {
		struct run *run = container_of(node, struct run, node);

		if (run->pid) {
			loop_forget_child(c->loop, run->pid);
			(void)kill(run->pid, SIGTERM);
		}
		run_free(run);
	}
	free(c->argv);
	free(c);
}
