/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/host_socket.h"

#include <dirent.h>
#include <err.h>
#include <stdlib.h>
#include <sys/socket.h>

int host_listen(const char *address, uint16_t *port)
{
	struct endpoint e = { .port = *port };
	struct sockaddr_storage sa;
	socklen_t len;
	int fd;

	if (ipaddr_parse(address, &e.addr) < 0)
		errx(EXIT_FAILURE, "%s is no address", address);
	len = endpoint_to_sockaddr(&e, &sa);
	fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, len) < 0 || listen(fd, 4096) < 0)
		err(EXIT_FAILURE, "listening on %s", address);
	len = sizeof(sa);
	if (getsockname(fd, (struct sockaddr *)&sa, &len) < 0 ||
	    endpoint_from_sockaddr(&sa, &e) < 0)
		err(EXIT_FAILURE, "the port on %s", address);
	*port = e.port;
	return fd;
}

int host_accept(int listener)
{
	return accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

unsigned int host_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	if (!dir)
		err(EXIT_FAILURE, "/proc/self/fd");
	while (readdir(dir))
		n++;
	(void)closedir(dir);
	return n;
}
