/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/netns_sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/netns_enter.h"

#define BATCH 32 /* sockets in one message */
#define STORE_MAX 64
/* The child's end of the socket pair, and the only descriptor that it keeps. */
#define CHILD_FD 3

static const struct {
	int family, type;
	unsigned int level; /* how many are kept: the datagrams of one round each need one */
} kinds[NETNS_SOCKET_N_KINDS] = {
	[NETNS_SOCKET_TCP4] = { AF_INET, SOCK_STREAM, 32 },
	[NETNS_SOCKET_TCP6] = { AF_INET6, SOCK_STREAM, 8 },
	[NETNS_SOCKET_UDP4] = { AF_INET, SOCK_DGRAM, STORE_MAX },
	[NETNS_SOCKET_UDP6] = { AF_INET6, SOCK_DGRAM, 16 },
};

struct request {
	enum netns_socket_kind kind;
	unsigned int n; /* BATCH at most */
};

/* With the descriptors beside it; fewer than asked for when error is set. */
struct reply {
	enum netns_socket_kind kind;
	int error; /* -errno */
	char step[NETNS_STEP_SIZE];
};

struct store {
	int fds[STORE_MAX]; /* n of them */
	unsigned int n;
	bool is_asked; /* a reply is on the way */
};

struct netns_sockets {
	const struct netns_sockets_owner *owner;
	void *arg;
	int fd;
	pid_t child; /* 0: has ended */
	struct watch *watch;
	struct store stores[NETNS_SOCKET_N_KINDS];
};

union control {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(BATCH * sizeof(int))];
};

/* --- the child ----------------------------------------------------------- */

static int send_reply(const struct reply *reply, const int *fds, unsigned int n)
{
	struct iovec iov = { (void *)(uintptr_t)reply, sizeof(*reply) };
	union control control = { .bytes = { 0 } };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (n > 0) {
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(&control.header), fds, n * sizeof(int));
	}
	return sendmsg(CHILD_FD, &msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int serve_request(const struct request *request)
{
	struct reply reply = { .kind = request->kind };
	int family = kinds[request->kind].family, type = kinds[request->kind].type;
	int fds[BATCH], r;
	unsigned int n = 0;

	while (n < request->n && reply.error == 0) {
		int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

		if (fd < 0)
			reply.error = -errno;
		else
			fds[n++] = fd;
	}
	r = send_reply(&reply, fds, n);
	while (n > 0)
		close(fds[--n]);
	return r;
}

static void run_child(const char *netns)
{
	struct reply hello = { .kind = NETNS_SOCKET_N_KINDS };
	struct request request;

	(void)prctl(PR_SET_NAME, "netfwd-netns");
	hello.error = netns_enter(netns, hello.step);
	(void)close_range(CHILD_FD + 1, ~0U, 0);
	if (send_reply(&hello, NULL, 0) < 0 || hello.error < 0)
		return;
	while (recv(CHILD_FD, &request, sizeof(request), 0) == (ssize_t)sizeof(request)) {
		if (serve_request(&request) < 0)
			return;
	}
}

/* --- its parent ---------------------------------------------------------- */

/* What one message has brought, its descriptors in fds. */
static int receive(struct netns_sockets *s, struct reply *reply, int fds[BATCH], unsigned int *n)
{
	struct iovec iov = { reply, sizeof(*reply) };
	union control control;
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	ssize_t r = recvmsg(s->fd, &msg, MSG_CMSG_CLOEXEC);
	const struct cmsghdr *c;

	*n = 0;
	if (r < 0)
		return -errno;
	c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_type == SCM_RIGHTS) {
		*n = (unsigned int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds, CMSG_DATA(c), *n * sizeof(int));
	}
	if (msg.msg_flags & MSG_CTRUNC)
		reply->error = -EMFILE; /* of ours: what did not fit is closed */
	return r == (ssize_t)sizeof(*reply) ? 0 : -EPROTO;
}

static void end_child(struct netns_sockets *s)
{
	int status;

	if (!s->child)
		return;
	(void)kill(s->child, SIGKILL);
	while (waitpid(s->child, &status, 0) < 0 && errno == EINTR)
		;
	s->child = 0;
}

