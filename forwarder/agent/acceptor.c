/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/agent/acceptor.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "forwarder/agent/gateway.h"
#include "forwarder/agent_token.h"
#include "netstack/base/list.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/stream_fd.h"
#include "netstack/unix_socket.h"

/* A connection for each flow comes by raw flows. */
#define BACKLOG 4096
/* A descriptor too few is not better in the next millisecond. */
#define PAUSE_MS 100
#define VSOCK_BUFFER_SIZE (1U << 20)

struct acceptor {
	struct loop *loop;
	struct acceptor_owner owner;
	/* Whether the one at this address may be the host. */
	bool (*admits)(const struct acceptor *a, const struct sockaddr_storage *peer);
	struct ipaddr from; /* of TCP; any: the gateway */
	int fd;
	struct unix_socket unix_socket; /* fd is its; or its is -1 */
	struct watch *watch;
	struct timer *pause;
	struct agent_token *token; /* NULL: none is asked for */
	struct list waiting;	   /* guest.node */
	unsigned int n_waiting;
	struct acceptor_counters counters;
};

/* Has connected, but not yet shown its token. */
struct visitor {
	struct list node; /* acceptor.waiting */
	struct acceptor *acceptor;
	int fd;
	struct watch *watch;
	struct timer *timer;
};

/* --- who is it ----------------------------------------------------------- */

static bool is_host_vsock(const struct acceptor *a, const struct sockaddr_storage *peer)
{
	const struct sockaddr_vm *vm = (const void *)peer;

	(void)a;
	return vm->svm_family == AF_VSOCK && vm->svm_cid == VMADDR_CID_HOST;
}

static bool is_anybody(const struct acceptor *a, const struct sockaddr_storage *peer)
{
	(void)a;
	(void)peer; /* the file's mode has decided */
	return true;
}

static bool is_host_tcp(const struct acceptor *a, const struct sockaddr_storage *peer)
{
	struct endpoint from;

	if (endpoint_from_sockaddr(peer, &from) < 0)
		return false;
	return ipaddr_is_any(&a->from) ? gateway_is(&from.addr) :
					 ipaddr_equal(&a->from, &from.addr);
}

/* --- letting in ---------------------------------------------------------- */

static void let_in(struct acceptor *a, int fd)
{
	struct stream *stream;
	int r;

	if (a->unix_socket.fd >= 0)
		unix_socket_widen(fd);
	r = stream_fd_new(a->loop, fd, false, &stream);

	if (r < 0) {
		log_error("a connection of the host is lost: %s", strerror(-r));
		return;
	}
	a->counters.accepted++;
	a->owner.accepted(a->owner.arg, stream);
}

/* Its descriptor is the caller's. */
static void visitor_free(struct visitor *v)
{
	list_unlink(&v->node);
	v->acceptor->n_waiting--;
	watch_free(v->watch);
	timer_free(v->timer);
	free(v);
}

static void turn_away(struct visitor *v, const char *why)
{
	v->acceptor->counters.bad_tokens++;
	log_limited(LOG_LEVEL_WARN, "a connection from the host's address is refused: %s", why);
	close(v->fd);
	visitor_free(v);
}

static void on_patience_over(void *arg)
{
	turn_away(arg, "it sent no token");
}

/* What follows the line is HTTP/2's, so the line is looked at before it is taken. */
static void on_visitor(void *arg, unsigned int events)
{
	struct visitor *v = arg;
	struct acceptor *a = v->acceptor;
	char line[AGENT_TOKEN_LINE_MAX];
	ssize_t n = recv(v->fd, line, sizeof(line), MSG_PEEK);
	const char *end = n > 0 ? memchr(line, '\n', (size_t)n) : NULL;
	int fd = v->fd;

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		turn_away(v, "it sent no token");
	} else if (!end && n < (ssize_t)sizeof(line)) {
		/* SO_RCVLOWAT: not before there is more */
		const int more = (int)n + 1;

		(void)setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &more, sizeof(more));
	} else if (!end || !agent_token_matches(a->token, line, (size_t)(end - line) + 1)) {
		turn_away(v, "it sent another token than ours");
	} else {
		const int any = 1;

		(void)recv(fd, line, (size_t)(end - line) + 1, 0);
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &any, sizeof(any));
		visitor_free(v);
		let_in(a, fd);
	}
}

static int visitor_new(struct acceptor *a, int fd)
{
	struct visitor *v = calloc(1, sizeof(*v));
	int r;

	if (!v)
		return -ENOMEM;
	v->acceptor = a;
	v->fd = fd;
	list_append(&a->waiting, &v->node);
	a->n_waiting++;
	r = watch_new(a->loop, fd, on_visitor, v, &v->watch);
	if (r == 0)
		r = timer_new(a->loop, on_patience_over, v, &v->timer);
	if (r < 0) {
		visitor_free(v);
		return r;
	}
	watch_want(v->watch, LOOP_READ);
	timer_start(v->timer, ACCEPTOR_PATIENCE_MS);
	return 0;
}

static void on_connection(struct acceptor *a, int fd, const struct sockaddr_storage *peer)
{
	if (!a->admits(a, peer)) {
		a->counters.strangers++;
		log_limited(LOG_LEVEL_WARN, "a connection that is not the host's is refused");
		close(fd);
	} else if (!a->token) {
		let_in(a, fd);
	} else if (a->n_waiting == ACCEPTOR_MAX_WAITING || visitor_new(a, fd) < 0) {
		a->counters.bad_tokens++;
		close(fd);
	}
}

