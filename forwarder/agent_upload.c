/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/agent_upload.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "netstack/base/list.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/stream_late.h"

#define PROGRAM_NAME "netfwd-agent"
#define PROGRAM_MAX (64L * 1024 * 1024)

/* What runs in the guest. Its login shell may be any, so sh is asked for. The agent
 * begins to speak by itself, and we say nothing before it does: head may read ahead. */
#define COMMAND                                                                          \
	"exec sh -c 'umask 077; f=$(mktemp) && head -c %zu >\"$f\" && chmod 700 \"$f\" " \
	"&& exec 3<\"$f\" && rm \"$f\" && exec /proc/self/fd/3 --stdio'"

struct agent_upload {
	struct loop *loop;
	struct agent_upload_setup setup;
	char program[PATH_MAX];
	struct list jobs; /* job.node */
	uint64_t not_before_ms;
};

/* One connection, until the agent has answered. */
struct job {
	struct list node; /* agent_upload.jobs */
	struct agent_upload *owner;
	struct stream_late *late;
	struct stream *guest;
	struct timer *timer;
	uint8_t *bytes; /* of the program */
	size_t len, sent;
};

static void job_free(struct job *job)
{
	list_unlink(&job->node);
	timer_free(job->timer);
	free(job->bytes);
	free(job);
}

static void leave(struct job *job)
{
	stream_set_ready(job->guest, NULL, NULL);
	job->guest->ops->reset(job->guest);
	job->guest = NULL;
}

static void fail(struct job *job, int error, const char *why)
{
	struct stream_late *late = job->late;

	log_limited(LOG_LEVEL_WARN,
		    "%s does not run in the guest: %s; it needs Linux on a processor as this "
		    "one, sh, mktemp and head, and a directory for temporary files that programs "
		    "may be run from, or see netfwd agent install",
		    PROGRAM_NAME, why);
	job->owner->not_before_ms = loop_now_ms(job->owner->loop) + AGENT_UPLOAD_PAUSE_MS;
	leave(job);
	job_free(job);
	stream_late_fail(late, error);
}

static void on_timer(void *arg)
{
	fail(arg, -ETIMEDOUT, "it has said nothing");
}

/* The user has ended the stream. */
static void on_dropped(void *arg)
{
	struct job *job = arg;

	leave(job);
	job_free(job);
}

static void become(struct job *job)
{
	struct stream_late *late = job->late;
	struct stream *guest = job->guest;

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

/* --- the program --------------------------------------------------------- */

static int read_all(int fd, struct job *job)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size == 0 || st.st_size > PROGRAM_MAX)
		return -ENOEXEC;
	job->bytes = malloc((size_t)st.st_size);
	if (!job->bytes)
		return -ENOMEM;
	while (job->len < (size_t)st.st_size) {
		ssize_t r = read(fd, job->bytes + job->len, (size_t)st.st_size - job->len);

		if (r <= 0)
			return r < 0 ? -errno : -ENOEXEC;
		job->len += (size_t)r;
	}
	return 0;
}

static int read_program(const struct agent_upload *u, struct job *job)
{
	int fd = open(u->program, O_RDONLY | O_CLOEXEC), r;

	if (fd < 0)
		return -errno;
	r = read_all(fd, job);
	close(fd);
	return r;
}

static int find_program(struct agent_upload *u)
{
	ssize_t len;
	char *slash;

	len = readlink("/proc/self/exe", u->program, sizeof(u->program) - sizeof(PROGRAM_NAME));
	if (len < 0)
		return -errno;
	u->program[len] = '\0';
	slash = strrchr(u->program, '/');
	memcpy(slash ? slash + 1 : u->program, PROGRAM_NAME, sizeof(PROGRAM_NAME));
	return 0;
}

/* ------------------------------------------------------------------------- */

static int start(struct agent_upload *u, struct job *job)
{
	char command[256];
	int r = read_program(u, job);

	if (r == 0)
		r = timer_new(u->loop, on_timer, job, &job->timer);
	if (r < 0)
		return r;
	(void)snprintf(command, sizeof(command), COMMAND, job->len);
	r = u->setup.run(u->setup.arg, command, &job->guest);
	if (r < 0)
		return r;
	r = stream_late_new(on_dropped, job, &job->late);
	if (r < 0)
		leave(job);
	return r;
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
	stream_set_ready(job->guest, on_ready, job);
	job->guest->ops->want(job->guest, STREAM_READ | STREAM_WRITE);
	*out = stream_late_stream(job->late);
	return 0;
}

int agent_upload_new(struct loop *loop, const struct agent_upload_setup *setup,
		     struct agent_upload **out)
{
	struct agent_upload *u = calloc(1, sizeof(*u));
	int r;

	if (!u)
		return -ENOMEM;
	u->loop = loop;
	u->setup = *setup;
	list_init(&u->jobs);
	r = find_program(u);
	if (r == 0 && access(u->program, R_OK) < 0)
		r = -errno;
	if (r < 0) {
		log_error("the agent for the guest, %s, cannot be read: %s", u->program,
			  strerror(-r));
		free(u);
		return r;
	}
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
