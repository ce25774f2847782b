/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/tcp_forward.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "forwarder/connections.h"
#include "forwarder/listen_socket.h"
#include "netstack/acceptor.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"
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
	struct connections connections;
	uint64_t accepted, dial_failed, accept_pauses;
};

static void on_accepted(void *arg, int fd, const struct endpoint *from);
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
	connections_init(&f->connections, loop, f->name);
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
	assert(f->connections.n > 0);
	tcp_forward_stop(f);
	f->connections.drained = drained;
	f->connections.arg = arg;
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

void tcp_forward_free(struct tcp_forward *f)
{
	if (!f)
		return;
	tcp_forward_stop(f);
	connections_reset(&f->connections);
	free(f);
}

const struct endpoint *tcp_forward_host(const struct tcp_forward *f)
{
	return &f->host;
}

unsigned int tcp_forward_n_connections(const struct tcp_forward *f)
{
	return f->connections.n;
}

struct tcp_forward_counters tcp_forward_count(const struct tcp_forward *f)
{
	struct connection_counters n = connections_count(&f->connections);

	return (struct tcp_forward_counters){
		.accepted = f->accepted,
		.dial_failed = f->dial_failed,
		.refused = n.refused,
		.broken = n.broken,
		.closed = n.closed,
		.accept_pauses = f->accept_pauses,
		.to_guest_bytes = n.to_server_bytes,
		.to_host_bytes = n.to_client_bytes,
	};
}

static void on_accept_paused(void *arg, int error)
{
	struct tcp_forward *f = arg;

	f->accept_pauses++;
	if (error)
		log_warn("tcp %s: new connections wait: %s", f->name, strerror(-error));
}

/* A client that cannot be served is reset: a plain close() would look like an empty
 * answer. Takes fd. */
static int serve(struct tcp_forward *f, int fd, const struct endpoint *from)
{
	struct stream *client, *guest;
	int r = stream_fd_new(f->loop, fd, false, &client);

	if (r < 0)
		return r;
	r = f->dialer.dial(f->dialer.arg, &guest);
	if (r < 0) {
		client->ops->reset(client);
		return r;
	}
	return connections_join(&f->connections, client, guest, from);
}

/* Takes fd. */
static void on_accepted(void *arg, int fd, const struct endpoint *from)
{
	struct tcp_forward *f = arg;
	const int on = 1;
	int r;

	f->accepted++;
	/* Only latency is lost when this fails. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	r = serve(f, fd, from);
	if (r < 0) {
		f->dial_failed++;
		log_limited(LOG_LEVEL_WARN, "tcp %s: no connection to the guest: %s", f->name,
			    strerror(-r));
	}
}
