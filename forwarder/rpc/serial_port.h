/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* One end of a serial line, and the stream of its session (serial_session.h). In
 * the guest the line is a virtio-serial port or another character device, on the
 * host the socket that QEMU connects to it, for all sessions or for one.
 *
 * There is one session at a time: a new one breaks the stream of the former,
 * with -ECONNRESET. The line's own flow control is the only one: who does not
 * read holds up the line. All on the loop thread. */
#include <stdint.h>

struct loop;
struct serial_port;
struct stream;

struct serial_port_owner {
	/* The guest's end, and only that, has it: the host has begun a session. */
	void (*accepted)(void *arg, struct stream *host);
	/* The line is of no use any more; the port is to be freed, at any time.
	 * A guest's end whose host went away waits for the next one instead. */
	void (*broken)(void *arg, int error);
	void *arg;
};

struct serial_port_counters {
	uint64_t sessions;
	uint64_t stale_frames;	/* of other sessions */
	uint64_t bytes_skipped; /* no part of a frame, such as the fill that follows a crash */
};

/* Takes fd, makes it non-blocking, and a terminal raw; on error (-errno) it is
 * closed. Neither callback is called before it has returned. */
int serial_port_new(struct loop *loop, int fd, const struct serial_port_owner *owner,
		    struct serial_port **out);
/* Breaks the stream of its session, which stays its owner's to close. Accepts
 * NULL. */
void serial_port_free(struct serial_port *port);

/* The host's end begins a session: the stream is connecting until the guest's end
 * has answered. 0 or -errno. */
int serial_port_call(struct serial_port *port, struct stream **out);

const struct serial_port_counters *serial_port_counters(const struct serial_port *port);
