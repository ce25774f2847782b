/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/agent/raw_flows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/agent/counters.h"
#include "forwarder/agent/guest_clients.h"
#include "forwarder/agent/guest_dial.h"
#include "forwarder/agent/raw_udp.h"
#include "forwarder/raw_header.h"
#include "forwarder/raw_stream.h"
#include "netstack/base/list.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/relay.h"
#include "netstack/stream.h"
#include "netstack/stream_fd.h"

struct raw_flows {
	struct loop *loop;
	struct flows_config config;
	struct list all; /* raw_flow.node */
	unsigned int n;
};

struct raw_flow {
	struct list node; /* raw_flows.all */
	struct raw_flows *flows;
	struct stream *host;  /* until it is joined */
	struct stream *guest; /* while it is being dialled */
	struct timer *timer;  /* for the header, and then for dialling and the answer */
	uint8_t header[RAW_HEADER_MAX];
	size_t n_header;
	uint8_t answer[RAW_ANSWER_SIZE];
	size_t n_answer; /* sent of it */
	int error;	 /* in the answer */
	struct relay *relay;
	struct raw_udp *udp;
	uint64_t client; /* the number of one whose datagrams it is for; or 0 */
};

static void destroy(struct raw_flow *f)
{
	list_unlink(&f->node);
	f->flows->n--;
	timer_free(f->timer);
	relay_free(f->relay);
	raw_udp_free(f->udp);
	if (f->host)
		f->host->ops->reset(f->host);
	if (f->guest)
		f->guest->ops->reset(f->guest);
	free(f);
}

/* --- once it is answered --- */

static void on_done(void *arg, const struct relay_result *result)
{
	struct raw_flow *f = arg;

	if (result->end != RELAY_END_CLOSED)
		log_debug("raw flow: %s", strerror(-result->error));
	f->relay = NULL;
	destroy(f);
}

static void on_udp_gone(void *arg)
{
	destroy(arg);
}

/* It is not ours any more. */
static void join_client(struct raw_flow *f, struct stream *host)
{
	const struct flows_config *c = &f->flows->config;
	struct guest_client *client = c->find_client(c->arg, f->client);

	if (client)
		(void)guest_client_raw(client, host);
	else
		host->ops->reset(host); /* it was just dropped */
	destroy(f);
}

static void join(struct raw_flow *f)
{
	struct stream *ends[2] = { NULL, f->guest };
	struct stream *host = f->host;
	int r;

	timer_free(f->timer);
	f->timer = NULL;
	f->host = NULL;
	if (f->udp) {
		raw_udp_start(f->udp, host);
		return;
	}
	if (f->client) {
		join_client(f, host);
		return;
	}
	r = raw_stream_new(host, &ends[0]);
	if (r == 0) {
		f->guest = NULL;
		r = relay_new(f->flows->loop, ends, on_done, f, &f->relay);
	}
	if (r < 0)
		destroy(f);
}

static void on_answering(void *arg)
{
	struct raw_flow *f = arg;

	while (f->n_answer < sizeof(f->answer)) {
		const struct iovec rest = { f->answer + f->n_answer,
					    sizeof(f->answer) - f->n_answer };
		ssize_t r = f->host->ops->write(f->host, &rest, 1);

		if (r == -EAGAIN) {
			f->host->ops->want(f->host, STREAM_WRITE);
			return;
		}
		if (r < 0) {
			destroy(f);
			return;
		}
		f->n_answer += (size_t)r;
	}
	if (f->error == 0) {
		join(f);
		return;
	}
	f->host->ops->close(f->host); /* so that the answer gets there */
	f->host = NULL;
	destroy(f);
}

static void answer(struct raw_flow *f, int error)
{
	if (error) {
		f->flows->config.counters->dials_failed++;
		log_debug("raw flow: dial: %s", strerror(-error));
	}
	f->error = error;
	raw_answer_encode(error, f->answer);
	stream_set_ready(f->host, on_answering, f);
	if (f->guest)
		stream_set_ready(f->guest, NULL, NULL);
	on_answering(f);
}

/* --- dialling --- */

/* The host may have given up meanwhile: then it ends both of its directions. */
static void on_dialling(void *arg)
{
	struct raw_flow *f = arg;
	ssize_t r = f->guest->ops->write(f->guest, NULL, 0);

	if (f->host->error)
		destroy(f);
	else if (r != -EAGAIN)
		answer(f, (int)r);
}