static void on_pause_over(void *arg)
{
	struct acceptor *a = arg;

	watch_want(a->watch, LOOP_READ);
}

static void on_acceptable(void *arg, unsigned int events)
{
	struct acceptor *a = arg;
	struct sockaddr_storage peer = { 0 };
	socklen_t len = sizeof(peer);
	int fd = accept4(a->fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)events;
	if (fd >= 0) {
		if (peer.ss_family == AF_UNIX)
			unix_socket_widen(fd);
		on_connection(a, fd, &peer);
	} else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
		log_limited(LOG_LEVEL_WARN, "no connection of the host can be taken: %s",
			    strerror(errno));
		watch_want(a->watch, 0);
		timer_start(a->pause, PAUSE_MS);
	}
}

/* --- life ---------------------------------------------------------------- */

/* Takes a->fd, an error or not. */
static int start(struct acceptor *a)
{
	int r = watch_new(a->loop, a->fd, on_acceptable, a, &a->watch);

	if (r == 0)
		r = timer_new(a->loop, on_pause_over, a, &a->pause);
	if (r == 0)
		watch_want(a->watch, LOOP_READ);
	return r;
}

static struct acceptor *allocate(struct loop *loop, const struct acceptor_owner *owner)
{
	struct acceptor *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->loop = loop;
	a->owner = *owner;
	a->fd = a->unix_socket.fd = -1;
	list_init(&a->waiting);
	return a;
}

static int finish(struct acceptor *a, int r, struct acceptor **out)
{
	if (r == 0)
		r = start(a);
	if (r == 0)
		*out = a;
	else
		acceptor_free(a);
	return r;
}

static int listen_at(struct acceptor *a, const void *address, socklen_t len)
{
	const struct sockaddr *sa = address;
	const int on = 1;

	a->fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (a->fd < 0)
		return -errno;
	/* the address may come by DHCP later */
	if (sa->sa_family == AF_INET &&
	    (setsockopt(a->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	     setsockopt(a->fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on)) < 0 ||
	     setsockopt(a->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0))
		return -errno;
	if (bind(a->fd, sa, len) < 0 || listen(a->fd, BACKLOG) < 0)
		return -errno;
	return 0;
}

/* What the host may send before it is read: connections have it from their listener.
 * Each time that the agent runs costs more than the copying. */
static void widen_vsock(int fd)
{
	const uint64_t size = VSOCK_BUFFER_SIZE;

	(void)setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_MAX_SIZE, &size, sizeof(size));
	(void)setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, &size, sizeof(size));
}

int acceptor_listen_vsock(struct loop *loop, unsigned int port, const struct acceptor_owner *owner,
			  struct acceptor **out)
{
	const struct sockaddr_vm address = { .svm_family = AF_VSOCK,
					     .svm_cid = VMADDR_CID_ANY,
					     .svm_port = port };
	struct acceptor *a = allocate(loop, owner);
	int r;

	if (!a)
		return -ENOMEM;
	a->admits = is_host_vsock;
	r = listen_at(a, &address, sizeof(address));
	if (r == 0)
		widen_vsock(a->fd);
	return finish(a, r, out);
}

int acceptor_listen_unix(struct loop *loop, const char *path, const struct acceptor_owner *owner,
			 struct acceptor **out)
{
	struct acceptor *a = allocate(loop, owner);
	int r;

	if (!a)
		return -ENOMEM;
	a->admits = is_anybody;
	r = unix_socket_listen(path, &a->unix_socket);
	a->fd = a->unix_socket.fd;
	return finish(a, r, out);
}

int acceptor_listen_tcp(struct loop *loop, const struct acceptor_tcp *tcp,
			const struct acceptor_owner *owner, struct acceptor **out)
{
	struct acceptor *a = allocate(loop, owner);
	struct sockaddr_storage address;
	socklen_t len = endpoint_to_sockaddr(&tcp->local, &address);

	if (!a)
		return -ENOMEM;
	a->admits = is_host_tcp;
	a->from = tcp->from;
	a->token = malloc(sizeof(*a->token));
	if (!a->token)
		return finish(a, -ENOMEM, out);
	*a->token = *tcp->token;
	return finish(a, listen_at(a, &address, len), out);
}

unsigned int acceptor_vsock_port(const struct acceptor *a)
{
	struct sockaddr_vm address = { .svm_port = 0 };
	socklen_t len = sizeof(address);

	(void)getsockname(a->fd, (struct sockaddr *)&address, &len);
	return address.svm_port;
}

void acceptor_free(struct acceptor *a)
{
	struct list *node;

	if (!a)
		return;
	while ((node = list_take(&a->waiting))) {
		struct visitor *v = container_of(node, struct visitor, node);

		close(v->fd);
		visitor_free(v);
	}
	watch_free(a->watch);
	timer_free(a->pause);
	if (a->unix_socket.fd >= 0)
		unix_socket_close(&a->unix_socket);
	else if (a->fd >= 0)
		close(a->fd);
	free(a->token);
	free(a);
}

const struct acceptor_counters *acceptor_counters(const struct acceptor *a)
{
	return &a->counters;
}
