/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The reverse forwards of the tunnel, each asked of one of its sessions, and of
 * another when that is lost. */
#include "forwarder/tunnel.h"
#include "netstack/base/list.h"

struct ssh_reverse;
struct ssh_session;

struct ssh_listeners {
	struct list all; /* of struct tunnel_listener */
};

/* 0, -ENOMEM or -ENAMETOOLONG. */
int ssh_listeners_add(struct ssh_listeners *all, const struct tunnel_place *guest,
		      const struct tunnel_accept *accept, void *arg, struct tunnel_listener **out);
void ssh_listeners_remove(struct tunnel_listener *l);
/* Asks the session for all that no session has; NULL: there is none. */
void ssh_listeners_ask(struct ssh_listeners *all, struct ssh_session *session);
/* The session is about to be freed. */
void ssh_listeners_lose(struct ssh_listeners *all, struct ssh_session *session);
/* As struct ssh_session_owner has it. */
void ssh_listeners_news(void *arg, struct ssh_reverse *r);
