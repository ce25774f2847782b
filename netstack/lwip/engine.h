/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* lwIP as a TCP engine: checked packets of guests in, IP packets for guests and
 * streams out. Ethernet, addresses and
 * policy are the caller's (stack.c).
 *
 * lwIP is used as it is. Two of its internals are relied on (checked at compile
 * time in vendor/lwip/assumptions.c):
 * - tcp_input() is called directly with lwIP's packet context filled in, so
 *   that any destination address is accepted; one listening connection is
 *   pointed at the port of each SYN just before, so that any port is.
 * - the segment size of a connection is raised to a multiple of the guest's up
 *   to 64 KiB where the link segments by itself, so that one pass through the
 *   engine moves 64 KiB.
 * Data is not copied on its way through: received frames are lent to lwIP by
 * reference, and sent data stays in blocks that lwIP refers to until the guest
 * has acknowledged them.
 *
 * No callback of the owner runs inside lwIP: connections that have news are
 * listed, and served by engine_serve(), which the owner calls after a batch of
 * input and the engine's own tick calls by itself. */
#include <stdbool.h>
#include <stdint.h>

#include "netstack/addr.h"
#include "netstack/frame.h"
#include "netstack/lwip/engine_owner.h"
#include "netstack/packet.h"

struct engine;
struct loop;
struct stream;

/* -EBUSY when there is one in this process. */
int engine_new(struct loop *loop, const struct engine_owner *owner, void *arg, struct engine **out);
void engine_free(struct engine *engine); /* resets all connections */

/* One checked TCP packet. A first SYN opens a connection to whatever address it
 * names: the owner decides beforehand whether it may. */
void engine_input(struct engine *engine, const struct frame *frame, const struct packet *packet);
/* Answers a packet that has no connection by a reset. */
void engine_refuse(struct engine *engine, const struct packet *packet);
/* Whether a connection between the packet's endpoints is in being. */
bool engine_knows(const struct engine *engine, const struct packet *packet);
/* Gives up, without a word to the guest, a connection between these that the
 * guest has not completed; nothing happens to any other. */
void engine_forget(struct engine *engine, const struct endpoint *guest, const struct endpoint *dst);
/* Calls the owners of streams that have news. */
void engine_serve(struct engine *engine);
/* The output takes packets again. */
void engine_writable(struct engine *engine);

/* Opens a connection from src (any port) to a guest. */
int engine_connect(struct engine *engine, const struct ipaddr *src, const struct endpoint *guest,
		   struct stream **out);
/* Nobody has this address: connections being opened to it end with -error. */
void engine_unreachable(struct engine *engine, const struct ipaddr *guest, int error);

const struct engine_counters *engine_counters(const struct engine *engine);
