/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The tunnel "ssh": the guest's own SSH server opens the connections in the guest.
 *
 * It holds a few sessions, each with a thread of its own, so that encrypting is not
 * the loop's work and a busy connection does not hold up the others. A session that
 * is lost is replaced at once, then with growing pauses; connections are lost with
 * it, those that were not open yet go over another. */
#include "forwarder/ssh/ssh_config.h"
#include "forwarder/tunnel.h"

struct loop;

/* Copies config. Connects by itself. 0 or -ENOMEM. */
int ssh_tunnel_new(struct loop *loop, const struct ssh_config *config, struct tunnel **out);

/* Has a command run in the guest, by the shell of our user there; the stream is its
 * standard input and output. What it says of errors is not heard. As dial(), and
 * -ECONNREFUSED of the stream where the server runs no commands. */
int ssh_tunnel_run(struct tunnel *tunnel, const char *command, struct stream **out);
