/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/agent_upload.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/agent_program.h"
#include "forwarder/shell_job.h"
#include "netstack/base/list.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/stream_late.h"

#define MACHINE_SIZE 40

/* What runs in the guest. Its login shell may be any, so sh is asked for. The agent
 * begins to speak by itself, and we say nothing before it does: head may read ahead. */
#define COMMAND                                                                          \
	"exec sh -c 'umask 077; f=$(mktemp) && head -c %zu >\"$f\" && chmod 700 \"$f\" " \
	"&& exec 3<\"$f\" && rm \"$f\" && exec /proc/self/fd/3 --stdio'"

struct agent_upload {
	struct loop *loop;
	struct agent_upload_setup setup;
	struct list jobs; /* job.node */
	uint64_t not_before_ms;
};

/* One connection, until the agent has answered. */
struct job {
	struct list node; /* agent_upload.jobs */
	struct agent_upload *owner;
	struct stream_late *late;
	struct shell_job *ask; /* what kind of machine it is; NULL: known */
	char machine[MACHINE_SIZE];
	struct stream *guest; /* NULL: not yet */
	struct timer *timer;
	uint8_t *bytes; /* of the program */
	size_t len, sent;
};

static void job_free(struct job *job)
{
	shell_job_cancel(job->ask);
	if (job->guest) {
		stream_set_ready(job->guest, NULL, NULL);
		job->guest->ops->reset(job->guest);
	}
	list_unlink(&job->node);
	timer_free(job->timer);
	free(job->bytes);
	free(job);
}

/* What is logged was said by the caller. */
static void give_up(struct job *job, int error)
{
	struct stream_late *late = job->late;

	struct agent_upload *u = job->owner;

	u->not_before_ms = loop_now_ms(u->loop) + AGENT_UPLOAD_PAUSE_MS;
	job_free(job);
	u->setup.unusable(u->setup.arg);
	stream_late_fail(late, error);
}

static void fail(struct job *job, int error, const char *why)
{
	log_limited(LOG_LEVEL_WARN,
		    "netfwd-agent does not run in the guest: %s; it needs Linux, sh, mktemp and "
		    "head, and a directory for temporary files that programs may be run from, or "
		    "see netfwd agent install",
		    why);
	give_up(job, error);
}

static void on_timer(void *arg)
{
	fail(arg, -ETIMEDOUT, "it has said nothing");
}

/* The user has ended the stream. */
static void on_dropped(void *arg)
{
	struct job *job = arg;

	job_free(job);
}

static void become(struct job *job)
{
	struct stream_late *late = job->late;
	struct stream *guest = job->guest;

	job->guest = NULL;
	job_free(job);
	stream_late_become(late, guest);
}

/* 0 when all is sent. */
static ssize_t send_some(struct job *job)
{
	while (job->sent < job->len) {
		struct iovec iov = { job->bytes + job->sent, job->len - job->sent };
		ssize_t r = job->guest->ops->write(job->guest, &iov, 1);

		if (r < 0)
			return r;
		job->sent += (size_t)r;
	}
	return 0;
}

static void on_ready(void *arg)
{
	struct job *job = arg;
	struct iovec iov;
	int n;
	ssize_t r = send_some(job);

	if (r < 0 && r != -EAGAIN) {
		fail(job, (int)r, strerror((int)-r));
		return;
	}
	job->guest->ops->want(job->guest, r < 0 ? STREAM_READ | STREAM_WRITE : STREAM_READ);
	r = job->guest->ops->peek(job->guest, &iov, 1, &n);
	if (r > 0)
		become(job);
	else if (r == 0)
		fail(job, -ECONNRESET, "the shell has ended");
	else if (r != -EAGAIN)
		fail(job, (int)r, strerror((int)-r));
}

/* ---- which program ---- */

static int bring(struct job *job)
{
	char command[256];
	int r;

	(void)snprintf(command, sizeof(command), COMMAND, job->len);
	r = job->owner->setup.run(job->owner->setup.run_arg, command, &job->guest);
	if (r < 0)
		return r;
	stream_set_ready(job->guest, on_ready, job);
	job->guest->ops->want(job->guest, STREAM_READ | STREAM_WRITE);
	return 0;
}

static void on_machine(void *arg, const char *line)
{
	struct job *job = arg;

	(void)snprintf(job->machine, sizeof(job->machine), "%.*s", MACHINE_SIZE - 1, line);
}

static void on_asked(void *arg, int error)
{
	struct job *job = arg;
	char path[PATH_MAX];

	job->ask = NULL;
	if (error == 0 && !*job->machine)
		error = -ENOEXEC;
	if (error < 0) {
		fail(job, error, error == -ENOEXEC ? "there is no uname" : strerror(-error));
		return;
	}
	error = agent_program_find(job->machine, path);
	if (error == 0)
		error = agent_program_read(path, &job->bytes, &job->len);
	if (error < 0) {
		log_limited(LOG_LEVEL_WARN,
			    "there is no agent for the guest, whose kind of machine "
			    "is %s: %s: %s",
			    job->machine, path, strerror(-error));
		give_up(job, error);
		return;
	}
	error = bring(job);
	if (error < 0)
		fail(job, error, strerror(-error));
}

static int start(struct agent_upload *u, struct job *job)
{
	const struct shell_job_setup ask = {
		.run = u->setup.run,
		.run_arg = u->setup.run_arg,
		.command = "exec uname -m",
		.line = on_machine,
		.done = on_asked,
		.arg = job,
	};
	int r = timer_new(u->loop, on_timer, job, &job->timer);

	if (r == 0)
		r = shell_job_start(&ask, &job->ask);
	return r < 0 ? r : stream_late_new(on_dropped, job, &job->late);
}

int agent_upload_connect(struct agent_upload *u, struct stream **out)
{
	struct job *job;
	int r;

	if (loop_now_ms(u->loop) < u->not_before_ms)
		return -ENOEXEC;
	job = calloc(1, sizeof(*job));
	if (!job)
		return -ENOMEM;
	job->owner = u;
	list_init(&job->node);
	r = start(u, job);
	if (r < 0) {
		job_free(job);
		return r;
	}
	list_append(&u->jobs, &job->node);
	timer_start(job->timer, AGENT_UPLOAD_LIMIT_MS);
	*out = stream_late_stream(job->late);
	return 0;
}

int agent_upload_new(struct loop *loop, const struct agent_upload_setup *setup,
		     struct agent_upload **out)
{
	struct agent_upload *u = calloc(1, sizeof(*u));

	if (!u)
		return -ENOMEM;
	u->loop = loop;
	u->setup = *setup;
	list_init(&u->jobs);
	*out = u;
	return 0;
}

void agent_upload_free(struct agent_upload *u)
{
	if (!u)
		return;
	assert(list_empty(&u->jobs));
	free(u);
}
