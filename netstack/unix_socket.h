/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A UNIX socket bound to a path (unix(7)): only this user may connect, a file
 * left behind by a process that died is replaced, anything else is left alone,
 * and the file goes away with the socket. */
#include <sys/types.h>
#include <sys/un.h>

struct unix_socket {
	int fd;	   /* -1 when closed; non-blocking, close-on-exec */
	dev_t dev; /* of the file that bind() made */
	ino_t ino;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

/* Binds a socket of the given type (SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET)
 * with mode 0600. Fills in *s, with fd -1 on error:
 *   -ENAMETOOLONG  longer than sun_path
 *   -EINVAL        empty
 *   -EEXIST        the path is there and not a socket
 *   -EADDRINUSE    a socket that somebody serves
 *   other -errno of socket(2) and bind(2): -EACCES, -ENOENT, ... */
int unix_socket_bind(int type, const char *path, struct unix_socket *s);
/* unix_socket_bind() of a stream socket, and listen(2). */
int unix_socket_listen(const char *path, struct unix_socket *s);
/* A connected stream socket is to carry much: more waits in it, as far as the system
 * allows. */
void unix_socket_widen(int fd);
/* Closes the socket and removes its file, unless another socket has taken its
 * place. Harmless when closed already. */
void unix_socket_close(struct unix_socket *s);
