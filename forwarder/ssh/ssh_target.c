/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/ssh/ssh_target.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "forwarder/ssh/ssh_mailbox.h"
#include "forwarder/ssh/ssh_wait.h"

struct address {
	union {
		struct sockaddr any;
		struct sockaddr_storage inet;
		struct sockaddr_un un;
		struct sockaddr_vm vm;
	} u;
	socklen_t len;
};

void ssh_target_format(const struct ssh_target *target, char *text, size_t size)
{
	switch (target->kind) {
	case SSH_TARGET_HOST:
		snprintf(text, size, strchr(target->host, ':') ? "[%s]:%u" : "%s:%u", target->host,
			 target->port);
		break;
	case SSH_TARGET_VSOCK:
		snprintf(text, size, "vsock %u:%u", target->cid, target->port);
		break;
	case SSH_TARGET_UNIX:
		snprintf(text, size, "%s", target->path);
		break;
	case SSH_TARGET_DIAL:
		snprintf(text, size, "the guest's port %u", target->port);
		break;
	}
}

static int wait_connected(int fd, struct ssh_mailbox *mailbox)
{
	const struct ssh_wait wait = { fd, mailbox, ssh_now_ms() + SSH_CONNECT_MS };
	int r = ssh_wait_for(&wait, POLLOUT), error = 0;
	socklen_t len = sizeof(error);

	if (r < 0)
		return r;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		return -errno;
	return -error;
}

static int connect_to(const struct address *a, struct ssh_mailbox *mailbox)
{
	int fd = socket(a->u.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r = 0, one = 1;

	if (fd < 0)
		return -errno;
	if (connect(fd, &a->u.any, a->len) < 0)
		r = errno == EINPROGRESS ? wait_connected(fd, mailbox) : -errno;
	if (r < 0) {
		close(fd);
		return r;
	}
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* if it is TCP */
	return fd;
}

static int connect_host(const struct ssh_target *target, struct ssh_mailbox *mailbox, char *error,
			size_t size)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
	struct addrinfo *all;
	char port[8];
	int r;

	snprintf(port, sizeof(port), "%u", target->port);
	r = getaddrinfo(target->host, port, &hints, &all);
	if (r != 0) {
		snprintf(error, size, "%s", gai_strerror(r));
		return -EHOSTUNREACH;
	}
	r = -EHOSTUNREACH;
	for (const struct addrinfo *i = all; i; i = i->ai_next) {
		struct address a = { .len = i->ai_addrlen };

		memcpy(&a.u, i->ai_addr, i->ai_addrlen);
		r = connect_to(&a, mailbox);
		if (r >= 0 || r == -ECANCELED)
			break;
	}
	freeaddrinfo(all);
	return r;
}

static int connect_unix(const char *path, struct ssh_mailbox *mailbox)
{
	struct address a = { .u.un = { .sun_family = AF_UNIX }, .len = sizeof(a.u.un) };

	if (strlen(path) >= sizeof(a.u.un.sun_path))
		return -ENAMETOOLONG;
	memcpy(a.u.un.sun_path, path, strlen(path) + 1);
	return connect_to(&a, mailbox);
}

static int connect_vsock(const struct ssh_target *target, struct ssh_mailbox *mailbox)
{
	const struct address a = {
		.u.vm = { .svm_family = AF_VSOCK,
			  .svm_cid = target->cid,
			  .svm_port = target->port },
		.len = sizeof(a.u.vm),
	};

	return connect_to(&a, mailbox);
}

int ssh_target_connect(const struct ssh_target *target, struct ssh_mailbox *mailbox, char *error,
		       size_t size)
{
	int r = -EINVAL;

	error[0] = '\0';
	if (target->kind == SSH_TARGET_HOST)
		r = connect_host(target, mailbox, error, size);
	else if (target->kind == SSH_TARGET_UNIX)
		r = connect_unix(target->path, mailbox);
	else if (target->kind == SSH_TARGET_VSOCK)
		r = connect_vsock(target, mailbox);
	if (r < 0 && !*error)
		snprintf(error, size, "%s", strerrordesc_np(-r));
	return r;
}
