/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Frames of HTTP/2 (RFC 9113) as a peer writes them that may do anything: nothing
 * here is checked. Each call appends to bytes; too many abort. */
#include <stddef.h>
#include <stdint.h>

#define H2_BYTES_MAX (4U * 1024 * 1024)

struct h2_bytes {
	uint8_t *data; /* H2_BYTES_MAX of them */
	size_t len;
};

enum h2_type {
	H2_DATA,
	H2_HEADERS,
	H2_PRIORITY,
	H2_RST_STREAM,
	H2_SETTINGS,
	H2_PUSH_PROMISE,
	H2_PING,
	H2_GOAWAY,
	H2_WINDOW_UPDATE,
	H2_CONTINUATION,
};

#define H2_END_STREAM 1U
#define H2_ACK 1U
#define H2_END_HEADERS 4U
#define H2_PADDED 8U

struct h2_frame {
	enum h2_type type;
	unsigned int flags;
	uint32_t stream;
	const void *payload;
	size_t len;
};

void h2_init(struct h2_bytes *b);
void h2_deinit(struct h2_bytes *b);
void h2_raw(struct h2_bytes *b, const void *data, size_t len);
void h2_frame(struct h2_bytes *b, const struct h2_frame *frame);
/* What a client says first, and an empty SETTINGS; a server's is that alone. */
void h2_hello(struct h2_bytes *b);
void h2_settings(struct h2_bytes *b);
/* A call; the answer to one; its end. */
void h2_request(struct h2_bytes *b, uint32_t stream, const char *path);
void h2_response(struct h2_bytes *b, uint32_t stream);
void h2_trailers(struct h2_bytes *b, uint32_t stream, const char *status);
/* One gRPC message in a frame of its own. */
void h2_message(struct h2_bytes *b, uint32_t stream, const void *data, size_t len);
