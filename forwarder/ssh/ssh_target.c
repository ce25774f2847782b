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
#include <unistd.h>

#include "forwarder/ssh/ssh_mailbox.h"
#include "forwarder/ssh/ssh_wait.h"

void ssh_target_format(const struct ssh_target *target, char *text, size_t size)
{
	if (target->dial)
		snprintf(text, size, "%s", target->name);
	else
		snprintf(text, size, strchr(target->host, ':') ? "[%s]:%u" : "%s:%u", target->host,
			 target->port);
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

static int connect_to(const struct addrinfo *address, struct ssh_mailbox *mailbox)
{
	int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r = 0, one = 1;

	if (fd < 0)
		return -errno;
	if (connect(fd, address->ai_addr, address->ai_addrlen) < 0)
		r = errno == EINPROGRESS ? wait_connected(fd, mailbox) : -errno;
	if (r == 0 && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0)
		r = -errno;
	if (r == 0)
		return fd;
	close(fd);
	return r;
}

int ssh_target_connect(const struct ssh_target *target, struct ssh_mailbox *mailbox, char *error,
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
		r = connect_to(i, mailbox);
		if (r >= 0 || r == -ECANCELED)
			break;
	}
	freeaddrinfo(all);
	if (r < 0)
		snprintf(error, size, "%s", strerrordesc_np(-r));
	return r;
}
