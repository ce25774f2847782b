/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/borrowed_port.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Somebody may take a port between our look and netfwd's. */
#define TRIES 4

/* One that nobody has right now; 0 or -errno. */
static int find_free(uint16_t *port)
{
	struct sockaddr_in any = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t len = sizeof(any);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), r = 0;

	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&any, len) < 0 ||
	    getsockname(fd, (struct sockaddr *)&any, &len) < 0)
		r = -errno;
	close(fd);
	*port = ntohs(any.sin_port);
	return r;
}

static void ignore_body(void *arg, const char *data, size_t len)
{
	(void)arg;
	(void)data;
	(void)len;
}

static int ask(const struct borrowed_port *port, const char *method, char *error)
{
	char body[128];
	const struct control_call call = {
		.socket = port->control,
		.method = method,
		.path = "/v1/forwards",
		.body = body,
		.on_body = ignore_body,
	};

	(void)snprintf(body, sizeof(body),
		       "{\"proto\":\"tcp\",\"host\":\"127.0.0.1:%u\",\"guest\":\"%u\","
		       "\"via\":\"direct\"}",
		       port->host, port->guest);
	return control_client_call(&call, error);
}

int borrowed_port_open(struct borrowed_port *port, char error[static CONTROL_CLIENT_ERROR_SIZE])
{
	int r = -EREMOTEIO;

	for (int i = 0; i < TRIES && r == -EREMOTEIO; i++) {
		r = find_free(&port->host);
		if (r < 0)
			(void)snprintf(error, CONTROL_CLIENT_ERROR_SIZE,
				       "no free port of the host: %s", strerror(-r));
		else
			r = ask(port, "POST", error);
	}
	if (r == -ETIMEDOUT || r == -ECONNRESET) { /* it may be open */
		char ignored[CONTROL_CLIENT_ERROR_SIZE];

		(void)ask(port, "DELETE", ignored);
	}
	if (r < 0)
		port->host = 0;
	return r;
}

int borrowed_port_close(struct borrowed_port *port, char error[static CONTROL_CLIENT_ERROR_SIZE])
{
	int r = port->host ? ask(port, "DELETE", error) : 0;

	if (r == -ENOENT) /* nobody serves the socket any more */
		r = 0;
	if (r == 0)
		port->host = 0;
	return r;
}
