/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/shell_job.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#define LINE_SIZE 256
#define READ_SIZE 2048

struct shell_job {
	struct shell_job_setup setup;
	struct stream *guest;
	size_t sent;
	bool is_shut;
	char text[LINE_SIZE];
	size_t n_text;
};

void shell_job_cancel(struct shell_job *job)
{
	if (!job)
		return;
	stream_set_ready(job->guest, NULL, NULL);
	job->guest->ops->reset(job->guest);
	free(job);
}

/* 0 when all is sent, and the end of it. */
static ssize_t send_some(struct shell_job *job)
{
	const uint8_t *input = job->setup.input;
	struct stream *guest = job->guest;
	ssize_t r;

	while (job->sent < job->setup.input_len) {
		const struct iovec iov = { (void *)(uintptr_t)(input + job->sent),
					   job->setup.input_len - job->sent };

		r = guest->ops->write(guest, &iov, 1);
		if (r < 0)
			return r;
		job->sent += (size_t)r;
	}
	r = guest->ops->write(guest, NULL, 0); /* whether it is connected */
	if (r < 0 || job->is_shut)
		return r;
	job->is_shut = true;
	return guest->ops->shutdown(guest);
}

static void end_line(struct shell_job *job)
{
	job->text[job->n_text] = '\0';
	if (job->n_text > 0)
		job->setup.line(job->setup.arg, job->text);
	job->n_text = 0;
}

/* The guest's bytes are not to play with a terminal. */
static void take_text(struct shell_job *job, const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (bytes[i] == '\n') {
			end_line(job);
			continue;
		}
		if (job->n_text == LINE_SIZE - 1)
			end_line(job);
		job->text[job->n_text] = bytes[i];
		if (bytes[i] < ' ' || bytes[i] > '~')
			job->text[job->n_text] = '?';
		job->n_text++;
	}
}

static void end(struct shell_job *job, int error)
{
	const struct shell_job_setup setup = job->setup;

	end_line(job);
	shell_job_cancel(job);
	setup.done(setup.arg, error);
}

static void on_ready(void *arg)
{
	struct shell_job *job = arg;
	char bytes[READ_SIZE];
	struct iovec iov = { bytes, sizeof(bytes) };
	ssize_t sent = send_some(job), r;

	while ((r = job->guest->ops->read(job->guest, &iov, 1)) > 0)
		take_text(job, bytes, (size_t)r);
	if (r == 0)
		end(job, 0); /* of what it was to read, some may not have been wanted */
	else if (r != -EAGAIN)
		end(job, (int)r);
	else if (sent < 0 && sent != -EAGAIN)
		end(job, (int)sent);
	else
		job->guest->ops->want(job->guest,
				      sent < 0 ? STREAM_READ | STREAM_WRITE : STREAM_READ);
}

int shell_job_start(const struct shell_job_setup *setup, struct shell_job **out)
{
	struct shell_job *job = calloc(1, sizeof(*job));
	int r;

	if (!job)
		return -ENOMEM;
	job->setup = *setup;
	r = setup->run(setup->run_arg, setup->command, &job->guest);
	if (r < 0) {
		free(job);
		return r;
	}
	stream_set_ready(job->guest, on_ready, job);
	job->guest->ops->want(job->guest, STREAM_READ | STREAM_WRITE);
	*out = job;
	return 0;
}
