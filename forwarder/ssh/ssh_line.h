/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The worker's ends of all channels of a session. What it has for the loop is put into
 * the loop's mailbox; the worker rouses it after each step. Everybody gets a turn of one
 * packet, so that none starves; who cannot send (no window) takes no turns. */
#include <libssh2.h>
#include <ssh2_more.h>

#include "netstack/base/list.h"

struct ssh_channel;
struct ssh_mailbox;
struct ssh_transport;

#define SSH_LINE_BUCKETS 256U
#define SSH_LINE_PACKET 32768U /* the largest that we ask for, and send */

struct ssh_lines {
	LIBSSH2_SESSION *session;
	struct ssh_transport *transport;
	struct ssh_mailbox *worker, *loop;
	struct list by_id[SSH_LINE_BUCKETS];
	struct list opening, busy, starved, idle, closing; /* each line is in one */
	unsigned int n;
	bool is_held; /* a key exchange is on: nothing can be sent */
};

void ssh_lines_init(struct ssh_lines *l);
/* The loop has news of a channel, perhaps that it is to be opened. */
int ssh_lines_notice(struct ssh_lines *l, struct ssh_channel *channel);
/* One that there is no line for, and will not be. */
void ssh_lines_decline(struct ssh_lines *l, struct ssh_channel *channel);
/* One that the guest has opened: its shared struct, or NULL without memory. */
struct ssh_channel *ssh_lines_adopt(struct ssh_lines *l, LIBSSH2_CHANNEL *lib);
/* What ssh2_more_read() has come upon. 0, or an error of libssh2 that ends the
 * session; the same for the next. */
int ssh_lines_receive(struct ssh_lines *l, unsigned int saw);
/* At most about max bytes. */
int ssh_lines_send(struct ssh_lines *l, size_t max);
/* There is more to send, and it can be. */
bool ssh_lines_can_go_on(const struct ssh_lines *l);
/* Before the session is freed. Of what becomes of the channels the loop decides: it
 * hears that the session has ended. */
void ssh_lines_end(struct ssh_lines *l);
