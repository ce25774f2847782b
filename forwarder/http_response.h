/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Reads one HTTP/1.1 response (RFC 9112) as it comes in, in pieces of any size.
 * Pure, and strict: lines end with CR LF, the body has a Content-Length or is
 * chunked. What a server of ours never sends is an error. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_LINE_MAX 1024

enum http_response_state {
	HTTP_RESPONSE_STATUS_LINE,
	HTTP_RESPONSE_HEADER,
	HTTP_RESPONSE_BODY,
	HTTP_RESPONSE_CHUNK_SIZE,
	HTTP_RESPONSE_CHUNK,
	HTTP_RESPONSE_CHUNK_END,
	HTTP_RESPONSE_TRAILER,
	HTTP_RESPONSE_COMPLETE,
};

struct http_response {
	/* Gets the body, piece by piece, once the status is known. */
	void (*on_body)(void *arg, const char *data, size_t len);
	void *arg;

	enum http_response_state state;
	unsigned int status; /* 100 to 599; 0 until it is known */
	bool has_length, is_chunked;
	uint64_t remaining; /* bytes of the body or the chunk */
	char line[HTTP_LINE_MAX];
	size_t line_len;
};

/* 0, or -EPROTO: then it is not to be fed again. What follows the response is
 * an error, too. */
int http_response_feed(struct http_response *r, const char *data, size_t len);
bool http_response_is_complete(const struct http_response *r);
