/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/tcp_forward.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "forwarder/listen_socket.h"
#include "netstack/acceptor.h"
#include "netstack/base/list.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/relay.h"
#include "netstack/stream.h"
#include "netstack/stream_fd.h"
#include "netstack/unix_socket.h"

struct tcp_forward {
	struct loop *loop;
	struct endpoint host;
	struct unix_socket path;			    /* instead of host, when path.fd >= 0 */
	char name[sizeof(((struct unix_socket *)0)->path)]; /* of either, for logs */
	struct tcp_dialer dialer;
	int fd; /* path.fd, or our own */
	struct acceptor *acceptor;
	struct list connections; /* connection.node */
	unsigned int n_connections;
	struct tcp_forward_counters counters;
	void (*drained)(void *arg); /* once retired */
	void *drained_arg;
};

struct connection {
	struct list node; /* tcp_forward.connections */
	struct tcp_forward *forward;
	struct endpoint client;
	struct relay *relay;
};

static void on_accepted(void *arg, int fd, const struct endpoint *client);
static void on_accept_paused(void *arg, int error);

static const struct acceptor_owner acceptor_owner = {
	.accepted = on_accepted,
	.paused = on_accept_paused,
};

static int open_socket(struct tcp_forward *f, const struct endpoint *host)
{
	int r;

	f->fd = listen_socket_bind(FORWARD_TCP, host);
	if (f->fd < 0)
		return f->fd;
	r = listen_socket_address(f->fd, &f->host);
	if (r == 0)
		endpoint_format(&f->host, f->name);
	return r;
}

static int open_path(struct tcp_forward *f, const char *path)
{
	int r = unix_socket_bind(SOCK_STREAM, path, &f->path);

	if (r < 0)
		return r;
	f->fd = f->path.fd;
	memcpy(f->name, f->path.path, sizeof(f->name));
	return 0;
}

static struct tcp_forward *new_closed(struct loop *loop, const struct tcp_dialer *dialer)
{
	struct tcp_forward *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->loop = loop;
	f->dialer = *dialer;
	f->fd = f->path.fd = -1;
	list_init(&f->connections);
	return f;
}

/* f is bound, or r says why not. */
static int finish_new(struct tcp_forward *f, int r, struct tcp_forward **out)
{
	if (r == 0)
		r = acceptor_new(f->loop, f->fd, &acceptor_owner, f, &f->acceptor);
	if (r < 0) {
		tcp_forward_free(f);
		return r;
	}
	*out = f;
	return 0;
}

int tcp_forward_new(struct loop *loop, const struct endpoint *host, const struct tcp_dialer *dialer,
		    struct tcp_forward **out)
{
	struct tcp_forward *f = new_closed(loop, dialer);

	return f ? finish_new(f, open_socket(f, host), out) : -ENOMEM;
}

int tcp_forward_new_unix(struct loop *loop, const char *path, const struct tcp_dialer *dialer,
			 struct tcp_forward **out)
{
	struct tcp_forward *f = new_closed(loop, dialer);

	return f ? finish_new(f, open_path(f, path), out) : -ENOMEM;
}

/* Without it nobody else can bind the port while we do not listen. */
static void set_reuse(struct tcp_forward *f, int enabled)
{
	if (setsockopt(f->fd, SOL_SOCKET, SO_REUSEADDR, &enabled, sizeof(enabled)) < 0)
		log_debug("tcp %s: SO_REUSEADDR: %s", f->name, strerror(errno));
}

int tcp_forward_start(struct tcp_forward *f)
{
	if (f->path.fd < 0)
		set_reuse(f, 1);
	if (listen(f->fd, SOMAXCONN) < 0)
		return -errno;
	acceptor_start(f->acceptor);
	return 0;
}

/* Linux takes a listening socket back to the state after bind(2), in which it
 * refuses and still holds its port. */
void tcp_forward_pause(struct tcp_forward *f)
{
	acceptor_pause(f->acceptor);
	(void)shutdown(f->fd, SHUT_RD);
	set_reuse(f, 0);
}

void tcp_forward_retire(struct tcp_forward *f, void (*drained)(void *arg), void *arg)
{
	assert(f->n_connections > 0);
	tcp_forward_stop(f);
	f->drained = drained;
	f->drained_arg = arg;
}

void tcp_forward_stop(struct tcp_forward *f)
{
	acceptor_free(f->acceptor);
	f->acceptor = NULL;
	if (f->path.fd >= 0)
		unix_socket_close(&f->path);
	else if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}

