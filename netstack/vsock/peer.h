/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A vsock that another program has: the guest of Firecracker or cloud-hypervisor, or
 * of another netfwd, behind the UNIX socket that those offer (hybrid.h says what is
 * spoken there). It dials; what the guest connects to goes to sockets beside that one,
 * which are not ours: listen() gives -EOPNOTSUPP. */
#include "netstack/vsock/vsock.h"

struct loop;

/* The socket need not be there yet. 0, -ENOMEM, -ENAMETOOLONG. */
int vsock_peer_new(struct loop *loop, const char *path, struct vsock **out);
