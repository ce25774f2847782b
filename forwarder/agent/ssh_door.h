/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The guest's SSH server at port 22 of AF_VSOCK, as systemd offers it by itself from
 * version 256 on: for the host alone, which needs no network to come that way. */

struct loop;
struct ssh_door;

/* 0 or -errno, -EADDRINUSE where somebody else offers it. */
int ssh_door_open(struct loop *loop, struct ssh_door **out);
/* Resets its connections. Accepts NULL. */
void ssh_door_close(struct ssh_door *door);
