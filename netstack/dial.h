/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Streams to servers that the kernel reaches. Whatever becomes of the connection is
 * told by the stream, which is the caller's at once. */
#include "netstack/addr.h"

struct loop;
struct stream;

/* How long a UNIX socket's server may be too busy to take a connection. */
#define DIAL_UNIX_BUSY_MS 5000

/* Takes fd, a new non-blocking TCP socket, also on error. 0 or -ENOMEM. */
int dial_tcp_fd(struct loop *loop, int fd, const struct endpoint *to, struct stream **out);
/* By a socket of this process's network. 0, or -errno of socket(2). */
int dial_tcp(struct loop *loop, const struct endpoint *to, struct stream **out);
/* A UNIX socket: -ENAMETOOLONG; a path where nothing is is -ENOENT of the stream. */
int dial_unix(struct loop *loop, const char *path, struct stream **out);
/* No connection at all: a stream that has failed already with this -errno. 0 or
 * -ENOMEM. */
int dial_failed(int error, struct stream **out);
