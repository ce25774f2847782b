/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/agent/flows.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "forwarder/agent/counters.h"
#include "forwarder/agent/datagrams.h"
#include "forwarder/agent/guest_clients.h"
#include "forwarder/agent/guest_dial.h"
#include "forwarder/rpc/grpc_message.h"
#include "forwarder/rpc/http2.h"
#include "netstack/base/list.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/relay.h"
#include "netstack/stream.h"
#include "netstack/stream_fd.h"

#define FIRST_MAX 65536U /* Lima's first message has no data, others' might */

struct flows {
	struct loop *loop;
	struct flows_config config;
	struct datagrams *datagrams;
	struct list all; /* flow.node */
	unsigned int n;
};

/* From the call's beginning to the end of its relay; datagrams leave after the
 * first message. */
struct flow {
	struct list node; /* flows.all */
	struct flows *flows;
	enum flow_dialect dialect;
	/* until the first message has come */
	struct http2_stream *http2;
	struct grpc_reader reader;
	/* while dialling */
	struct flow_stream *host;
	struct stream *guest;
	/* then */
	struct relay *relay;
};

static const struct http2_stream_ops first_ops;

static void destroy(struct flow *f)
{
	list_unlink(&f->node);
	f->flows->n--;
	grpc_reader_deinit(&f->reader);
	free(f);
}

/* --- dialling --- */

static void on_done(void *arg, const struct relay_result *result)
{
	struct flow *f = arg;

	if (result->end != RELAY_END_CLOSED)
		log_debug("flow: %s", strerror(-result->error));
	destroy(f);
}

static void join(struct flow *f)
{
	struct stream *ends[2] = { flow_stream_base(f->host), f->guest };

	flow_stream_answer(f->host, 0);
	if (relay_new(f->flows->loop, ends, on_done, f, &f->relay) < 0)
		destroy(f);
}

static void fail(struct flow *f, int error)
{
	f->flows->config.counters->dials_failed++;
	log_debug("flow: dial: %s", strerror(-error));
	flow_stream_answer(f->host, error);
	if (f->guest)
		f->guest->ops->reset(f->guest);
	destroy(f);
}

/* The host may have given up meanwhile. */
static void on_dialling(void *arg)
{
	struct flow *f = arg;
	ssize_t r = f->guest->ops->write(f->guest, NULL, 0);
	struct stream *host = flow_stream_base(f->host);

	if (host->error) {
		host->ops->reset(host);
		f->guest->ops->reset(f->guest);
		destroy(f);
	} else if (r == 0) {
		join(f);
	} else if (r != -EAGAIN) {
		fail(f, (int)r);
	}
}

static int open_guest(struct flow *f, const struct rpc_open *open, bool *is_connecting)
{
	struct flows_config *c = &f->flows->config;

	*is_connecting = false;
	if (open->accepted)
		return c->take_accepted(c->arg, open->accepted);
	return guest_dial_stream(&open->place, is_connecting);
}

static void dial(struct flow *f, const struct rpc_open *open)
{
	bool is_connecting;
	int fd = open_guest(f, open, &is_connecting);
	int r = fd < 0 ? fd : stream_fd_new(f->flows->loop, fd, is_connecting, &f->guest);

	if (r < 0) {
		fail(f, r);
		return;
	}
	if (!is_connecting) {
		join(f);
		return;
	}
	stream_set_ready(flow_stream_base(f->host), on_dialling, f);
	stream_set_ready(f->guest, on_dialling, f);
	f->guest->ops->want(f->guest, STREAM_WRITE);
}

/* --- the first message --- */

/* What has come with it, and behind it. */
struct rest {
	const uint8_t *data;
	size_t len;
};

static void refuse(struct flow *f, int status, const char *text)
{
	f->flows->config.counters->flows_refused++;
	http2_stream_finish(f->http2, status, text);
	http2_stream_leave(f->http2);
	destroy(f);
}

typedef void feed_fn(void *to, const uint8_t *data, size_t len);

/* GuestService's first message may have data: it is read again for that. */
static void feed(struct flow *f, feed_fn *fn, void *to, const struct rest *rest)
{
	uint8_t prefix[GRPC_PREFIX_SIZE];

	if (f->dialect == FLOW_GUEST_SERVICE) {
		grpc_prefix(prefix, f->reader.rest_len);
		fn(to, prefix, sizeof(prefix));
		fn(to, f->reader.rest, f->reader.rest_len);
	}
	if (rest->len)
		fn(to, rest->data, rest->len);
}

static void feed_stream(void *to, const uint8_t *data, size_t len)
{
	flow_stream_feed(to, data, len);
}

static void begin_stream(struct flow *f, const struct rpc_open *open, const struct rest *rest)
{
	int r = flow_stream_accept(f->flows->loop, f->http2, f->dialect, &f->host);

	f->http2 = NULL;
	if (r < 0) {
		destroy(f);
		return;
	}
	feed(f, feed_stream, f->host, rest);
	dial(f, open);
}

