/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The socket of one port of the host, and in words why it could not be had. */
#include "forwarder/forward_spec.h"
#include "netstack/addr.h"

/* A non-blocking socket bound to host; of TCP not listening yet. An IPv6
 * wildcard does not take the IPv4 port. The descriptor, or -errno of socket(2)
 * or bind(2). Port 0 takes a free one. */
int listen_socket_bind(enum forward_proto proto, const struct endpoint *host);
/* The same with a new socket of the caller's. 0 or -errno. */
int listen_socket_bind_fd(int fd, enum forward_proto proto, const struct endpoint *host);
/* Where it is bound. */
int listen_socket_address(int fd, struct endpoint *out);

#define LISTEN_ERROR_SIZE 384

/* One line on a -errno of binding or listening: what is wrong with this port
 * of the host, who has it, what to do. */
const char *listen_socket_explain(enum forward_proto proto, const struct endpoint *host, int error,
				  char text[static LISTEN_ERROR_SIZE]);
