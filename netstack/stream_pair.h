/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A stream over two descriptors, one for each direction: standard input and
 * output, be they pipes or sockets. SIGPIPE has to be ignored. */
#include "netstack/stream.h"

struct loop;

/* Takes both descriptors, which may be one twice; on error they are closed. Makes
 * them non-blocking. closed() is called when the owner has ended the stream; it
 * may be NULL. */
int stream_pair_new(struct loop *loop, const int fds[2], void (*closed)(void *arg), void *arg,
		    struct stream **out);
