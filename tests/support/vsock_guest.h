/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A guest's vsock driver, behind a front end: packets out and in, each of them
 * what the test says. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "netstack/vsock/packet.h"
#include "tests/support/front_end.h"

#define VSOCK_GUEST_CID 5U
#define VSOCK_GUEST_PORT 1234U
#define VSOCK_GUEST_BUFFER 4096U

struct vsock_packet {
	struct vsock_header header;
	uint8_t payload[VSOCK_GUEST_BUFFER];
};

/* A header as the guest's kernel sends it, to a port of the host. */
struct vsock_header vsock_guest_header(enum vsock_op op, uint32_t host_port);
/* Sends it, with header.len bytes; kicks. */
void vsock_guest_send(struct front_end *fe, const struct vsock_header *header, const void *payload);
/* Offers n buffers for packets; without a kick. */
void vsock_guest_offer(struct front_end *fe, unsigned int n);
/* The next packet that the host has sent, if there is one. */
bool vsock_guest_take(struct front_end *fe, struct vsock_packet *packet);