static void connection_free(struct connection *c)
{
	list_unlink(&c->node);
	c->forward->n_connections--;
	relay_free(c->relay);
	free(c);
}

void tcp_forward_free(struct tcp_forward *f)
{
	if (!f)
		return;
	tcp_forward_stop(f);
	list_for_each(node, &f->connections)
		connection_free(container_of(node, struct connection, node));
	free(f);
}

const struct endpoint *tcp_forward_host(const struct tcp_forward *f)
{
	return &f->host;
}

unsigned int tcp_forward_n_connections(const struct tcp_forward *f)
{
	return f->n_connections;
}

const struct tcp_forward_counters *tcp_forward_counters(const struct tcp_forward *f)
{
	return &f->counters;
}

void tcp_forward_bytes(const struct tcp_forward *f, uint64_t *to_guest, uint64_t *to_host)
{
	*to_guest = f->counters.to_guest_bytes;
	*to_host = f->counters.to_host_bytes;
	list_for_each(node, &f->connections) {
		const struct connection *c = container_of(node, struct connection, node);

		if (!c->relay)
			continue;
		*to_guest += relay_bytes(c->relay, RELAY_A_TO_B);
		*to_host += relay_bytes(c->relay, RELAY_B_TO_A);
	}
}

static void count_end(struct tcp_forward_counters *n, const struct relay_result *result)
{
	n->to_guest_bytes += result->a_to_b_bytes;
	n->to_host_bytes += result->b_to_a_bytes;
	if (result->end == RELAY_END_CLOSED)
		n->closed++;
	else if (result->end == RELAY_END_B_BROKE && result->error == -ECONNREFUSED)
		n->refused++;
	else
		n->broken++;
}

static const char *end_text(const struct relay_result *result)
{
	switch (result->end) {
	case RELAY_END_CLOSED:
		return "closed";
	case RELAY_END_A_BROKE:
		return "broken by the client";
	case RELAY_END_B_BROKE:
		return "broken by the guest";
	}
	return "";
}

static void on_done(void *arg, const struct relay_result *result)
{
	struct connection *c = arg;
	struct tcp_forward *f = c->forward;
	char client[ADDR_TEXT_SIZE];

	count_end(&f->counters, result);
	log_debug("tcp %s: connection of %s %s%s%s; %" PRIu64 " bytes to the guest, %" PRIu64
		  " back",
		  f->name, endpoint_format(&c->client, client), end_text(result),
		  result->error ? ": " : "", result->error ? strerror(-result->error) : "",
		  result->a_to_b_bytes, result->b_to_a_bytes);
	c->relay = NULL; /* gone by itself */
	connection_free(c);
	if (f->drained && f->n_connections == 0)
		f->drained(f->drained_arg); /* frees f */
}

/* Takes host. */
static int join(struct connection *c, struct stream *host)
{
	struct tcp_forward *f = c->forward;
	struct stream *ends[2] = { host, NULL };
	int r = f->dialer.dial(f->dialer.arg, &ends[1]);

	if (r < 0) {
		host->ops->reset(host);
		return r;
	}
	return relay_new(f->loop, ends, on_done, c, &c->relay);
}

/* A plain close() would look like an empty answer. */
static void reset_client(int fd)
{
	const struct linger at_once = { .l_onoff = 1 };

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	close(fd);
}

static void on_accept_paused(void *arg, int error)
{
	struct tcp_forward *f = arg;

	f->counters.accept_pauses++;
	if (error)
		log_warn("tcp %s: new connections wait: %s", f->name, strerror(-error));
}

/* Takes fd. */
static void on_accepted(void *arg, int fd, const struct endpoint *client)
{
	struct tcp_forward *f = arg;
	struct connection *c = calloc(1, sizeof(*c));
	const int on = 1;
	struct stream *host;
	int r;

	f->counters.accepted++;
	if (!c) {
		reset_client(fd);
		f->counters.dial_failed++;
		return;
	}
	c->forward = f;
	c->client = *client;
	list_append(&f->connections, &c->node);
	f->n_connections++;
	/* Only latency is lost when this fails. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	r = stream_fd_new(f->loop, fd, false, &host);
	if (r == 0)
		r = join(c, host);
	if (r < 0) {
		f->counters.dial_failed++;
		log_limited(LOG_LEVEL_WARN, "tcp %s: no connection to the guest: %s", f->name,
			    strerror(-r));
		connection_free(c);
	}
}
