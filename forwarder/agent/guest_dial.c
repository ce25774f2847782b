/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/agent/guest_dial.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "forwarder/rpc/messages.h"

/* Three repetitions: an address that does not answer is given up after 15 s. */
#define SYN_COUNT 3

static int connect_to(int fd, const void *address, socklen_t len, bool *is_connecting)
{
	int error;

	*is_connecting = false;
	if (connect(fd, address, len) == 0)
		return fd;
	if (errno == EINPROGRESS) {
		*is_connecting = true;
		return fd;
	}
	error = errno;
	close(fd);
	/* a UNIX socket whose backlog is full says it that way */
	return error == EAGAIN ? -ECONNREFUSED : -error;
}

static int dial_path(const char *path, bool *is_connecting)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	memcpy(sun.sun_path, path, strnlen(path, sizeof(sun.sun_path) - 1));
	return connect_to(fd, &sun, sizeof(sun), is_connecting);
}

int guest_dial_stream(const struct rpc_place *place, bool *is_connecting)
{
	struct sockaddr_storage sa;
	socklen_t len;
	int fd, one = 1, syn_count = SYN_COUNT;

	if (place->path[0])
		return dial_path(place->path, is_connecting);
	len = endpoint_to_sockaddr(&place->endpoint, &sa);
	fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_SYNCNT, &syn_count, sizeof(syn_count));
	return connect_to(fd, &sa, len, is_connecting);
}

int guest_dial_udp(const struct endpoint *to)
{
	struct sockaddr_storage sa;
	socklen_t len = endpoint_to_sockaddr(to, &sa);
	bool is_connecting;
	int fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	return connect_to(fd, &sa, len, &is_connecting);
}
