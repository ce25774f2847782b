/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/dns_tcp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "netstack/addr.h"
#include "netstack/base/bytes.h"
#include "netstack/base/list.h"
#include "netstack/base/loop.h"
#include "netstack/byte_queue.h"
#include "netstack/dial.h"
#include "netstack/dns.h"
#include "netstack/stream.h"

#define LENGTH_SIZE 2U /* in front of each message (RFC 1035, section 4.2.2) */
/* What waits for a reader in either direction; one message more may come on top. */
#define MAX_QUEUED 65536U
#define READ_SIZE 16384U

struct session {
	struct list node; /* dns_tcp.sessions, the one silent for longest first */
	struct dns_tcp *dns;
	struct stream *guest, *resolver; /* resolver: NULL until it is asked */
	struct byte_queue to_guest, to_resolver;
	uint64_t used_ms;
	bool has_guest_ended;	   /* it will ask no more */
	bool is_told_resolver;	   /* of that */
	bool has_moved;		   /* something, in this pass */
	struct loop_deferred pass; /* the first, and as long as something moves */
	/* a query of the guest, as far as it has come */
	uint8_t query[LENGTH_SIZE + DNS_TCP_MAX_QUERY];
	size_t query_len;
	/* of the resolver's message that is on its way: what is still to come */
	uint8_t length[LENGTH_SIZE];
	size_t length_len, left;
};

struct dns_tcp {
	struct loop *loop;
	struct dns_tcp_config config;
	struct list sessions; /* session.node */
	unsigned int n_sessions;
	struct timer *sweep;
	struct dns_tcp_counters counters;
};

static void end(struct session *s, bool in_order)
{
	loop_cancel_deferred(&s->pass);
	if (in_order)
		s->guest->ops->close(s->guest);
	else
		s->guest->ops->reset(s->guest);
	if (s->resolver)
		s->resolver->ops->close(s->resolver);
	byte_queue_clear(&s->to_guest);
	byte_queue_clear(&s->to_resolver);
	list_unlink(&s->node);
	s->dns->n_sessions--;
	free(s);
}

/* --- a query -------------------------------------------------------------- */

static int reply(struct session *s, const struct dns_question *q, const struct dns_answer *answer)
{
	uint8_t message[LENGTH_SIZE + DNS_REPLY_MAX];
	size_t len = dns_write_reply(s->query + LENGTH_SIZE, q, answer, message + LENGTH_SIZE);
	struct iovec iov = { message, LENGTH_SIZE + len };

	put_be16(message, (uint16_t)len);
	return byte_queue_append(&s->to_guest, &iov, 1, 0);
}

static void on_ready(void *arg);

/* -ENOENT: the host has no resolver. */
static int open_resolver(struct session *s)
{
	struct endpoint to;
	int r;

	if (s->resolver)
		return 0;
	if (!s->dns->config.resolver(s->dns->config.arg, &to))
		return -ENOENT;
	r = dial_tcp(s->dns->loop, &to, &s->resolver);
	if (r == 0)
		stream_set_ready(s->resolver, on_ready, s);
	return r;
}

/* A whole one is in s->query. */
static int answer_query(struct session *s, size_t len)
{
	struct dns_tcp *d = s->dns;
	struct dns_answer answer = { .rcode = DNS_RCODE_OK };
	struct iovec iov = { s->query, LENGTH_SIZE + len };
	struct dns_question q;
	int r;

	if (dns_parse_query(s->query + LENGTH_SIZE, len, &q) < 0) {
		d->counters.bad_queries++;
		return -EPROTO;
	}
	if (d->config.know(d->config.arg, &q, &answer))
		return reply(s, &q, &answer);
	r = open_resolver(s);
	if (r == 0)
		return byte_queue_append(&s->to_resolver, &iov, 1, 0);
	d->counters.no_resolver++;
	answer = (struct dns_answer){ .rcode = DNS_RCODE_SERVFAIL };
	return reply(s, &q, &answer);
}

/* How much of the query is to be read next; 0: it is there. */
static size_t query_missing(const struct session *s)
{
	if (s->query_len < LENGTH_SIZE)
		return LENGTH_SIZE - s->query_len;
	return LENGTH_SIZE + get_be16(s->query) - s->query_len;
}

/* --- bytes ---------------------------------------------------------------- */

/* 0 when there is nothing more to do now, -errno when it is over. */
static int take_queries(struct session *s)
{
	/* an answer of ours goes between two of the resolver's */
	while (s->left == 0 && s->length_len == 0 && s->to_guest.len < MAX_QUEUED &&
	       s->to_resolver.len < MAX_QUEUED && !s->has_guest_ended) {
		size_t missing = query_missing(s);
		struct iovec iov = { s->query + s->query_len, missing };
		ssize_t n;
		int r;

		if (missing == 0) {
			r = answer_query(s, s->query_len - LENGTH_SIZE);
			s->query_len = 0;
			s->has_moved = true;
			if (r < 0)
				return r;
			continue;
		}
		if (s->query_len + missing > sizeof(s->query)) {
			s->dns->counters.bad_queries++;
			return -EMSGSIZE;
		}
		n = s->guest->ops->read(s->guest, &iov, 1);
		if (n < 0)
			return n == -EAGAIN ? 0 : (int)n;
		s->has_moved = true;
		s->has_guest_ended = n == 0;
		s->query_len += (size_t)n;
	}
	return 0;
}

/* Counts the resolver's messages, so that it is known where one ends. */
static void follow_messages(struct session *s, const uint8_t *bytes, size_t len)
{
	while (len) {
		size_t n = len < s->left ? len : s->left;

		s->left -= n;
		bytes += n;
		len -= n;
		if (len == 0)
			break;
		s->length[s->length_len++] = *bytes++;
		len--;
		if (s->length_len == LENGTH_SIZE) {
			s->left = get_be16(s->length);
			s->length_len = 0;
		}
	}
}

