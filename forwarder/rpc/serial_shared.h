/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What serial_port.c, the line, and serial_stream.c, the stream of its session,
 * share. Included after serial_port.h. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "forwarder/rpc/serial_frame.h"
#include "forwarder/rpc/serial_session.h"
#include "netstack/base/loop.h"
#include "netstack/stream.h"

#define RX_SIZE (2 * (size_t)SERIAL_FRAME_MAX)
/* A call or a hello: the fill, and the frame. Besides it or data: replies. */
#define TX_SIZE (2 * (size_t)SERIAL_FRAME_MAX)

/* A session's; it outlives the session, and maybe the port. */
struct serial_stream {
	struct stream base;
	struct serial_port *port; /* NULL: the session is over */
	bool is_ended;		  /* nothing more comes, but maybe base.error */
	bool is_shut;		  /* nothing more is written */
	unsigned int wanted;
	struct loop *loop;
	struct loop_deferred notify;
};

struct serial_port {
	struct loop *loop;
	int fd;
	struct serial_port_owner owner;
	struct serial_session session;
	struct serial_stream *stream; /* of the session; NULL: there is none */
	struct watch *watch;
	struct timer *absent; /* runs while the host is not there */
	struct loop_deferred notify;
	bool is_opened; /* to be told to the owner */
	int error;	/* -errno once the line broke */
	struct serial_port_counters counters;

	const uint8_t *payload; /* in rx, of the session: not yet read */
	size_t payload_len;
	size_t rx_start, rx_end, tx_start, tx_end;
	uint8_t rx[RX_SIZE], tx[TX_SIZE];
};

/* --- serial_port.c --- */

/* Puts a frame behind what waits to be sent. */
void serial_port_send_control(struct serial_port *p, enum serial_type type);
/* Sends what waits, as far as the line takes it. */
void serial_port_send_more(struct serial_port *p);
/* Reads frames from what was received, up to the next payload. */
void serial_port_take_frames(struct serial_port *p);
/* After any change of what is waited for. */
void serial_port_update_wants(struct serial_port *p);

/* --- serial_stream.c --- */

/* Makes the port's stream, of a session that begins. 0 or -ENOMEM. */
int serial_stream_attach(struct serial_port *p);
/* The session is over. error 0: it ended in order, which is read as the end. */
void serial_stream_detach(struct serial_port *p, int error);
/* The other end writes no more. Accepts NULL, as the next. */
void serial_stream_end_reading(struct serial_stream *s);
/* Its owner is called, before the loop sleeps. */
void serial_stream_tell(struct serial_stream *s);
