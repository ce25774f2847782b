/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/caller.h"

#include <errno.h>
#include <stdlib.h>

#define READ_SIZE 70000U

static void do_write(struct caller *c)
{
	while (c->written < c->to_write) {
		struct iovec iov = { (void *)(uintptr_t)(c->data + c->written),
				     c->to_write - c->written };
		ssize_t n = c->stream->ops->write(c->stream, &iov, 1);

		if (n < 0) {
			if (n != -EAGAIN)
				c->error = (int)n;
			return;
		}
		c->written += (size_t)n;
	}
}

static void do_read(struct caller *c)
{
	while (!c->does_not_read && !c->has_eof) {
		struct iovec iov;
		ssize_t n;

		if (c->got_len + READ_SIZE > c->got_capacity) {
			c->got_capacity = 2 * (c->got_len + READ_SIZE);
			c->got = realloc(c->got, c->got_capacity);
			if (!c->got)
				abort();
		}
		iov = (struct iovec){ c->got + c->got_len, READ_SIZE };
		n = c->stream->ops->read(c->stream, &iov, 1);
		if (n < 0) {
			if (n != -EAGAIN)
				c->error = (int)n;
			return;
		}
		c->got_len += (size_t)n;
		c->has_eof = n == 0;
	}
}

static void on_ready(void *arg)
{
	caller_go_on(arg);
}

void caller_go_on(struct caller *c)
{
	if (!c->stream)
		return;
	do_write(c);
	do_read(c);
	c->stream->ops->want(c->stream, (c->does_not_read || c->has_eof ? 0 : STREAM_READ) |
						(c->written < c->to_write ? STREAM_WRITE : 0));
}

void caller_init(struct caller *c, struct stream *stream)
{
	*c = (struct caller){ .stream = stream };
	stream_set_ready(stream, on_ready, c);
}

void caller_close(struct caller *c)
{
	c->stream->ops->close(c->stream);
	c->stream = NULL;
}

void caller_reset(struct caller *c)
{
	c->stream->ops->reset(c->stream);
	c->stream = NULL;
}

void caller_deinit(struct caller *c)
{
	if (c->stream)
		caller_reset(c);
	free(c->got);
	c->got = NULL;
}
