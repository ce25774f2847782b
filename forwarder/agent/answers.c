/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/agent/answers.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "forwarder/agent/reports.h"
#include "forwarder/rpc/call.h"
#include "forwarder/rpc/http2.h"
#include "netstack/base/list.h"
#include "netstack/base/log.h"

struct answers {
	const struct reports *reports;
	struct list all; /* question.node */
	uint32_t raw_port;
};

struct question {
	struct list node; /* answers.all */
	const struct answers *owner;
	enum answer_kind kind;
	struct call *call;
};

static void end(struct question *q)
{
	list_unlink(&q->node);
	call_free(q->call);
	free(q);
}

static int answer_hello(const struct answers *a, const uint8_t *data, size_t len,
			struct message *out)
{
	struct rpc_hello host, hello = {
		.protocol = RPC_PROTOCOL,
		.features = RPC_FEATURE_EVENTS | RPC_FEATURE_FLOW | RPC_FEATURE_LISTEN |
			    RPC_FEATURE_LISTEN_UDP,
		.version = NETFWD_VERSION,
	};
	int r = message_parse_hello(data, len, &host);

	if (r < 0)
		return r;
	if (a->raw_port) {
		hello.features |= RPC_FEATURE_RAW | RPC_FEATURE_RAW_ACCEPTED;
		hello.raw_port = a->raw_port;
	}
	log_info("host: netfwd %s, protocol %u", host.version, host.protocol);
	return message_hello(&hello, out);
}

/* The clock is the guest's own business; how far it is off is told. */
static int answer_time(const uint8_t *data, size_t len, struct message *out)
{
	struct timespec now;
	int64_t drift_ms;
	int r;

	clock_gettime(CLOCK_REALTIME, &now);
	r = message_parse_guest_time(data, len, now.tv_sec * 1000 + now.tv_nsec / 1000000,
				     &drift_ms);
	return r < 0 ? r : message_guest_time(drift_ms, out);
}

static int answer(const struct question *q, const uint8_t *data, size_t len, struct message *out)
{
	switch (q->kind) {
	case ANSWER_HELLO:
		return answer_hello(q->owner, data, len, out);
	case ANSWER_INFO:
		return reports_info(q->owner->reports, out);
	case ANSWER_TIME:
		return answer_time(data, len, out);
	}
	return -EPROTO;
}

static void on_message(void *arg, const uint8_t *data, size_t len)
{
	struct question *q = arg;
	struct message m;
	int r = answer(q, data, len, &m);

	if (r == 0)
		r = call_send(q->call, &m);
	if (r == -EPROTO)
		call_finish(q->call, GRPC_INVALID_ARGUMENT, "not such a message");
	else if (r < 0)
		call_finish(q->call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
	end(q);
}

static void on_end(void *arg, int status, const char *text)
{
	struct question *q = arg;

	(void)status;
	(void)text;
	call_finish(q->call, GRPC_INVALID_ARGUMENT, "no message");
	end(q);
}

static void on_gone(void *arg, int error)
{
	(void)error;
	end(arg);
}

static const struct call_ops call_ops = { on_message, on_end, on_gone };

void answers_set_raw_port(struct answers *a, uint32_t port)
{
	a->raw_port = port;
}

void answers_request(struct answers *a, struct http2_stream *s, enum answer_kind kind)
{
	struct question *q = calloc(1, sizeof(*q));
	struct call_handler handler = { &call_ops, q };

	if (!q) {
		http2_stream_refuse(s, GRPC_RESOURCE_EXHAUSTED, "out of memory");
		return;
	}
	q->owner = a;
	q->kind = kind;
	list_append(&a->all, &q->node);
	if (call_accept(s, &handler, &q->call) < 0)
		end(q);
}

int answers_new(const struct reports *reports, struct answers **out)
{
	struct answers *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->reports = reports;
	list_init(&a->all);
	*out = a;
	return 0;
}

void answers_free(struct answers *a)
{
	if (!a)
		return;
	list_for_each(node, &a->all)
		end(container_of(node, struct question, node));
	free(a);
}
