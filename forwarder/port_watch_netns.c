/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/port_watch_netns.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "forwarder/sock_diag.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/netns.h"

#define GROUP(number) (1U << ((number)-1))
/* The kernel fills answers up to 32 KiB. */
#define BUFFER_SIZE 32768
/* A listener seldom comes alone. */
#define FAST_FOR_MS 2000
/* Destroyed sockets read in one round of the loop. */
#define EVENTS_PER_ROUND 64

/* One kind of socket that is asked for. */
struct query {
	enum forward_proto proto;
	bool is_v6;
};

static const struct query queries[] = {
	{ FORWARD_TCP, false },
	{ FORWARD_TCP, true },
	{ FORWARD_UDP, false },
	{ FORWARD_UDP, true },
};

/* A socket and what it is reported as. */
struct found {
	struct port_listener listener;
	uint64_t cookie;
};

struct found_list {
	struct found *all; /* PORT_WATCH_MAX of them */
	unsigned int n;
	bool is_full;
};

struct port_watch_netns {
	struct loop *loop;
	port_watch_fn *changed;
	void *arg;
	int asking, events; /* sock_diag sockets of the namespace */
	uint16_t ephemeral_first, ephemeral_last;
	bool with_ephemeral_udp;
	struct watch *watch;
	struct timer *timer;
	uint32_t seq;
	uint64_t fast_until_ms;
	bool has_reported, has_said_full;
	struct found_list known, next; /* known: sorted by cookie */
	struct port_listener *report;  /* PORT_WATCH_MAX of them */
	struct port_listener *scratch; /* likewise */
	unsigned int n_report;
	uint64_t buffer[BUFFER_SIZE / sizeof(uint64_t)];
};

static int compare_listeners(const void *a, const void *b)
{
	const struct port_listener *x = a, *y = b;
	int r;

	if (x->proto != y->proto)
		return x->proto < y->proto ? -1 : 1;
	r = memcmp(&x->guest.addr, &y->guest.addr, sizeof(x->guest.addr));
	return r ? r : (int)x->guest.port - (int)y->guest.port;
}

static int compare_cookies(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	return (x->cookie > y->cookie) - (x->cookie < y->cookie);
}

static const struct found *find_known(const struct port_watch_netns *w, uint64_t cookie)
{
	const struct found key = { .cookie = cookie };

	return bsearch(&key, w->known.all, w->known.n, sizeof(key), compare_cookies);
}

static bool is_ephemeral(const struct port_watch_netns *w, const struct sock_diag_socket *s)
{
	return s->proto == FORWARD_UDP && !w->with_ephemeral_udp &&
	       s->local.port >= w->ephemeral_first && s->local.port <= w->ephemeral_last;
}

static void on_socket(void *arg, const struct sock_diag_socket *s)
{
	struct port_watch_netns *w = arg;
	const struct found *before = s->is_connected ? find_known(w, s->cookie) : NULL;
	struct found *found;

	if (is_ephemeral(w, s) || (s->is_connected && !before))
		return;
	if (w->next.n == PORT_WATCH_MAX) {
		w->next.is_full = true;
		return;
	}
	found = &w->next.all[w->next.n++];
	found->listener = (struct port_listener){ s->proto, s->local };
	if (before) /* a peer may have changed the address */
		found->listener = before->listener;
	found->cookie = s->cookie;
}

/* The kernel answers during the calls, so none of them waits. */
static int ask(struct port_watch_netns *w, const struct query *query)
{
	uint8_t request[SOCK_DIAG_REQUEST_SIZE];
	int r = 0;

	sock_diag_request(query->proto, query->is_v6, ++w->seq, request);
	if (send(w->asking, request, sizeof(request), 0) < 0)
		return -errno;
	while (r == 0) {
		ssize_t n = recv(w->asking, w->buffer, sizeof(w->buffer), MSG_TRUNC);

		if (n < 0)
			return -errno;
		if ((size_t)n > sizeof(w->buffer))
			return -EMSGSIZE;
		r = sock_diag_parse(w->buffer, (size_t)n, w->seq, on_socket, w);
	}
	return r < 0 ? r : 0;
}

static int ask_all(struct port_watch_netns *w)
{
	w->next.n = 0;
	w->next.is_full = false;
	for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++) {
		int r = ask(w, &queries[i]);

		if (r == -ENOENT) /* this kernel or namespace has no such sockets */
			r = 0;
		if (r < 0)
			return r;
	}
	return 0;
}

/* Whether w->report is other than before. */
static bool update_report(struct port_watch_netns *w)
{
	struct port_listener *all = w->scratch;
	unsigned int n = 0, n_before = w->n_report;

	for (unsigned int i = 0; i < w->known.n; i++)
		all[i] = w->known.all[i].listener;
	qsort(all, w->known.n, sizeof(*all), compare_listeners);
	for (unsigned int i = 0; i < w->known.n; i++) {
		if (n == 0 || compare_listeners(&all[i], &all[n - 1]) != 0)
			all[n++] = all[i];
	}
	w->scratch = w->report;
	w->report = all;
	w->n_report = n;
	if (n != n_before)
		return true;
	for (unsigned int i = 0; i < n; i++) {
		if (compare_listeners(&all[i], &w->scratch[i]) != 0)
			return true;
	}
	return false;
}

