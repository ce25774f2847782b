/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* One frame per datagram on a UNIX socket: QEMU's `-netdev dgram`, and vfkit's
 * and krunkit's unixgram (which may send the four bytes VFKT first). The peer
 * is whoever sent last from a bound address; it may be replaced at any time. */
#include <stdint.h>

struct link;
struct loop;

/* Binds path, mode 0600; stale files as in link_stream_listen(). */
int link_dgram_bind(struct loop *loop, const char *path, uint16_t mtu, struct link **out);
/* Takes a connected datagram or seqpacket socket. */
int link_dgram_from_fd(struct loop *loop, int fd, uint16_t mtu, struct link **out);
