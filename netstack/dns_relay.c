/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/dns_relay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netstack/base/list.h"
#include "netstack/base/loop.h"
#include "netstack/dns.h"

#define MAX_PENDING 256U /* the oldest makes room */
#define TIMEOUT_MS 10000U
#define MAX_MESSAGE 65535U
#define RESOLV_CONF_MAX 4096

/* A query on its way, with a socket of its own: a random port is what keeps
 * others from forging the answer (RFC 5452). */
struct pending {
	struct list node; /* dns_relay.pending, oldest first */
	struct dns_relay *relay;
	struct endpoint guest, server;
	int fd;
	struct watch *watch;
	struct timer *timeout;
};

struct dns_relay {
	struct loop *loop;
	struct dns_relay_config config;
	struct list pending; /* pending.node */
	unsigned int n_pending;
	struct dns_relay_counters counters;
};

bool dns_relay_resolver(const struct dns_relay *r, struct endpoint *out)
{
	char text[RESOLV_CONF_MAX + 1];
	int fd = open(r->config.resolv_conf, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, text, RESOLV_CONF_MAX);
	close(fd);
	if (n < 0)
		return false;
	text[n] = '\0';
	return dns_find_resolver(text, out);
}

static void pending_free(struct pending *p)
{
	list_unlink(&p->node);
	p->relay->n_pending--;
	watch_free(p->watch);
	timer_free(p->timeout);
	close(p->fd);
	free(p);
}

static void on_answer(void *arg, unsigned int events)
{
	static uint8_t message[MAX_MESSAGE];
	struct pending *p = arg;
	struct dns_relay *r = p->relay;
	ssize_t n = recv(p->fd, message, sizeof(message), 0);

	(void)events;
	if (n < 0 && errno == EAGAIN)
		return;
	if (n >= (ssize_t)DNS_HEADER_SIZE)
		r->config.reply(r->config.arg, &p->server, &p->guest, message, (size_t)n);
	pending_free(p); /* refused: the guest asks again, or elsewhere */
}

static void on_timeout(void *arg)
{
	struct pending *p = arg;

	p->relay->counters.timed_out++;
	pending_free(p);
}

static int open_socket(const struct endpoint *to)
{
	struct sockaddr_storage sa;
	socklen_t len = endpoint_to_sockaddr(to, &sa);
	int fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (struct sockaddr *)&sa, len) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static struct pending *pending_new(struct dns_relay *r, const struct endpoint *resolver)
{
	struct pending *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->relay = r;
	p->fd = open_socket(resolver);
	if (p->fd < 0)
		goto out;
	if (watch_new(r->loop, p->fd, on_answer, p, &p->watch) < 0 ||
	    timer_new(r->loop, on_timeout, p, &p->timeout) < 0)
		goto out;
	list_append(&r->pending, &p->node);
	r->n_pending++;
	return p;
out:
	watch_free(p->watch);
	if (p->fd >= 0)
		close(p->fd);
	free(p);
	return NULL;
}

/* False when there is nobody to ask. */
static bool hand_on(struct dns_relay *r, const struct endpoint *guest,
		    const struct endpoint *server, const uint8_t *message, size_t len)
{
	struct endpoint resolver;
	struct pending *p;

	if (!dns_relay_resolver(r, &resolver))
		return false;
	if (r->n_pending == MAX_PENDING) {
		r->counters.evicted++;
		pending_free(container_of(r->pending.next, struct pending, node));
	}
	p = pending_new(r, &resolver);
	if (!p)
		return false;
	p->guest = *guest;
	p->server = *server;
	if (send(p->fd, message, len, MSG_NOSIGNAL) < 0) {
		pending_free(p);
		return false;
	}
	watch_want(p->watch, LOOP_READ);
	timer_start(p->timeout, TIMEOUT_MS);
	return true;
}

void dns_relay_query(struct dns_relay *r, const struct endpoint *guest,
		     const struct endpoint *server, const uint8_t *message, size_t len)
{
	struct dns_answer answer = { .rcode = DNS_RCODE_OK };
	uint8_t reply[DNS_REPLY_MAX];
	struct dns_question q;

	if (dns_parse_query(message, len, &q) < 0) {
		r->counters.bad_queries++;
		return;
	}
	if (!r->config.know(r->config.arg, &q, &answer)) {
		if (hand_on(r, guest, server, message, len))
			return;
		r->counters.no_resolver++;
		answer = (struct dns_answer){ .rcode = DNS_RCODE_SERVFAIL };
	}
	len = dns_write_reply(message, &q, &answer, reply);
	r->config.reply(r->config.arg, server, guest, reply, len);
}

const struct dns_relay_counters *dns_relay_counters(const struct dns_relay *r)
{
	return &r->counters;
}

int dns_relay_new(struct loop *loop, const struct dns_relay_config *config, struct dns_relay **out)
{
	struct dns_relay *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->loop = loop;
	r->config = *config;
	list_init(&r->pending);
	*out = r;
	return 0;
}

void dns_relay_free(struct dns_relay *r)
{
	if (!r)
		return;
	while (!list_empty(&r->pending))
		pending_free(container_of(r->pending.next, struct pending, node));
	free(r);
}
