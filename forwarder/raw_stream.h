/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The bytes of a raw flow (raw_header.h): the connection that carries it, where an
 * end that is none in order is the reset it stands for. Its sockets are not spliced:
 * the kernel would send vsock packets of a page. */

struct stream;

/* Takes inner, past the answer; on error (-ENOMEM) it is reset. */
int raw_stream_new(struct stream *inner, struct stream **out);
