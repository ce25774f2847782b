/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The loop's end of a channel: a struct stream. Made before there is a session to
 * carry it, it can be handed from one that is lost to another as long as it is not
 * connected. */
#include "forwarder/ssh/ssh_channel.h"
#include "netstack/base/list.h"
#include "netstack/stream.h"

struct ssh_stream {
	struct stream base;
	struct list node;	     /* the holder's: a session's, or of those that wait */
	struct ssh_channel *channel; /* NULL: none yet, or lost */
	struct ssh_mailbox *worker;  /* that of the channel's session */
	struct ssh_mailbox *loop;
	bool is_shut; /* before there was a channel */

	/* The holder's, and how it hears of things; or NULL. */
	void *holder;
	void (*ended)(struct ssh_stream *s); /* before it is freed */
	void (*moved)(struct ssh_stream *s, size_t n);
	struct ssh_place place; /* where one leads that was dialled */
	uint64_t deadline_ms;	/* for one that waits */
};

struct ssh_stream *ssh_stream_new(void); /* NULL: no memory */
/* Takes the loop's end of the channel. */
void ssh_stream_attach(struct ssh_stream *s, struct ssh_channel *channel,
		       struct ssh_mailbox *worker, struct ssh_mailbox *loop);
/* The channel is gone with its session. With an error the stream is broken by it. */
void ssh_stream_detach(struct ssh_stream *s, int error);
/* The channel has news. May free the stream. */
void ssh_stream_notify(struct ssh_stream *s);
