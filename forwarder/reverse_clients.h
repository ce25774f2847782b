/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Clients in the guest of one reverse forward of UDP that a tunnel listens for: each is
 * joined with a socket of its own to the host's server, so that answers find their way.
 * The guest's end knows when a client is idle; here there are only so many, the longest
 * unused goes first. All on the loop thread. */
#include <stdint.h>

#include "forwarder/udp_forward.h"

struct reverse_clients;
struct tunnel;

#define REVERSE_CLIENTS_MAX UDP_FLOWS_PER_FORWARD

struct reverse_clients_counters {
	uint64_t total; /* clients */
	uint64_t to_guest_bytes, to_host_bytes;
	uint64_t dropped; /* datagrams: no room, too long, no socket */
};

/* server: opens a flow to the host's. 0 or -ENOMEM. */
int reverse_clients_new(const struct udp_dialer *server, struct reverse_clients **out);
void reverse_clients_free(struct reverse_clients *all); /* ends them; accepts NULL */
/* As tunnel_accept.accepted_udp(). 0 or -errno: it is left alone. */
int reverse_clients_add(struct reverse_clients *all, struct tunnel *tunnel, uint64_t client);

unsigned int reverse_clients_n(const struct reverse_clients *all);
const struct reverse_clients_counters *reverse_clients_counters(const struct reverse_clients *all);
