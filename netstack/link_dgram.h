/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* One frame per datagram on a UNIX socket: QEMU's `-netdev dgram`, and vfkit's
 * and krunkit's unixgram (which may send the four bytes VFKT first).
 *
 * The guest is whoever sends first, from a bound address. The socket is then
 * connected to it: the kernel turns other senders away, says when the guest
 * has room, and does not count the guest's datagrams against
 * net.unix.max_dgram_qlen. When the guest has gone (noticed by a send, or by
 * looking after it every second) the next one may come. */
#include <stdint.h>

struct link;
struct loop;

/* Binds path; modes, stale files and errors as in unix_socket_bind(). */
int link_dgram_bind(struct loop *loop, const char *path, uint16_t mtu, struct link **out);
/* Takes a connected datagram or seqpacket socket, and closes it on error:
 * -EPROTOTYPE for another type of socket. When the guest goes, the link stays
 * down. */
int link_dgram_from_fd(struct loop *loop, int fd, uint16_t mtu, struct link **out);
