/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The guest's vsock that the options ask for, and the sockets at which other
 * programs find it. */

struct guest_vsock;
struct loop;
struct options;
struct vsock;

/* *out is NULL when the guest has none. -errno, after one line that says why. */
int guest_vsock_open(struct loop *loop, const struct options *options, struct guest_vsock **out);
/* When all who dialled or listen have ended that. Accepts NULL. */
void guest_vsock_free(struct guest_vsock *guest);
/* To dial the guest, and to listen for it; NULL of NULL. */
struct vsock *guest_vsock_of(const struct guest_vsock *guest);
