/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* From a connected socket to a session that is logged in: key exchange, the server's
 * key, our own. In a session's thread; waits, within time limits. */
#include <libssh2.h>

#include "forwarder/ssh/ssh_config.h"
#include "forwarder/ssh/ssh_wait.h"

struct ssh_transport;

struct ssh_login {
	const struct ssh_config *config;
	struct ssh_transport *transport;
	struct ssh_mailbox *mailbox;
	unsigned int exchange_ms; /* for the server to agree on keys */

	LIBSSH2_SESSION *session; /* NULL, or to be freed by the caller, errors or not */
	bool is_exchanged;	  /* it got as far as keys: there is an SSH server */
	char note[SSH_TEXT_SIZE]; /* what the user should know of a success; or "" */
	char error[SSH_TEXT_SIZE];
};

/* 0; -ECANCELED; -EKEYREJECTED: the server's key is not the one that is expected,
 * and trying again is of no use; other -errno. error says what is wrong. */
int ssh_login(struct ssh_login *l);
