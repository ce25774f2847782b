/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A connection of a guest in memory to a server on the host, through the whole
 * stack: what several tests start from. Functions fail the test; cmocka.h comes
 * first. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/support/guest.h"

/* More than the kernel buffers for a server that does not read. */
#define OUTGOING_SIZE 12000000U

struct outgoing {
	struct guest guest;
	int listener, server; /* -1: none yet */
	uint16_t port;
	struct tcp_peer peer; /* the guest's end */
	uint8_t *got;	      /* by the server */
	size_t got_len;
};

/* What either side sends: byte i is always the same. */
extern uint8_t outgoing_data[OUTGOING_SIZE];

/* A test's setup and teardown; the server listens on this address. */
int outgoing_start(struct outgoing *o, const struct link_caps *caps, const char *address);
void outgoing_stop(struct outgoing *o);
/* Whether the server has its connection now. */
bool outgoing_accept(struct outgoing *o);
/* From guest to dst, until both are connected. */
void outgoing_connect(struct outgoing *o, const struct ipaddr *dst);
/* Whatever the server can read now: 0 at the end, -1 with errno, else > 0. */
ssize_t outgoing_read(struct outgoing *o);
/* Whether the server has read that many bytes in all; they are right. */
bool outgoing_has(struct outgoing *o, size_t len);
/* Whether the server has read all and come to the end. */
bool outgoing_ended(struct outgoing *o);
/* The guest writes up to `to`, or until the host's window is shut for good, as
 * the server does not read. Returns where it is. */
size_t outgoing_guest_writes(struct outgoing *o, size_t from, size_t to, bool server_reads);
/* The server writes up to `to`, or until nobody takes more. */
size_t outgoing_server_writes(struct outgoing *o, size_t from, size_t to);
/* Checks what the guest has got. */
void outgoing_assert_guest_got(const struct outgoing *o, size_t len);