/* In a datagram's first moments nothing of it is ours any more. */
static void begin_datagrams(struct flow *f, const struct rpc_open *open, const struct rest *rest)
{
	struct datagram_flow *d;

	if (datagrams_begin(f->flows->datagrams, f->http2, f->dialect, &open->place.endpoint, &d) ==
	    0) {
		struct datagram_feed to = { d, false };

		feed(f, datagrams_feed, &to, rest);
	}
	destroy(f);
}

/* For a client in the guest that waits for it. */
static void begin_client(struct flow *f, const struct rpc_open *open, const struct rest *rest)
{
	struct flows_config *c = &f->flows->config;
	struct guest_client *client = c->find_client(c->arg, open->accepted);

	if (!client) {
		http2_stream_consume(f->http2, rest->len);
		refuse(f, GRPC_UNAVAILABLE, "no such client");
		return;
	}
	if (guest_client_call(client, f->http2) == 0 && rest->len)
		guest_client_feed(client, rest->data, rest->len);
	destroy(f);
}

static int parse_open(struct flow *f, struct rpc_open *open)
{
	struct rpc_flow_message m;
	struct guest_open guest;
	int r;

	*open = (struct rpc_open){ 0 };
	if (f->dialect == FLOW_GUEST_SERVICE) {
		r = message_parse_guest_open(f->reader.rest, f->reader.rest_len, &guest);
		if (r == 0) {
			open->is_udp = guest.is_udp;
			open->place.endpoint = guest.guest;
		}
		return r;
	}
	r = message_parse_flow(f->reader.rest, f->reader.rest_len, &m);
	if (r == 0)
		*open = m.open;
	return r == 0 && m.kind != RPC_FLOW_OPEN ? -EPROTO : r;
}

static void on_first(void *arg, const uint8_t *data, size_t len)
{
	struct flow *f = arg;
	struct rest rest = { data, len };
	int found = grpc_reader_next(&f->reader, &rest.data, &rest.len);
	struct rpc_open open;

	/* the others' bytes are counted when they are read again */
	if (f->dialect == FLOW_NETFWD)
		http2_stream_consume(f->http2, len - rest.len);
	if (found == GRPC_NEEDS_MORE)
		return;
	if (found < 0 || parse_open(f, &open) < 0) {
		http2_stream_consume(f->http2, f->dialect == FLOW_NETFWD ? rest.len : len);
		refuse(f, GRPC_INVALID_ARGUMENT, "the first message opens no flow");
		return;
	}
	if (open.is_udp && open.accepted)
		begin_client(f, &open, &rest);
	else if (open.is_udp)
		begin_datagrams(f, &open, &rest);
	else
		begin_stream(f, &open, &rest);
}

static void on_nothing(void *arg)
{
	(void)arg;
}

static void on_first_end(void *arg, int status, const char *text)
{
	(void)status;
	(void)text;
	refuse(arg, GRPC_INVALID_ARGUMENT, "no message");
}

static void on_first_closed(void *arg, int error)
{
	(void)error;
	destroy(arg);
}

static const struct http2_stream_ops first_ops = {
	.body = on_first,
	.settle = on_nothing,
	.writable = on_nothing,
	.end = on_first_end,
	.closed = on_first_closed,
};

void flows_request(struct flows *flows, struct http2_stream *s, enum flow_dialect dialect)
{
	static const struct grpc_limits limits = { .message_max = FIRST_MAX,
						   .rest_max = FIRST_MAX };
	struct flow *f = NULL;
	struct http2_handler handler = { &first_ops, NULL };

	if (flows->n + datagrams_count(flows->datagrams) < flows->config.max)
		f = calloc(1, sizeof(*f));
	if (!f) {
		flows->config.counters->flows_refused++;
		http2_stream_refuse(s, GRPC_RESOURCE_EXHAUSTED, "too many flows");
		return;
	}
	flows->config.counters->flows++;
	f->flows = flows;
	f->dialect = dialect;
	f->http2 = s;
	grpc_reader_init(&f->reader, &limits);
	list_append(&flows->all, &f->node);
	flows->n++;
	handler.arg = f;
	http2_stream_own(s, &handler);
}

int flows_new(struct loop *loop, const struct flows_config *config, struct flows **out)
{
	struct flows *flows = calloc(1, sizeof(*flows));

	if (!flows)
		return -ENOMEM;
	flows->loop = loop;
	flows->config = *config;
	list_init(&flows->all);
	if (datagrams_new(loop, config, &flows->datagrams) < 0) {
		free(flows);
		return -ENOMEM;
	}
	*out = flows;
	return 0;
}

/* The calls are closed already, but what has not heard of it yet is here. */
void flows_free(struct flows *flows)
{
	if (!flows)
		return;
	list_for_each(node, &flows->all) {
		struct flow *f = container_of(node, struct flow, node);

		relay_free(f->relay);
		destroy(f);
	}
	datagrams_free(flows->datagrams);
	free(flows);
}
