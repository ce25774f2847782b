/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/raw_call.h"

#include <errno.h>
#include <stdlib.h>

#include "forwarder/raw_header.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/stream.h"

struct raw_call {
	struct stream *agent;
	struct raw_call_owner owner;
	struct timer *timer;
	uint8_t header[RAW_HEADER_MAX];
	size_t header_len, n_sent;
	uint8_t answer[RAW_ANSWER_SIZE];
	size_t n_read;
};

void raw_call_free(struct raw_call *c)
{
	if (!c)
		return;
	if (c->agent)
		c->agent->ops->reset(c->agent);
	timer_free(c->timer);
	free(c);
}

static void finish(struct raw_call *c, int error)
{
	struct stream *agent = error ? NULL : c->agent;
	struct raw_call_owner owner = c->owner;

	if (agent) {
		stream_set_ready(agent, NULL, NULL);
		agent->ops->want(agent, 0);
		c->agent = NULL;
	}
	raw_call_free(c);
	owner.answered(owner.arg, error, agent);
}

/* 0 when all is sent. */
static ssize_t send_header(struct raw_call *c)
{
	while (c->n_sent < c->header_len) {
		const struct iovec rest = { c->header + c->n_sent, c->header_len - c->n_sent };
		ssize_t r = c->agent->ops->write(c->agent, &rest, 1);

		if (r < 0)
			return r;
		c->n_sent += (size_t)r;
	}
	return 0;
}

/* 0 when it is complete; not a byte more is read. */
static ssize_t read_answer(struct raw_call *c)
{
	while (c->n_read < sizeof(c->answer)) {
		const struct iovec rest = { c->answer + c->n_read, sizeof(c->answer) - c->n_read };
		ssize_t r = c->agent->ops->read(c->agent, &rest, 1);

		if (r <= 0)
			return r == 0 ? -EPIPE : r;
		c->n_read += (size_t)r;
	}
	return 0;
}

/* What the agent says is the guest's word; whatever else goes wrong is the way's. */
static void on_ready(void *arg)
{
	struct raw_call *c = arg;
	ssize_t r = send_header(c);
	int error = 0;

	if (r == 0)
		r = read_answer(c);
	if (r == -EAGAIN) {
		c->agent->ops->want(c->agent,
				    c->n_sent < c->header_len ? STREAM_WRITE : STREAM_READ);
		return;
	}
	if (r == 0)
		r = raw_answer_decode(c->answer, &error);
	if (r == -EPROTO)
		log_limited(LOG_LEVEL_WARN, "agent: its answer to a raw flow is none");
	finish(c, r < 0 ? -ENOTCONN : error);
}

static void on_timer(void *arg)
{
	finish(arg, -ENOTCONN);
}

int raw_call_new(struct loop *loop, struct stream *agent, const struct rpc_open *open,
		 const struct raw_call_owner *owner, struct raw_call **out)
{
	struct raw_call *c = calloc(1, sizeof(*c));
	int r = c ? timer_new(loop, on_timer, c, &c->timer) : -ENOMEM;

	if (r < 0) {
		free(c);
		agent->ops->reset(agent);
		return r;
	}
	c->agent = agent;
	c->owner = *owner;
	c->header_len = raw_header_encode(open, c->header);
	stream_set_ready(agent, on_ready, c);
	agent->ops->want(agent, STREAM_WRITE);
	timer_start(c->timer, RAW_CALL_PATIENCE_MS);
	*out = c;
	return 0;
}
