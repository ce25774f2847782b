/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* QEMU's `-netdev stream`: frames behind a 32-bit big-endian length on a stream
 * socket (QEMU net/stream.c). Lossless; no offload; one guest at a time, which
 * may go and come back. A second guest that connects meanwhile is closed. */
#include <stdint.h>

struct link;
struct loop;

/* Listens on a UNIX socket, mode 0600. A stale socket file is replaced; one
 * that answers is not (-EADDRINUSE), nor is any other file (-EEXIST). The file
 * is removed by link_free(). */
int link_stream_listen(struct loop *loop, const char *path, uint16_t mtu, struct link **out);
/* Takes a connected stream socket, and closes it on error: -EPROTOTYPE for
 * another type of socket. When the guest goes, the link stays down. */
int link_stream_from_fd(struct loop *loop, int fd, uint16_t mtu, struct link **out);
