/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/h2_frames.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void h2_init(struct h2_bytes *b)
{
	b->len = 0;
	b->data = malloc(H2_BYTES_MAX);
	if (!b->data)
		abort();
}

void h2_deinit(struct h2_bytes *b)
{
	free(b->data);
}

void h2_raw(struct h2_bytes *b, const void *data, size_t len)
{
	if (b->len + len > H2_BYTES_MAX) {
		(void)fprintf(stderr, "h2_frames: too many bytes\n");
		abort();
	}
	if (len)
		memcpy(b->data + b->len, data, len);
	b->len += len;
}

void h2_frame(struct h2_bytes *b, const struct h2_frame *f)
{
	uint8_t head[9] = {
		(uint8_t)(f->len >> 16),    (uint8_t)(f->len >> 8),    (uint8_t)f->len,
		(uint8_t)f->type,	    (uint8_t)f->flags,	       (uint8_t)(f->stream >> 24),
		(uint8_t)(f->stream >> 16), (uint8_t)(f->stream >> 8), (uint8_t)f->stream,
	};

	h2_raw(b, head, sizeof(head));
	h2_raw(b, f->payload, f->len);
}

void h2_settings(struct h2_bytes *b)
{
	h2_frame(b, &(struct h2_frame){ .type = H2_SETTINGS });
	h2_frame(b, &(struct h2_frame){ .type = H2_SETTINGS, .flags = H2_ACK });
}

void h2_hello(struct h2_bytes *b)
{
	h2_raw(b, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
	h2_settings(b);
}

/* Literal, not indexed, with a new name (RFC 7541, section 6.2.2). */
static size_t add_header(uint8_t *out, const char *name, const char *value)
{
	size_t n = strlen(name), v = strlen(value), at = 0;

	if (n > 126 || v > 126)
		abort();
	out[at++] = 0;
	out[at++] = (uint8_t)n;
	memcpy(out + at, name, n);
	at += n;
	out[at++] = (uint8_t)v;
	memcpy(out + at, value, v);
	return at + v;
}

static void headers(struct h2_bytes *b, uint32_t stream, const char *const (*all)[2],
		    unsigned int flags)
{
	uint8_t block[1024];
	size_t len = 0;

	for (; (*all)[0]; all++)
		len += add_header(block + len, (*all)[0], (*all)[1]);
	h2_frame(b, &(struct h2_frame){ H2_HEADERS, H2_END_HEADERS | flags, stream, block, len });
}

void h2_request(struct h2_bytes *b, uint32_t stream, const char *path)
{
	const char *const all[][2] = {
		{ ":method", "POST" },
		{ ":scheme", "http" },
		{ ":path", path },
		{ ":authority", "" }, /* as Lima's client leaves it */
		{ "content-type", "application/grpc" },
		{ "te", "trailers" },
		{ NULL, NULL },
	};

	headers(b, stream, all, 0);
}

void h2_response(struct h2_bytes *b, uint32_t stream)
{
	static const char *const all[][2] = {
		{ ":status", "200" },
		{ "content-type", "application/grpc" },
		{ NULL, NULL },
	};

	headers(b, stream, all, 0);
}

void h2_trailers(struct h2_bytes *b, uint32_t stream, const char *status)
{
	const char *const all[][2] = { { "grpc-status", status }, { NULL, NULL } };

	headers(b, stream, all, H2_END_STREAM);
}

void h2_message(struct h2_bytes *b, uint32_t stream, const void *data, size_t len)
{
	uint8_t *payload = malloc(5 + len);

	if (!payload)
		abort();
	payload[0] = 0;
	payload[1] = (uint8_t)(len >> 24);
	payload[2] = (uint8_t)(len >> 16);
	payload[3] = (uint8_t)(len >> 8);
	payload[4] = (uint8_t)len;
	memcpy(payload + 5, data, len);
	h2_frame(b, &(struct h2_frame){ H2_DATA, 0, stream, payload, 5 + len });
	free(payload);
}
