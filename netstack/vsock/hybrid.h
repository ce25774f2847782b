/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A guest's vsock as UNIX sockets, for programs that know no vsock; in the form
 * of Firecracker ("hybrid vsock") and cloud-hypervisor.
 *
 *   to the guest:   connect to PATH, send "CONNECT port\n", read "OK port\n" (the
 *                   host's port); what follows is the stream. Closed without an
 *                   answer: nobody listens in the guest.
 *   from the guest: whatever port nobody else listens on leads to the socket
 *                   PATH_port, if there is one. */

struct loop;
struct vsock;
struct vsock_hybrid;

/* Listens on path; errors as of unix_socket_listen(), or -EADDRINUSE when another
 * one serves the guest's calls. A vsock that cannot have a listener for all ports
 * has no way from the guest. It stays the caller's. */
int vsock_hybrid_new(struct loop *loop, struct vsock *vsock, const char *path,
		     struct vsock_hybrid **out);
void vsock_hybrid_free(struct vsock_hybrid *hybrid); /* ends its connections; accepts NULL */
