/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/ssh/ssh_stream.h"

#include <errno.h>
#include <stdlib.h>

#include "netstack/base/iov.h"

#define PEEK_REFS 64

static const struct stream_ops ssh_stream_ops;

static struct ssh_stream *from_stream(struct stream *s)
{
	return container_of(s, struct ssh_stream, base);
}

struct ssh_stream *ssh_stream_new(void)
{
	struct ssh_stream *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->base.ops = &ssh_stream_ops;
	list_init(&s->node);
	return s;
}

void ssh_stream_attach(struct ssh_stream *s, struct ssh_channel *channel,
		       struct ssh_mailbox *worker, struct ssh_mailbox *loop)
{
	s->channel = channel;
	s->worker = worker;
	s->loop = loop;
	channel->user = s;
	if (s->is_shut)
		ssh_channel_shut(channel);
	ssh_mailbox_post(worker, &channel->to_worker);
}

static void let_go(struct ssh_stream *s, enum ssh_leave how)
{
	if (!s->channel)
		return;
	ssh_mailbox_void(s->loop, &s->channel->to_loop);
	ssh_channel_leave(s->channel, how);
	ssh_mailbox_post(s->worker, &s->channel->to_worker);
	ssh_channel_release(s->channel);
	s->channel = NULL;
}

void ssh_stream_detach(struct ssh_stream *s, int error)
{
	let_go(s, SSH_LEAVE_RESET);
	s->base.error = error;
	if (error && s->base.ready)
		s->base.ready(s->base.ready_arg);
}

void ssh_stream_notify(struct ssh_stream *s)
{
	if (s->base.ready)
		s->base.ready(s->base.ready_arg);
}

/* What can be told without a channel. */
static int not_attached(const struct ssh_stream *s)
{
	return s->base.error ? s->base.error : -EAGAIN;
}

static ssize_t ssh_stream_peek(struct stream *base, struct iovec *iov, int n, int *n_filled)
{
	struct ssh_stream *s = from_stream(base);

	*n_filled = 0;
	if (!s->channel)
		return not_attached(s);
	return ssh_channel_peek(s->channel, iov, n, n_filled);
}

static void ssh_stream_consume(struct stream *base, size_t len)
{
	struct ssh_stream *s = from_stream(base);

	unsigned int tell = ssh_channel_consume(s->channel, len);

	if (s->moved)
		s->moved(s, len);
	if (tell & SSH_TELL_WORKER)
		ssh_mailbox_post(s->worker, &s->channel->to_worker);
	if (tell & SSH_TELL_LOOP)
		ssh_mailbox_post(s->loop, &s->channel->to_loop);
}

static ssize_t ssh_stream_read(struct stream *base, const struct iovec *iov, int n)
{
	struct iovec from[PEEK_REFS];
	int n_from;
	ssize_t r = ssh_stream_peek(base, from, PEEK_REFS, &n_from);

	if (r <= 0)
		return r;
	r = (ssize_t)iov_copy(iov, n, from, n_from);
	ssh_stream_consume(base, (size_t)r);
	return r;
}

static ssize_t ssh_stream_reserve(struct stream *base, struct iovec *iov, int n, int *n_filled)
{
	struct ssh_stream *s = from_stream(base);
	struct iovec pieces[2];
	ssize_t r;

	*n_filled = 0;
	if (!s->channel)
		return not_attached(s);
	r = ssh_channel_reserve(s->channel, pieces, n_filled);
	if (r < 0)
		return r;
	if (*n_filled > n) {
		*n_filled = n;
		r = (ssize_t)pieces[0].iov_len;
	}
	for (int i = 0; i < *n_filled; i++)
		iov[i] = pieces[i];
	return r;
}

static int ssh_stream_commit(struct stream *base, size_t len)
{
	struct ssh_stream *s = from_stream(base);

	if (len == 0)
		return 0;
	if (s->moved)
		s->moved(s, len);
	ssh_channel_commit(s->channel, len);
	ssh_mailbox_post(s->worker, &s->channel->to_worker);
	return 0;
}

static ssize_t ssh_stream_write(struct stream *base, const struct iovec *iov, int n)
{
	struct ssh_stream *s = from_stream(base);
	struct iovec to[2];
	int n_to;
	ssize_t r;

	if (n == 0)
		return s->channel ? ssh_channel_status(s->channel) : not_attached(s);
	r = ssh_stream_reserve(base, to, 2, &n_to);
	if (r < 0)
		return r;
	r = (ssize_t)iov_copy(to, n_to, iov, n);
	(void)ssh_stream_commit(base, (size_t)r);
	return r;
}

/* The channel tells of whatever there is, in either direction: what is new is seen
 * with the next call. */
static void ssh_stream_want(struct stream *base, unsigned int events)
{
	(void)base;
	(void)events;
}

static int ssh_stream_shutdown(struct stream *base)
{
	struct ssh_stream *s = from_stream(base);

	s->is_shut = true;
	if (!s->channel)
		return 0;
	ssh_channel_shut(s->channel);
	ssh_mailbox_post(s->worker, &s->channel->to_worker);
	return 0;
}

static void end(struct ssh_stream *s, enum ssh_leave how)
{
	let_go(s, how);
	list_unlink(&s->node);
	if (s->ended)
		s->ended(s);
	free(s);
}

static void ssh_stream_close(struct stream *base)
{
	end(from_stream(base), SSH_LEAVE_CLOSED);
}

static void ssh_stream_reset(struct stream *base)
{
	end(from_stream(base), SSH_LEAVE_RESET);
}

static const struct stream_ops ssh_stream_ops = {
	.read = ssh_stream_read,
	.write = ssh_stream_write,
	.peek = ssh_stream_peek,
	.consume = ssh_stream_consume,
	.reserve = ssh_stream_reserve,
	.commit = ssh_stream_commit,
	.want = ssh_stream_want,
	.shutdown = ssh_stream_shutdown,
	.close = ssh_stream_close,
	.reset = ssh_stream_reset,
};
