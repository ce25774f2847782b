/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A UNIX stream socket that any number of guests connect to, each of which
 * becomes a link of its own: QEMU's `-netdev stream`, and whoever speaks the
 * same framing (link_stream.h). The links are transient. */
#include <stdint.h>

struct link;
struct link_listener;
struct loop;

struct link_listener_config {
	const char *path;
	uint16_t mtu;
	/* A guest has connected: the link is the owner's. */
	void (*guest)(void *arg, struct link *link);
	void *arg;
};

/* The socket's file is made, and errors are, as those of link_stream_listen().
 * Guests are accepted from the loop's next round on. */
int link_listener_new(struct loop *loop, const struct link_listener_config *config,
		      struct link_listener **out);
/* Links that were made of it stay. Accepts NULL. */
void link_listener_free(struct link_listener *listener);
