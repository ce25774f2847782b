/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/listen_socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "forwarder/port_owner.h"

int listen_socket_bind_fd(int fd, enum forward_proto proto, const struct endpoint *host)
{
	struct sockaddr_storage sa;
	socklen_t len = endpoint_to_sockaddr(host, &sa);
	const int on = 1;

	/* TCP only: with UDP the option would share the port with whoever sets
	 * it too, and part of the datagrams would be theirs. */
	if (proto == FORWARD_TCP && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		return -errno;
	if (sa.ss_family == AF_INET6 &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0)
		return -errno;
	return bind(fd, (struct sockaddr *)&sa, len) < 0 ? -errno : 0;
}

int listen_socket_bind(enum forward_proto proto, const struct endpoint *host)
{
	int family = ipaddr_is_v4(&host->addr) ? AF_INET : AF_INET6;
	int type = proto == FORWARD_TCP ? SOCK_STREAM : SOCK_DGRAM;
	int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int r;

	if (fd < 0)
		return -errno;
	r = listen_socket_bind_fd(fd, proto, host);
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

int listen_socket_address(int fd, struct endpoint *out)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);

	if (getsockname(fd, (struct sockaddr *)&sa, &len) < 0)
		return -errno;
	return endpoint_from_sockaddr(&sa, out);
}

/* The first port that needs no privilege to be bound, IPv6's too. */
static unsigned long unprivileged_port_start(void)
{
	FILE *file = fopen("/proc/sys/net/ipv4/ip_unprivileged_port_start", "re");
	unsigned long port = IPPORT_RESERVED;
	char line[32];

	if (!file)
		return port;
	if (fgets(line, sizeof(line), file))
		port = strtoul(line, NULL, 10);
	(void)fclose(file);
	return port;
}

const char *listen_socket_explain(enum forward_proto proto, const struct endpoint *host, int error,
				  char text[static LISTEN_ERROR_SIZE])
{
	char where[ADDR_TEXT_SIZE], who[PORT_OWNER_TEXT_SIZE] = "another program";
	unsigned long start = unprivileged_port_start();
	struct port_owner owner;
	int len;

	len = snprintf(text, LISTEN_ERROR_SIZE, "%s port %u of the host (%s) ",
		       forward_proto_name(proto), host->port, endpoint_format(host, where));
	text += len;
	if (error == -EADDRINUSE) {
		if (port_owner_find(proto, host, &owner) == 0)
			port_owner_format(&owner, who);
		(void)snprintf(text, LISTEN_ERROR_SIZE - (size_t)len,
			       "is in use by %s; stop that, or forward another host port", who);
	} else if (error == -EACCES && host->port < start) {
		(void)snprintf(text, LISTEN_ERROR_SIZE - (size_t)len,
			       "is privileged; forward a host port of %lu or above, or allow this "
			       "one: sudo sysctl net.ipv4.ip_unprivileged_port_start=%u",
			       start, host->port);
	} else if (error == -EADDRNOTAVAIL) {
		(void)snprintf(text, LISTEN_ERROR_SIZE - (size_t)len,
			       "cannot be had: no interface has this address; use 127.0.0.1, or "
			       "one that 'ip address' lists");
	} else if (error == -EMFILE) {
		(void)snprintf(text, LISTEN_ERROR_SIZE - (size_t)len,
			       "cannot be had: too many open files; forward fewer ports, or raise "
			       "the limit (ulimit -Hn)");
	} else {
		(void)snprintf(text, LISTEN_ERROR_SIZE - (size_t)len, "cannot be had: %s",
			       strerror(-error));
	}
	return text - len;
}
