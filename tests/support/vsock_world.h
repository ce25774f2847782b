/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A vsock device, a guest's driver behind it, and one stream between them: the
 * fixture of the vsock tests. */
#include <stdint.h>
#include <sys/types.h>

#include "netstack/relay.h"
#include "netstack/stream.h"
#include "netstack/vsock/device.h"
#include "tests/support/vsock_guest.h"

#define VSOCK_WORLD_PORT 7000U
#define VSOCK_WORLD_BUFFER (1U << 20) /* what the device lets a guest send */

struct vsock_world {
	struct loop *loop;
	struct vsock *vsock;
	struct front_end fe;
	char dir[32], path[64];
	struct vsock_packet packet;
	struct vsock_header header; /* of the connection, for the guest to send */
	struct stream *stream;
	unsigned int n_ready;
	/* of the listener */
	struct vsock_listener listener;
	struct vsock_call call;
	int verdict;
	struct relay *relay;
	struct relay_result result;
};

/* Until nothing happens any more. */
void world_settle(struct vsock_world *f);
int world_setup(void **state);
int world_teardown(void **state);
/* Counts in n_ready; arg is the world. */
void world_on_ready(void *arg);
/* The front end has set the device up. */
void world_start(struct vsock_world *f);
/* The next packet to the guest, which must be of that kind: in world.packet. */
void world_take_op(struct vsock_world *f, enum vsock_op op);
/* There is none. */
void world_assert_silent(struct vsock_world *f);
/* A packet of the guest's, with world.header. */
void world_send_op(struct vsock_world *f, enum vsock_op op);
void world_send_shutdown(struct vsock_world *f, uint32_t flags);
void world_send_bytes(struct vsock_world *f, const void *bytes, size_t len);
/* Dials; the guest has all its buffers, and the request. */
void world_dial(struct vsock_world *f);
/* The same, and the guest has accepted. */
void world_open_stream(struct vsock_world *f);
ssize_t world_read_some(struct vsock_world *f, void *bytes, size_t len);
ssize_t world_write_some(struct vsock_world *f, const void *bytes, size_t len);
