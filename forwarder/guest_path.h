/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* UNIX sockets of a guest that is a namespace. Where the guest was given as a process,
 * a path is as that process sees it: its links and its ".." lead nowhere but into its
 * own file system, so that a guest cannot point us to a socket of the host. A network
 * namespace alone has no files of its own: there it is a path of the host. */
#include "netstack/unix_socket.h"

struct loop;
struct stream;

struct guest_files {
	int process; /* its directory in /proc, or -1; the owner's */
};

/* netns as of --netns. 0 or -errno. */
int guest_files_open(const char *netns, struct guest_files *out);
void guest_files_close(struct guest_files *files);

/* As dial_unix(). */
int guest_path_dial(const struct guest_files *files, struct loop *loop, const char *path,
		    struct stream **out);

struct guest_socket {
	struct unix_socket socket;
	int directory; /* or -1 */
};
/* A stream socket bound to the path, by unix_socket_bind(). */
int guest_path_bind(const struct guest_files *files, const char *path, struct guest_socket *out);
void guest_socket_close(struct guest_socket *s);