static int open_guest(const struct raw_flow *f, const struct rpc_open *open, bool *is_connecting)
{
	const struct flows_config *c = &f->flows->config;

	*is_connecting = false;
	if (open->accepted)
		return c->take_accepted(c->arg, open->accepted);
	return guest_dial_stream(&open->place, is_connecting);
}

static void dial_stream(struct raw_flow *f, const struct rpc_open *open)
{
	bool is_connecting;
	int fd = open_guest(f, open, &is_connecting);
	int r = fd < 0 ? fd : stream_fd_new(f->flows->loop, fd, is_connecting, &f->guest);

	if (r < 0 || !is_connecting) {
		answer(f, r);
		return;
	}
	stream_set_ready(f->host, on_dialling, f);
	f->host->ops->want(f->host, 0); /* its loss is told in any case */
	stream_set_ready(f->guest, on_dialling, f);
	f->guest->ops->want(f->guest, STREAM_WRITE);
}

static void find_client(struct raw_flow *f, uint64_t id)
{
	const struct flows_config *c = &f->flows->config;

	f->client = id;
	answer(f, c->find_client(c->arg, id) ? 0 : -ENOENT);
}

static void dial(struct raw_flow *f, const struct rpc_open *open)
{
	const struct raw_udp_owner owner = { on_udp_gone, f };

	timer_stop(f->timer); /* connecting is bounded by guest_dial.c */
	if (!open->is_udp) {
		dial_stream(f, open);
		return;
	}
	if (open->accepted) {
		find_client(f, open->accepted);
		return;
	}
	answer(f, raw_udp_new(f->flows->loop, &open->place.endpoint, f->flows->config.counters,
			      &owner, &f->udp));
}

/* --- the header --- */

/* How many bytes of it there are to be read before more is known; -EPROTO. */
static int header_size(const struct raw_flow *f)
{
	return f->n_header < RAW_HEAD_SIZE ? (int)RAW_HEAD_SIZE : raw_header_size(f->header);
}

/* 0 when it is complete; not a byte more is read. */
static ssize_t read_header(struct raw_flow *f)
{
	int size;

	for (;;) {
		struct iovec rest;
		ssize_t r;

		size = header_size(f);
		if (size < 0 || f->n_header == (size_t)size)
			break;
		rest = (struct iovec){ f->header + f->n_header, (size_t)size - f->n_header };
		r = f->host->ops->read(f->host, &rest, 1);
		if (r <= 0)
			return r == 0 ? -EPIPE : r;
		f->n_header += (size_t)r;
	}
	return size < 0 ? size : 0;
}

static void on_header(void *arg)
{
	struct raw_flow *f = arg;
	struct rpc_open open;
	ssize_t r = read_header(f);

	if (r == -EAGAIN) {
		f->host->ops->want(f->host, STREAM_READ);
		return;
	}
	if (r == 0)
		r = raw_header_decode(f->header, f->n_header, &open);
	if (r == 0) {
		dial(f, &open);
		return;
	}
	f->flows->config.counters->flows_refused++;
	log_limited(LOG_LEVEL_WARN, "a raw flow of the host is refused: %s",
		    r == -EPROTO ? "its header is none" : strerror((int)-r));
	destroy(f);
}

static void on_late(void *arg)
{
	struct raw_flow *f = arg;

	f->flows->config.counters->flows_refused++;
	log_limited(LOG_LEVEL_WARN, "a raw flow of the host is refused: its header is late");
	destroy(f);
}

void raw_flows_accept(struct raw_flows *flows, struct stream *host)
{
	struct raw_flow *f = flows->n < flows->config.max ? calloc(1, sizeof(*f)) : NULL;

	if (!f || timer_new(flows->loop, on_late, f, &f->timer) < 0) {
		flows->config.counters->flows_refused++;
		free(f);
		host->ops->reset(host);
		return;
	}
	flows->config.counters->flows++;
	f->flows = flows;
	f->host = host;
	list_append(&flows->all, &f->node);
	flows->n++;
	timer_start(f->timer, RAW_FLOWS_PATIENCE_MS);
	stream_set_ready(host, on_header, f);
	on_header(f);
}

int raw_flows_new(struct loop *loop, const struct flows_config *config, struct raw_flows **out)
{
	struct raw_flows *flows = calloc(1, sizeof(*flows));

	if (!flows)
		return -ENOMEM;
	flows->loop = loop;
	flows->config = *config;
	list_init(&flows->all);
	*out = flows;
	return 0;
}

void raw_flows_free(struct raw_flows *flows)
{
	if (!flows)
		return;
	list_for_each(node, &flows->all)
		destroy(container_of(node, struct raw_flow, node));
	free(flows);
}
