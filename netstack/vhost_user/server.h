/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The socket of a vhost-user back end: one front end at a time, which may go and
 * come back; a second one meanwhile is closed. */
#include "netstack/vhost_user/backend.h"

struct loop;
struct vhost_server;

/* Listens on a UNIX socket; errors as of unix_socket_listen(). Front ends are
 * served from vhost_server_start() on. Copies *device. */
int vhost_server_listen(struct loop *loop, const char *path, const struct vhost_device *device,
			struct vhost_server **out);
void vhost_server_start(struct vhost_server *server);
void vhost_server_free(struct vhost_server *server); /* accepts NULL */

struct vhost_backend *vhost_server_backend(struct vhost_server *server);