static int take_answers(struct session *s)
{
	static uint8_t buffer[READ_SIZE];

	while (s->resolver && s->to_guest.len < MAX_QUEUED) {
		struct iovec iov = { buffer, sizeof(buffer) };
		ssize_t n = s->resolver->ops->read(s->resolver, &iov, 1);
		int r;

		if (n < 0)
			return n == -EAGAIN ? 0 : (int)n;
		if (n == 0)
			return -ENODATA; /* in order, but it is over */
		s->has_moved = true;
		follow_messages(s, buffer, (size_t)n);
		iov.iov_len = (size_t)n;
		r = byte_queue_append(&s->to_guest, &iov, 1, 0);
		if (r < 0)
			return r;
	}
	return 0;
}

static int drain(struct session *s, struct byte_queue *queue, struct stream *to)
{
	while (to && queue->len) {
		struct iovec iov[16];
		int n_pieces = byte_queue_peek(queue, iov, 16);
		ssize_t n = to->ops->write(to, iov, n_pieces);

		if (n < 0)
			return n == -EAGAIN ? 0 : (int)n;
		s->has_moved = true;
		byte_queue_consume(queue, (size_t)n);
	}
	return 0;
}

/* The guest's half-close is passed on, behind its last query. */
static int tell_end(struct session *s)
{
	if (!s->has_guest_ended || !s->resolver || s->to_resolver.len || s->is_told_resolver)
		return 0;
	s->is_told_resolver = true;
	return s->resolver->ops->shutdown(s->resolver);
}

static int pump(struct session *s)
{
	int r = take_queries(s);

	if (r == 0)
		r = drain(s, &s->to_resolver, s->resolver);
	if (r == 0)
		r = tell_end(s);
	if (r == 0)
		r = take_answers(s);
	return r < 0 ? r : drain(s, &s->to_guest, s->guest);
}

static void want(struct session *s)
{
	unsigned int guest = s->to_guest.len ? STREAM_WRITE : 0;

	if (s->left == 0 && s->length_len == 0 && s->to_guest.len < MAX_QUEUED &&
	    s->to_resolver.len < MAX_QUEUED && !s->has_guest_ended)
		guest |= STREAM_READ;
	s->guest->ops->want(s->guest, guest);
	if (s->resolver)
		s->resolver->ops->want(s->resolver,
				       (s->to_resolver.len ? STREAM_WRITE : 0) |
					       (s->to_guest.len < MAX_QUEUED ? STREAM_READ : 0));
}

/* What was said before it broke is still delivered. */
static void finish(struct session *s)
{
	bool is_delivered = drain(s, &s->to_guest, s->guest) == 0 && s->to_guest.len == 0;

	end(s, is_delivered && !s->guest->error);
}

static void on_ready(void *arg)
{
	struct session *s = arg;

	s->has_moved = false;
	if (s->guest->error || pump(s) < 0 ||
	    (s->has_guest_ended && !s->resolver && s->to_guest.len == 0)) {
		finish(s);
		return;
	}
	if (s->has_moved) {
		s->used_ms = loop_now_ms(s->dns->loop);
		list_unlink(&s->node);
		list_append(&s->dns->sessions, &s->node);
		loop_defer(s->dns->loop, &s->pass); /* nobody calls before -EAGAIN was said */
	}
	want(s);
}

/* --- life ----------------------------------------------------------------- */

static void on_sweep(void *arg)
{
	struct dns_tcp *d = arg;
	uint64_t now = loop_now_ms(d->loop);

	list_for_each(node, &d->sessions) {
		struct session *s = container_of(node, struct session, node);

		if (now - s->used_ms < DNS_TCP_IDLE_MS) {
			timer_start(d->sweep, DNS_TCP_IDLE_MS - (now - s->used_ms));
			return;
		}
		d->counters.timed_out++;
		end(s, s->to_guest.len == 0);
	}
}

void dns_tcp_serve(struct dns_tcp *d, struct stream *guest)
{
	struct session *s = calloc(1, sizeof(*s));

	if (!s) {
		guest->ops->reset(guest);
		return;
	}
	if (d->n_sessions == DNS_TCP_MAX) {
		d->counters.evicted++;
		end(container_of(d->sessions.next, struct session, node), false);
	}
	s->dns = d;
	s->guest = guest;
	byte_queue_init(&s->to_guest);
	byte_queue_init(&s->to_resolver);
	list_append(&d->sessions, &s->node);
	d->n_sessions++;
	s->used_ms = loop_now_ms(d->loop);
	stream_set_ready(guest, on_ready, s);
	loop_deferred_init(&s->pass, on_ready, s);
	loop_defer(d->loop, &s->pass);
	if (!timer_is_running(d->sweep))
		timer_start(d->sweep, DNS_TCP_IDLE_MS);
}

const struct dns_tcp_counters *dns_tcp_counters(const struct dns_tcp *d)
{
	return &d->counters;
}

int dns_tcp_new(struct loop *loop, const struct dns_tcp_config *config, struct dns_tcp **out)
{
	struct dns_tcp *d = calloc(1, sizeof(*d));
	int r = -ENOMEM;

	if (d)
		r = timer_new(loop, on_sweep, d, &d->sweep);
	if (r < 0) {
		free(d);
		return r;
	}
	d->loop = loop;
	d->config = *config;
	list_init(&d->sessions);
	*out = d;
	return 0;
}

void dns_tcp_free(struct dns_tcp *d)
{
	if (!d)
		return;
	while (!list_empty(&d->sessions))
		end(container_of(d->sessions.next, struct session, node), false);
	timer_free(d->sweep);
	free(d);
}
