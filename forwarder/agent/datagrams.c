/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/agent/datagrams.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "forwarder/agent/counters.h"
#include "forwarder/agent/guest_dial.h"
#include "forwarder/rpc/flow_datagram.h"
#include "forwarder/rpc/http2.h"
#include "netstack/base/list.h"
#include "netstack/base/loop.h"

#define MAX_RECEIVED 64 /* of one socket before the others get their turn */
#define SWEEP_MS 30000U

struct datagrams {
	struct loop *loop;
	struct flows_config config;
	struct list all; /* datagram_flow.node, the longest unused first */
	unsigned int n;
	struct timer *sweep;
	uint8_t buffer[FLOW_DATAGRAM_MAX];
};

struct datagram_flow {
	struct list node; /* datagrams.all */
	struct datagrams *owner;
	struct flow_datagram *host;
	int fd;
	struct watch *watch;
	uint64_t used_ms;
	struct datagram_feed *feeding; /* is told when the flow ends */
};

static void end(struct datagram_flow *f, int status, const char *text)
{
	struct datagrams *d = f->owner;

	if (f->feeding)
		f->feeding->has_ended = true;
	list_unlink(&f->node);
	if (--d->n == 0)
		timer_stop(d->sweep);
	flow_datagram_free(f->host, status, text);
	watch_free(f->watch);
	close(f->fd);
	free(f);
}

static void used(struct datagram_flow *f)
{
	f->used_ms = loop_now_ms(f->owner->loop);
	list_unlink(&f->node);
	list_append(&f->owner->all, &f->node);
}

static struct datagram_flow *longest_unused(struct datagrams *d)
{
	return container_of(d->all.next, struct datagram_flow, node);
}

static void on_sweep(void *arg)
{
	struct datagrams *d = arg;
	uint64_t now = loop_now_ms(d->loop);

	while (d->n && now - longest_unused(d)->used_ms >= DATAGRAMS_IDLE_MS)
		end(longest_unused(d), GRPC_OK, "");
	if (d->n)
		timer_start(d->sweep, SWEEP_MS);
}

/* An error of the socket: of the datagram that was sent, or of an earlier one. */
static void on_error(struct datagram_flow *f, int error)
{
	if (error == ECONNREFUSED)
		flow_datagram_refuse(f->host);
	else
		f->owner->config.counters->datagrams_dropped++;
}

static void on_readable(void *arg, unsigned int events)
{
	struct datagram_flow *f = arg;
	struct datagrams *d = f->owner;

	(void)events;
	for (int i = 0; i < MAX_RECEIVED; i++) {
		ssize_t n = recv(f->fd, d->buffer, sizeof(d->buffer), 0);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0)
			on_error(f, errno);
		else if (flow_datagram_send(f->host, d->buffer, (size_t)n) < 0)
			d->config.counters->datagrams_dropped++;
		else
			used(f);
	}
}

static void on_receive(void *arg, const struct iovec *iov, int n)
{
	struct datagram_flow *f = arg;
	struct msghdr msg = {
		.msg_iov = (struct iovec *)(uintptr_t)iov,
		.msg_iovlen = (size_t)n,
	};

	used(f);
	if (sendmsg(f->fd, &msg, MSG_NOSIGNAL) >= 0)
		return;
	if (errno != ECONNREFUSED) {
		f->owner->config.counters->datagrams_dropped++;
		return;
	}
	/* the refusal of an earlier one: this one was not sent yet */
	on_error(f, errno);
	if (sendmsg(f->fd, &msg, MSG_NOSIGNAL) < 0)
		f->owner->config.counters->datagrams_dropped++;
}

static void on_refused(void *arg)
{
	(void)arg; /* is for the host to hear, and not from it */
}

static void on_gone(void *arg, int error)
{
	(void)error;
	end(arg, GRPC_OK, "");
}

static const struct flow_datagram_ops flow_ops = {
	.receive = on_receive,
	.refused = on_refused,
	.gone = on_gone,
};

static int open_socket(struct datagram_flow *f, const struct endpoint *guest)
{
	int r;

	f->fd = guest_dial_udp(guest);
	if (f->fd < 0)
		return f->fd;
	r = watch_new(f->owner->loop, f->fd, on_readable, f, &f->watch);
	if (r < 0) {
		close(f->fd);
		return r;
	}
	watch_want(f->watch, LOOP_READ);
	return 0;
}

static int refuse(struct datagrams *d, struct http2_stream *s, int error)
{
	d->config.counters->dials_failed++;
	http2_stream_refuse(s, GRPC_UNAVAILABLE, strerror(-error));
	return error;
}

int datagrams_begin(struct datagrams *d, struct http2_stream *s, enum flow_dialect dialect,
		    const struct endpoint *guest, struct datagram_flow **out)
{
	struct datagram_flow *f = calloc(1, sizeof(*f));
	struct flow_datagram_handler handler = { &flow_ops, f };
	int r;

	if (!f)
		return refuse(d, s, -ENOMEM);
	f->owner = d;
	r = open_socket(f, guest);
	if (r < 0) {
		free(f);
		return refuse(d, s, r);
	}
	r = flow_datagram_accept(s, dialect, &handler, &f->host);
	if (r < 0) {
		watch_free(f->watch);
		close(f->fd);
		free(f);
		return r;
	}
	if (d->n >= d->config.max / 2)
		end(longest_unused(d), GRPC_RESOURCE_EXHAUSTED, "too many flows");
	if (d->n++ == 0)
		timer_start(d->sweep, SWEEP_MS);
	list_init(&f->node);
	used(f);
	*out = f;
	return 0;
}

void datagrams_feed(void *feed, const uint8_t *data, size_t len)
{
	struct datagram_feed *to = feed;

	if (to->has_ended)
		return;
	to->flow->feeding = to;
	flow_datagram_feed(to->flow->host, data, len);
	if (!to->has_ended)
		to->flow->feeding = NULL;
}

int datagrams_new(struct loop *loop, const struct flows_config *config, struct datagrams **out)
{
	struct datagrams *d = calloc(1, sizeof(*d));
	int r = -ENOMEM;

	if (d)
		r = timer_new(loop, on_sweep, d, &d->sweep);
	if (r < 0) {
		free(d);
		return r;
	}
	d->loop = loop;
	d->config = *config;
	list_init(&d->all);
	*out = d;
	return 0;
}

void datagrams_free(struct datagrams *d)
{
	if (!d)
		return;
	while (d->n)
		end(longest_unused(d), GRPC_UNAVAILABLE, "");
	timer_free(d->sweep);
	free(d);
}

unsigned int datagrams_count(const struct datagrams *d)
{
	return d->n;
}