static void refill(struct netns_sockets *s, enum netns_socket_kind kind)
{
	struct store *store = &s->stores[kind];
	struct request request = { .kind = kind, .n = kinds[kind].level - store->n };

	if (store->is_asked || request.n == 0 || !s->child)
		return;
	if (request.n > BATCH)
		request.n = BATCH;
	/* Where it has no room the child has ended, which is noticed elsewhere. */
	store->is_asked = send(s->fd, &request, sizeof(request), MSG_NOSIGNAL) > 0;
}

/* 0 or -errno; the descriptors are in the store. */
static int take_in(struct netns_sockets *s)
{
	struct reply reply;
	struct store *store;
	unsigned int n;
	int fds[BATCH], r = receive(s, &reply, fds, &n);

	if (r < 0 || reply.kind >= NETNS_SOCKET_N_KINDS)
		return r < 0 ? r : -EPROTO;
	store = &s->stores[reply.kind];
	store->is_asked = false;
	for (unsigned int i = 0; i < n; i++)
		store->fds[store->n++] = fds[i]; /* no more than were missing */
	if (reply.error < 0)
		log_limited(LOG_LEVEL_WARN, "no more sockets of the guest's namespace: %s",
			    strerror(-reply.error));
	else
		refill(s, reply.kind);
	return 0;
}

static void on_readable(void *arg, unsigned int events)
{
	struct netns_sockets *s = arg;
	int r = take_in(s);

	(void)events;
	if (r == -EAGAIN)
		return;
	if (r == 0) {
		s->owner->arrived(s->arg);
		return;
	}
	watch_want(s->watch, 0);
	end_child(s);
	s->owner->lost(s->arg);
}

int netns_sockets_take(struct netns_sockets *s, enum netns_socket_kind kind)
{
	struct store *store = &s->stores[kind];
	int fd = store->n > 0 ? store->fds[--store->n] : -EAGAIN;

	refill(s, kind);
	return fd == -EAGAIN && !s->child ? -ENOTCONN : fd;
}

static int start_child(struct netns_sockets *s, const char *netns)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	s->fd = ends[0];
	s->child = netns_fork();
	if (s->child == 0) {
		if (dup2(ends[1], CHILD_FD) == CHILD_FD)
			run_child(netns);
		_exit(0);
	}
	close(ends[1]);
	if (s->child > 0)
		return 0;
	s->child = 0;
	return -errno;
}

/* Waits for the child to be there, and for one full store after the other. */
static int fill(struct netns_sockets *s, char step[static NETNS_STEP_SIZE])
{
	struct reply hello = { .error = 0 };
	int none[BATCH], r;
	unsigned int n;

	r = receive(s, &hello, none, &n);
	if (r == 0)
		r = hello.error;
	memcpy(step, hello.step, NETNS_STEP_SIZE);
	for (unsigned int kind = 0; r == 0 && kind < NETNS_SOCKET_N_KINDS; kind++) {
		struct store *store = &s->stores[kind];

		(void)snprintf(step, NETNS_STEP_SIZE, "fetch sockets");
		refill(s, (enum netns_socket_kind)kind);
		while (r == 0 && store->is_asked)
			r = take_in(s);
	}
	return r;
}

int netns_sockets_new(struct loop *loop, const char *netns, const struct netns_sockets_owner *owner,
		      void *arg, struct netns_sockets **out)
{
	struct netns_sockets *s = calloc(1, sizeof(*s));
	char step[NETNS_STEP_SIZE] = "start a child process";
	int r;

	if (!s)
		return -ENOMEM;
	s->owner = owner;
	s->arg = arg;
	s->fd = -1;
	r = start_child(s, netns);
	if (r == 0)
		r = fill(s, step);
	if (r == 0 && fcntl(s->fd, F_SETFL, O_NONBLOCK) < 0)
		r = -errno;
	if (r == 0)
		r = watch_new(loop, s->fd, on_readable, s, &s->watch);
	if (r < 0) {
		log_error("no sockets can be made in namespace %s: %s: %s", netns, step,
			  strerror(-r));
		netns_sockets_free(s);
		return r;
	}
	watch_want(s->watch, LOOP_READ);
	*out = s;
	return 0;
}

void netns_sockets_free(struct netns_sockets *s)
{
	if (!s)
		return;
	watch_free(s->watch);
	end_child(s);
	if (s->fd >= 0)
		close(s->fd);
	for (unsigned int kind = 0; kind < NETNS_SOCKET_N_KINDS; kind++) {
		struct store *store = &s->stores[kind];

		while (store->n > 0)
			close(store->fds[--store->n]);
	}
	free(s);
}
