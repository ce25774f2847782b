/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/vsock/hybrid.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netstack/base/list.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/relay.h"
#include "netstack/stream_fd.h"
#include "netstack/unix_socket.h"
#include "netstack/vsock/vsock.h"

#define MAX_CALLS 4096U
#define MAX_REQUEST 32U /* "CONNECT 4294967295\n", and some room */
#define REQUEST_TIMEOUT_MS 10000
#define RETRY_MS 100

struct vsock_hybrid {
	struct loop *loop;
	struct vsock *vsock;
	struct unix_socket socket;
	struct watch *watch;
	struct timer *retry; /* after running out of descriptors, or room */
	struct vsock_listener listener;
	struct list calls; /* call.node */
	unsigned int n_calls;
};

/* One connection, from its request on. */
struct call {
	struct list node; /* vsock_hybrid.calls */
	struct vsock_hybrid *hybrid;
	/* until they are joined */
	int fd;
	struct watch *watch;
	struct timer *timeout;
	char request[MAX_REQUEST];
	size_t request_len;
	uint32_t host_port;
	struct stream *guest;
	struct relay *relay;
};

static void call_free(struct call *c)
{
	list_unlink(&c->node);
	c->hybrid->n_calls--;
	relay_free(c->relay);
	if (c->guest)
		c->guest->ops->reset(c->guest);
	watch_free(c->watch);
	timer_free(c->timeout);
	if (c->fd >= 0)
		close(c->fd);
	free(c);
}

static void on_timeout(void *arg)
{
	call_free(arg);
}

/* Takes fd. */
static struct call *call_new(struct vsock_hybrid *h, int fd)
{
	struct call *c = h->n_calls < MAX_CALLS ? calloc(1, sizeof(*c)) : NULL;

	if (!c) {
		log_limited(LOG_LEVEL_WARN, "%s: no room for one more connection", h->socket.path);
		close(fd);
		return NULL;
	}
	c->hybrid = h;
	c->fd = fd;
	list_append(&h->calls, &c->node);
	h->n_calls++;
	return c;
}

static void on_done(void *arg, const struct relay_result *result)
{
	struct call *c = arg;

	log_debug("%s: connection over, %llu bytes to the guest, %llu back", c->hybrid->socket.path,
		  (unsigned long long)result->a_to_b_bytes,
		  (unsigned long long)result->b_to_a_bytes);
	c->relay = NULL;
	call_free(c);
}

/* From now on the relay has both. */
static int join(struct call *c)
{
	struct stream *ends[2] = { NULL, c->guest };
	int fd = c->fd, r;

	watch_free(c->watch);
	timer_free(c->timeout);
	c->watch = NULL;
	c->timeout = NULL;
	c->fd = -1;
	r = stream_fd_new(c->hybrid->loop, fd, false, &ends[0]);
	if (r < 0)
		return r;
	c->guest = NULL;
	return relay_new(c->hybrid->loop, ends, on_done, c, &c->relay);
}

/* ---- programs that call the guest ---- */

static void on_guest_ready(void *arg)
{
	struct call *c = arg;
	char answer[MAX_REQUEST];
	ssize_t r = c->guest->ops->write(c->guest, NULL, 0);
	int len;

	if (r == -EAGAIN)
		return;
	if (r == 0) {
		len = snprintf(answer, sizeof(answer), "OK %u\n", c->host_port);
		/* the first bytes of a new socket: there is room */
		r = send(c->fd, answer, (size_t)len, MSG_NOSIGNAL) == len ? join(c) : -EPIPE;
	}
	if (r < 0)
		call_free(c);
}

/* "CONNECT 1024\n"; the word in any case, as others take it. */
static int parse_request(const char *text, uint32_t *port)
{
	static const char word[] = "CONNECT ";
	unsigned long value;
	char *end;

	if (strncasecmp(text, word, sizeof(word) - 1) != 0)
		return -EINVAL;
	text += sizeof(word) - 1;
	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || *end || value >= VSOCK_PORT_ANY)
		return -EINVAL;
	*port = (uint32_t)value;
	return 0;
}

static int dial(struct call *c)
{
	struct vsock *v = c->hybrid->vsock;
	uint32_t port;
	int r = parse_request(c->request, &port);

	if (r < 0)
		return r;
	r = vsock_dial(v, port, &c->host_port, &c->guest);
	if (r < 0)
		return r;
	watch_want(c->watch, 0);
	stream_set_ready(c->guest, on_guest_ready, c);
	c->guest->ops->want(c->guest, STREAM_WRITE);
	return 0;
}