static void say_full(struct port_watch_netns *w)
{
	if (w->known.is_full && !w->has_said_full)
		log_warn("the guest listens on more than %d ports; the others are not looked at",
			 PORT_WATCH_MAX);
	w->has_said_full = w->known.is_full;
}

static void scan(struct port_watch_netns *w)
{
	struct found_list before = w->known;
	int r = ask_all(w);

	if (r < 0) {
		log_limited(LOG_LEVEL_WARN, "the guest's listeners are not known for now: %s",
			    strerror(-r));
		return;
	}
	w->known = w->next;
	w->next = before;
	qsort(w->known.all, w->known.n, sizeof(*w->known.all), compare_cookies);
	say_full(w);
	if (!update_report(w) && w->has_reported)
		return;
	w->has_reported = true;
	w->fast_until_ms = loop_now_ms(w->loop) + FAST_FOR_MS;
	w->changed(w->arg, w->report, w->n_report);
}

static void on_timer(void *arg)
{
	struct port_watch_netns *w = arg;

	timer_start(w->timer, loop_now_ms(w->loop) < w->fast_until_ms ? PORT_WATCH_FAST_MS :
									PORT_WATCH_SLOW_MS);
	scan(w);
}

/* What an event said. */
struct gone {
	const struct port_watch_netns *watch;
	bool was_known;
};

static void on_gone(void *arg, uint64_t cookie)
{
	struct gone *gone = arg;

	gone->was_known = gone->was_known || find_known(gone->watch, cookie);
}

/* Sockets that were destroyed; most are of connections. */
static void on_events(void *arg, unsigned int events)
{
	struct port_watch_netns *w = arg;
	struct gone gone = { .watch = w };

	(void)events;
	for (int i = 0; i < EVENTS_PER_ROUND; i++) {
		ssize_t n = recv(w->events, w->buffer, sizeof(w->buffer), 0);

		if (n < 0 && errno == ENOBUFS) /* some were lost */
			gone.was_known = true;
		if (n < 0)
			break;
		if (sock_diag_parse_gone(w->buffer, (size_t)n, on_gone, &gone) < 0)
			gone.was_known = true;
	}
	if (gone.was_known)
		timer_start(w->timer, 0);
}

static int open_socket(const char *netns, uint32_t groups, struct netns_diag *out)
{
	char step[NETNS_STEP_SIZE];
	int r = netns_open_diag(netns, groups, out, step);

	if (r < 0)
		log_error("the listeners of namespace %s cannot be watched: %s: %s", netns, step,
			  strerror(-r));
	return r;
}

static int open_sockets(struct port_watch_netns *w, const char *netns)
{
	struct netns_diag diag;
	int r = open_socket(netns, 0, &diag);

	if (r < 0)
		return r;
	w->asking = diag.fd;
	w->ephemeral_first = diag.ephemeral_first;
	w->ephemeral_last = diag.ephemeral_last;
	r = open_socket(netns,
			GROUP(SKNLGRP_INET_TCP_DESTROY) | GROUP(SKNLGRP_INET_UDP_DESTROY) |
				GROUP(SKNLGRP_INET6_TCP_DESTROY) | GROUP(SKNLGRP_INET6_UDP_DESTROY),
			&diag);
	if (r == 0)
		w->events = diag.fd;
	return r;
}

static int allocate(struct port_watch_netns *w)
{
	w->known.all = calloc(PORT_WATCH_MAX, sizeof(*w->known.all));
	w->next.all = calloc(PORT_WATCH_MAX, sizeof(*w->next.all));
	w->report = calloc(PORT_WATCH_MAX, sizeof(*w->report));
	w->scratch = calloc(PORT_WATCH_MAX, sizeof(*w->scratch));
	return w->known.all && w->next.all && w->report && w->scratch ? 0 : -ENOMEM;
}

static int set_up(struct port_watch_netns *w, const char *netns)
{
	int r = allocate(w);

	if (r == 0)
		r = open_sockets(w, netns);
	if (r == 0)
		r = timer_new(w->loop, on_timer, w, &w->timer);
	if (r == 0)
		r = watch_new(w->loop, w->events, on_events, w, &w->watch);
	return r;
}

int port_watch_netns_new(struct loop *loop, const struct port_watch_netns_config *config,
			 struct port_watch_netns **out)
{
	struct port_watch_netns *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	w->loop = loop;
	w->changed = config->changed;
	w->arg = config->arg;
	w->with_ephemeral_udp = config->with_ephemeral_udp;
	w->asking = w->events = -1;
	r = set_up(w, config->netns);
	if (r < 0) {
		port_watch_netns_free(w);
		return r;
	}
	watch_want(w->watch, LOOP_READ);
	timer_start(w->timer, 0);
	*out = w;
	return 0;
}

void port_watch_netns_set_ephemeral_udp(struct port_watch_netns *w, bool with)
{
	w->with_ephemeral_udp = with;
}

void port_watch_netns_ephemeral(const struct port_watch_netns *w, uint16_t *first, uint16_t *last)
{
	*first = w->ephemeral_first;
	*last = w->ephemeral_last;
}

void port_watch_netns_free(struct port_watch_netns *w)
{
	if (!w)
		return;
	watch_free(w->watch);
	timer_free(w->timer);
	if (w->asking >= 0)
		close(w->asking);
	if (w->events >= 0)
		close(w->events);
	free(w->known.all);
	free(w->next.all);
	free(w->report);
	free(w->scratch);
	free(w);
}
