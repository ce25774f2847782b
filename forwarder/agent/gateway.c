/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/agent/gateway.h"

#include <fcntl.h>
#include <linux/route.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Longer tables are cut: the default route comes first. */
#define ROUTES_SIZE 16384

/* Iface Destination Gateway Flags RefCnt Use Metric Mask ...; addresses as numbers
 * of this machine's byte order, in hexadecimal. */
static bool line_names(const char *line, const struct ipaddr *addr)
{
	unsigned int destination, by, flags, mask;
	struct ipaddr gateway;
	uint8_t bytes[4];

	/* NOLINTNEXTLINE(cert-err34-c): the kernel's numbers fit */
	if (sscanf(line, "%*s %8x %8x %4x %*s %*s %*s %8x", &destination, &by, &flags, &mask) != 4)
		return false;
	if (destination != 0 || mask != 0 || !(flags & RTF_UP) || !(flags & RTF_GATEWAY))
		return false;
	memcpy(bytes, &by, sizeof(bytes));
	gateway = ipaddr_from_v4(bytes);
	return ipaddr_equal(&gateway, addr);
}

bool gateway_in_text(const char *routes, const struct ipaddr *addr)
{
	const char *line = routes;

	while (line) {
		if (line_names(line, addr))
			return true;
		line = strchr(line, '\n');
		if (line)
			line++;
	}
	return false;
}

bool gateway_is(const struct ipaddr *addr)
{
	char text[ROUTES_SIZE];
	int fd = open("/proc/net/route", O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n = 1;

	if (fd < 0)
		return false;
	while (n > 0 && len < sizeof(text) - 1) {
		n = read(fd, text + len, sizeof(text) - 1 - len);
		if (n > 0)
			len += (size_t)n;
	}
	close(fd);
	text[len] = '\0';
	return gateway_in_text(text, addr);
}