/* Up to the line's end and no further: what is behind is the guest's. */
static int read_request(struct call *c)
{
	char bytes[MAX_REQUEST];
	size_t room = sizeof(c->request) - c->request_len;
	ssize_t n = recv(c->fd, bytes, room, MSG_PEEK);
	char *end;

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? -EAGAIN : -errno;
	if (n == 0)
		return -ECONNRESET;
	end = memchr(bytes, '\n', (size_t)n);
	if (end)
		n = end + 1 - bytes;
	n = recv(c->fd, c->request + c->request_len, (size_t)n, 0);
	if (n < 0)
		return -errno;
	c->request_len += (size_t)n;
	if (!end)
		return c->request_len < sizeof(c->request) ? -EAGAIN : -EINVAL;
	c->request[c->request_len - 1] = '\0';
	return 0;
}

static void on_request(void *arg, unsigned int events)
{
	struct call *c = arg;
	int r = read_request(c);

	(void)events;
	if (r == -EAGAIN)
		return;
	if (r == 0)
		r = dial(c);
	if (r == 0)
		return;
	log_limited(LOG_LEVEL_INFO, "%s: a connection was refused: %s", c->hybrid->socket.path,
		    r == -EINVAL ? "it did not begin with CONNECT and a port" : strerror(-r));
	call_free(c);
}

static void on_connection(void *arg, unsigned int events)
{
	struct vsock_hybrid *h = arg;
	int fd = accept4(h->socket.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct call *c;

	(void)events;
	if (fd < 0) {
		if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
			return;
		log_limited(LOG_LEVEL_WARN, "%s: cannot accept: %s", h->socket.path,
			    strerror(errno));
		watch_want(h->watch, 0);
		timer_start(h->retry, RETRY_MS);
		return;
	}
	c = call_new(h, fd);
	if (!c)
		return;
	if (watch_new(h->loop, fd, on_request, c, &c->watch) < 0 ||
	    timer_new(h->loop, on_timeout, c, &c->timeout) < 0) {
		call_free(c);
		return;
	}
	watch_want(c->watch, LOOP_READ);
	timer_start(c->timeout, REQUEST_TIMEOUT_MS);
}

static void on_retry(void *arg)
{
	struct vsock_hybrid *h = arg;

	watch_want(h->watch, LOOP_READ);
}

/* ---- guests that call ---- */

static int connect_to(const char *path, uint32_t port)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int n = snprintf(sa.sun_path, sizeof(sa.sun_path), "%s_%u", path, port);
	int fd, r;

	if (n < 0 || (size_t)n >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0)
		return fd;
	r = -errno;
	close(fd);
	return r;
}

static int on_accept(void *arg, const struct vsock_call *ports, struct stream *stream)
{
	struct vsock_hybrid *h = arg;
	int fd = connect_to(h->socket.path, ports->host_port), r;
	struct call *c;

	if (fd < 0) {
		log_limited(LOG_LEVEL_INFO, "%s_%u: the guest's connection was refused: %s",
			    h->socket.path, ports->host_port, strerror(-fd));
		return fd;
	}
	c = call_new(h, fd);
	if (!c)
		return -ENOMEM;
	c->guest = stream;
	r = join(c);
	if (r == 0)
		return 0;
	if (c->guest) { /* the caller's still */
		c->guest = NULL;
		call_free(c);
		return r;
	}
	call_free(c);
	return 0; /* reset by the relay */
}

/* ---- life ---- */

int vsock_hybrid_new(struct loop *loop, struct vsock *vsock, const char *path,
		     struct vsock_hybrid **out)
{
	struct vsock_hybrid *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		return -ENOMEM;
	h->loop = loop;
	h->vsock = vsock;
	h->listener = (struct vsock_listener){
		.port = VSOCK_PORT_ANY,
		.accept = on_accept,
		.arg = h,
	};
	list_init(&h->listener.node);
	list_init(&h->calls);
	r = unix_socket_listen(path, &h->socket);
	if (r == 0)
		r = timer_new(loop, on_retry, h, &h->retry);
	if (r == 0)
		r = watch_new(loop, h->socket.fd, on_connection, h, &h->watch);
	if (r == 0)
		r = vsock_listen(vsock, &h->listener);
	if (r == -EOPNOTSUPP) {
		log_info("%s: the kernel serves what the guest connects to", path);
		r = 0;
	}
	if (r < 0) {
		vsock_hybrid_free(h);
		return r;
	}
	watch_want(h->watch, LOOP_READ);
	*out = h;
	return 0;
}

void vsock_hybrid_free(struct vsock_hybrid *h)
{
	if (!h)
		return;
	list_for_each(node, &h->calls)
		call_free(container_of(node, struct call, node));
	vsock_unlisten(h->vsock, &h->listener);
	watch_free(h->watch);
	timer_free(h->retry);
	unix_socket_close(&h->socket);
	free(h);
}
