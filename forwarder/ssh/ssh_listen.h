/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The worker's ends of reverse forwards. libssh2 asks for one at a time. */
#include <stdbool.h>

#include "forwarder/ssh/ssh_line.h"
#include "forwarder/ssh/ssh_reverse.h"
#include "netstack/base/list.h"

struct ssh_listens {
	struct ssh_lines *lines;
	struct list asking, listening, leaving; /* of struct ssh_reverse */
	struct ssh_reverse *current;		/* its request is under way */
	bool is_asking;				/* and a reply is due */
	const bool *is_held; /* somebody else waits for one: they cannot be told apart */
};

void ssh_listens_init(struct ssh_listens *l, struct ssh_lines *lines, const bool *is_held);
/* News of one from the loop. 0, or an error that ends the session. */
int ssh_listens_notice(struct ssh_listens *l, struct ssh_reverse *reverse);
void ssh_listens_decline(struct ssh_listens *l, struct ssh_reverse *reverse);
/* As ssh_lines_receive(). */
int ssh_listens_receive(struct ssh_listens *l, unsigned int saw);
void ssh_listens_end(struct ssh_listens *l);
