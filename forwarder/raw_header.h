/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Raw flows: what netfwd and its agent speak on a connection that carries one flow and
 * nothing else, so that its bytes need no framing. Over AF_VSOCK; the agent's port is
 * in its Hello (rpc/agent.proto). Numbers are big-endian.
 *
 *   host to agent     0  3  "NFR"
 *                     3  1  version, 1
 *                     4  1  kind: 1 TCP, 2 UDP, 3 UNIX socket; of what the agent has
 *                           accepted (Listen in agent.proto) 4 TCP or UNIX, 5 UDP
 *                     5  1  length n of what follows the port: 4 or 16 bytes of an
 *                           address, or 1 to 107 of an absolute path, no zero, or 8
 *                           of the number that was accepted, not 0
 *                     6  2  port, 1 to 65535; 0 for all but an address
 *                     8  n  address, path or number
 *   agent to host     0  3  "NFR"
 *                     3  1  version, 1
 *                     4  4  how connecting went: 0, or errno of Linux
 *
 * The host sends nothing more before the answer is there. After 0 come the bytes of
 * the flow, both ways. Each direction of TCP and UNIX flows ends by a shutdown of
 * sending (VSOCK_SHUTDOWN_SEND), and the connection is closed when both have. An end
 * whose sender takes nothing any more, though the other direction has not ended, is a
 * reset: vsock itself tells no reset from an end.
 *
 * UDP: each datagram is 2 bytes of length and as many bytes, 0 to 65527. The length
 * 65535, from whose end the server is at, has no bytes: nobody listens there. The
 * first end of either
 * direction ends the flow.
 *
 * Pure. */
#include <stddef.h>
#include <stdint.h>

#include "forwarder/rpc/messages.h"

#define RAW_HEAD_SIZE 8U /* of a header, without its address or path */
#define RAW_HEADER_MAX (RAW_HEAD_SIZE + RPC_PATH_SIZE - 1)
#define RAW_ANSWER_SIZE 8U

/* Returns its length. */
size_t raw_header_encode(const struct rpc_open *open, uint8_t out[static RAW_HEADER_MAX]);
/* How long the header is that begins with these bytes, or -EPROTO. */
int raw_header_size(const uint8_t head[static RAW_HEAD_SIZE]);
/* len is what raw_header_size() says. 0 or -EPROTO. */
int raw_header_decode(const uint8_t *header, size_t len, struct rpc_open *out);

/* error is 0 or -errno. */
void raw_answer_encode(int error, uint8_t out[static RAW_ANSWER_SIZE]);
/* 0 or -EPROTO; *error is 0 or -errno. */
int raw_answer_decode(const uint8_t answer[static RAW_ANSWER_SIZE], int *error);
