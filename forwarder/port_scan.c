/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/port_scan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "forwarder/sock_diag.h"
#include "netstack/base/log.h"

/* The kernel fills answers up to 32 KiB. */
#define BUFFER_SIZE 32768

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
	uint64_t since_ms;
};

struct found_list {
	struct found *all; /* PORT_SCAN_MAX of them */
	unsigned int n;
	bool is_full;
};

struct port_scan {
	struct port_scan_config config;
	uint32_t seq;
	uint64_t now_ms;
	bool has_said_full;
	unsigned int said_absent;      /* kinds */
	struct found_list known, next; /* known: sorted by cookie */
	struct port_listener *report;  /* PORT_SCAN_MAX of them */
	struct port_listener *scratch; /* likewise */
	unsigned int n_report;
	uint64_t buffer[BUFFER_SIZE / sizeof(uint64_t)];
};

static unsigned int kind_of(enum forward_proto proto)
{
	return proto == FORWARD_TCP ? PORT_SCAN_TCP : PORT_SCAN_UDP;
}

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

static const struct found *find_known(const struct port_scan *s, uint64_t cookie)
{
	const struct found key = { .cookie = cookie };

	return bsearch(&key, s->known.all, s->known.n, sizeof(key), compare_cookies);
}

static bool is_reported(const struct port_scan *s, const struct found *found)
{
	const struct port_listener *l = &found->listener;
	bool is_client = l->proto == FORWARD_UDP && l->guest.port >= s->config.clients.first &&
			 l->guest.port <= s->config.clients.last;

	return !is_client || s->now_ms - found->since_ms >= s->config.client_age_ms;
}

static void add(struct found_list *list, const struct found *found)
{
	if (list->n == PORT_SCAN_MAX)
		list->is_full = true;
	else
		list->all[list->n++] = *found;
}

static void on_socket(void *arg, const struct sock_diag_socket *socket)
{
	struct port_scan *s = arg;
	const struct found *before = find_known(s, socket->cookie);
	struct found found = {
		.listener = { socket->proto, socket->local },
		.cookie = socket->cookie,
		.since_ms = before ? before->since_ms : s->now_ms,
	};

	if (socket->is_connected && !before)
		return;
	if (socket->is_connected) /* a peer may have changed the address */
		found.listener = before->listener;
	add(&s->next, &found);
}

static int ask(struct port_scan *s, const struct query *query)
{
	uint8_t request[SOCK_DIAG_REQUEST_SIZE];
	int r = 0;

	sock_diag_request(query->proto, query->is_v6, ++s->seq, request);
	if (send(s->config.fd, request, sizeof(request), 0) < 0)
		return -errno;
	while (r == 0) {
		ssize_t n = recv(s->config.fd, s->buffer, sizeof(s->buffer), MSG_TRUNC);

		if (n < 0)
			return -errno;
		if ((size_t)n > sizeof(s->buffer))
			return -EMSGSIZE;
		r = sock_diag_parse(s->buffer, (size_t)n, s->seq, on_socket, s);
	}
	return r < 0 ? r : 0;
}

static void keep(struct port_scan *s, unsigned int kinds)
{
	for (unsigned int i = 0; i < s->known.n; i++) {
		if (kind_of(s->known.all[i].listener.proto) & kinds)
			add(&s->next, &s->known.all[i]);
	}
}

static void say_absent(struct port_scan *s, enum forward_proto proto)
{
	if (!(s->said_absent & kind_of(proto)))
		log_warn("this kernel does not tell which %s ports are listened on (no %s_diag)",
			 forward_proto_name(proto), forward_proto_name(proto));
	s->said_absent |= kind_of(proto);
}

static int collect(struct port_scan *s, unsigned int kinds)
{
	s->next.n = 0;
	s->next.is_full = false;
	keep(s, PORT_SCAN_ALL & ~kinds);
	for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++) {
		int r = kind_of(queries[i].proto) & kinds ? ask(s, &queries[i]) : 0;

		if (r == -ENOENT)
			say_absent(s, queries[i].proto);
		else if (r < 0)
			return r;
	}
	return 0;
}

/* Whether s->report is other than before. */
static bool update_report(struct port_scan *s)
{
	struct port_listener *all = s->scratch;
	unsigned int n_all = 0, n = 0, n_before = s->n_report;

	for (unsigned int i = 0; i < s->known.n; i++) {
		if (is_reported(s, &s->known.all[i]))
			all[n_all++] = s->known.all[i].listener;
	}
	qsort(all, n_all, sizeof(*all), compare_listeners);
	for (unsigned int i = 0; i < n_all; i++) {
		if (n == 0 || compare_listeners(&all[i], &all[n - 1]) != 0)
			all[n++] = all[i];
	}
	s->scratch = s->report;
	s->report = all;
	s->n_report = n;
	if (n != n_before)
		return true;
	for (unsigned int i = 0; i < n; i++) {
		if (compare_listeners(&all[i], &s->scratch[i]) != 0)
			return true;
	}
	return false;
}

static void say_full(struct port_scan *s)
{
	if (s->known.is_full && !s->has_said_full)
		log_warn("the guest listens on more than %d ports; the others are not looked at",
			 PORT_SCAN_MAX);
	s->has_said_full = s->known.is_full;
}

int port_scan_ask(struct port_scan *s, unsigned int kinds, uint64_t now_ms)
{
	struct found_list before = s->known;
	int r;

	s->now_ms = now_ms;
	r = collect(s, kinds);

	if (r < 0)
		return r;
	s->known = s->next;
	s->next = before;
	qsort(s->known.all, s->known.n, sizeof(*s->known.all), compare_cookies);
	say_full(s);
	return update_report(s);
}

void port_scan_set_client_age(struct port_scan *s, unsigned int age_ms)
{
	s->config.client_age_ms = age_ms;
}

const struct port_listener *port_scan_listeners(const struct port_scan *s, unsigned int *n)
{
	*n = s->n_report;
	return s->report;
}

bool port_scan_knows(const struct port_scan *s, uint64_t cookie)
{
	return find_known(s, cookie);
}

int port_scan_new(const struct port_scan_config *config, struct port_scan **out)
{
	struct port_scan *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->config = *config;
	s->config.fd = -1; /* not ours before all is well */
	s->known.all = calloc(PORT_SCAN_MAX, sizeof(*s->known.all));
	s->next.all = calloc(PORT_SCAN_MAX, sizeof(*s->next.all));
	s->report = calloc(PORT_SCAN_MAX, sizeof(*s->report));
	s->scratch = calloc(PORT_SCAN_MAX, sizeof(*s->scratch));
	if (!s->known.all || !s->next.all || !s->report || !s->scratch) {
		port_scan_free(s);
		return -ENOMEM;
	}
	s->config.fd = config->fd;
	*out = s;
	return 0;
}

void port_scan_free(struct port_scan *s)
{
	if (!s)
		return;
	if (s->config.fd >= 0)
		close(s->config.fd);
	free(s->known.all);
	free(s->next.all);
	free(s->report);
	free(s->scratch);
	free(s);
}
