/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/http_response.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

/* Digits only, up to 15 of them. */
static int parse_number(const char *text, size_t len, unsigned int base, uint64_t *out)
{
	static const char digits[] = "0123456789abcdef";
	uint64_t value = 0;

	if (len == 0 || len > 15)
		return -EPROTO;
	for (size_t i = 0; i < len; i++) {
		char lower = (char)(text[i] >= 'A' && text[i] <= 'F' ? text[i] + 32 : text[i]);
		const char *digit = memchr(digits, lower, base);

		if (!digit)
			return -EPROTO;
		value = value * base + (uint64_t)(digit - digits);
	}
	*out = value;
	return 0;
}

static int take_status_line(struct http_response *r)
{
	static const char version[] = "HTTP/1.1 ";
	size_t len = sizeof(version) - 1;
	uint64_t status;

	if (strncmp(r->line, version, len) != 0 || parse_number(r->line + len, 3, 10, &status) < 0)
		return -EPROTO;
	if (status < 200 || status > 599 || r->line[len + 3] != ' ')
		return -EPROTO;
	r->status = (unsigned int)status;
	r->state = HTTP_RESPONSE_HEADER;
	return 0;
}

static int end_head(struct http_response *r)
{
	if (r->is_chunked == r->has_length)
		return -EPROTO;
	if (r->is_chunked)
		r->state = HTTP_RESPONSE_CHUNK_SIZE;
	else
		r->state = r->remaining ? HTTP_RESPONSE_BODY : HTTP_RESPONSE_COMPLETE;
	return 0;
}

static int take_header(struct http_response *r)
{
	const char *colon = strchr(r->line, ':'), *value;
	size_t name_len;

	if (r->line_len == 0)
		return end_head(r);
	if (!colon || colon == r->line)
		return -EPROTO;
	name_len = (size_t)(colon - r->line);
	value = colon + 1 + strspn(colon + 1, " \t");
	if (name_len == 14 && strncasecmp(r->line, "Content-Length", name_len) == 0) {
		if (r->has_length)
			return -EPROTO;
		r->has_length = true;
		return parse_number(value, strlen(value), 10, &r->remaining);
	}
	if (name_len == 17 && strncasecmp(r->line, "Transfer-Encoding", name_len) == 0) {
		if (strcasecmp(value, "chunked") != 0)
			return -EPROTO;
		r->is_chunked = true;
	}
	return 0;
}

static int take_chunk_size(struct http_response *r)
{
	if (parse_number(r->line, r->line_len, 16, &r->remaining) < 0)
		return -EPROTO;
	r->state = r->remaining ? HTTP_RESPONSE_CHUNK : HTTP_RESPONSE_TRAILER;
	return 0;
}

static int take_line(struct http_response *r)
{
	switch (r->state) {
	case HTTP_RESPONSE_STATUS_LINE:
		return take_status_line(r);
	case HTTP_RESPONSE_HEADER:
		return take_header(r);
	case HTTP_RESPONSE_CHUNK_SIZE:
		return take_chunk_size(r);
	case HTTP_RESPONSE_CHUNK_END:
		r->state = HTTP_RESPONSE_CHUNK_SIZE;
		return r->line_len == 0 ? 0 : -EPROTO;
	case HTTP_RESPONSE_TRAILER:
		if (r->line_len == 0)
			r->state = HTTP_RESPONSE_COMPLETE;
		return 0;
	case HTTP_RESPONSE_BODY:
	case HTTP_RESPONSE_CHUNK:
	case HTTP_RESPONSE_COMPLETE:
		break;
	}
	return -EPROTO;
}

/* One byte of a line. */
static int feed_line(struct http_response *r, char byte)
{
	int result;

	if (byte == '\0')
		return -EPROTO;
	if (byte != '\n') {
		if (r->line_len == sizeof(r->line) - 1)
			return -EPROTO;
		r->line[r->line_len++] = byte;
		return 0;
	}
	if (r->line_len == 0 || r->line[r->line_len - 1] != '\r')
		return -EPROTO;
	r->line[--r->line_len] = '\0';
	result = take_line(r);
	r->line_len = 0;
	return result;
}

/* The bytes of the body among the first len. */
static size_t feed_body(struct http_response *r, const char *data, size_t len)
{
	size_t n = len < r->remaining ? len : (size_t)r->remaining;

	r->on_body(r->arg, data, n);
	r->remaining -= n;
	if (r->remaining == 0)
		r->state = r->is_chunked ? HTTP_RESPONSE_CHUNK_END : HTTP_RESPONSE_COMPLETE;
	return n;
}

int http_response_feed(struct http_response *r, const char *data, size_t len)
{
	while (len > 0) {
		size_t n = 1;

		if (r->state == HTTP_RESPONSE_COMPLETE)
			return -EPROTO;
		if (r->state == HTTP_RESPONSE_BODY || r->state == HTTP_RESPONSE_CHUNK)
			n = feed_body(r, data, len);
		else if (feed_line(r, *data) < 0)
			return -EPROTO;
		data += n;
		len -= n;
	}
	return 0;
}

bool http_response_is_complete(const struct http_response *r)
{
	return r->state == HTTP_RESPONSE_COMPLETE;
}
