/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Who holds a port of the host, for the error message that says so. Read from
 * /proc/net/{tcp,udp}{,6} of this network namespace; the process is known only
 * when it may be looked into (the same user's, or for root). */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "forwarder/forward_spec.h"
#include "netstack/addr.h"

struct port_owner {
	uid_t uid;
	pid_t pid;	  /* 0: not known */
	char command[64]; /* of pid, as in /proc/PID/comm */
};

/* One line of those files. */
struct proc_socket {
	struct endpoint local;
	bool is_listening; /* TCP; UDP sockets always are */
	uid_t uid;
	unsigned long inode;
};

/* 0, or -EINVAL for a line of another shape, such as the heading. */
int proc_socket_parse(const char *line, enum forward_proto proto, struct proc_socket *out);

/* 0, or -ENOENT when no socket in this namespace holds the port. */
int port_owner_find(enum forward_proto proto, const struct endpoint *host, struct port_owner *out);

/* "nginx (pid 1234)", or "a process of user alice" when only that is known. */
#define PORT_OWNER_TEXT_SIZE 128
const char *port_owner_format(const struct port_owner *owner,
			      char text[static PORT_OWNER_TEXT_SIZE]);
