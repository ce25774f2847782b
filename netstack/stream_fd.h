/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A stream over a non-blocking stream socket of the host. */
#include <stdbool.h>

#include "netstack/stream.h"

struct loop;

/* Takes fd, which must be non-blocking; on error fd is closed. With
 * is_connecting, read and write say -EAGAIN until the kernel's connect() is
 * over, then its error if it failed. */
int stream_fd_new(struct loop *loop, int fd, bool is_connecting, struct stream **out);
