/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/rpc/grpc_message.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "netstack/base/bytes.h"

enum {
	STATE_PREFIX,
	STATE_TAG,
	STATE_VARINT,  /* a value */
	STATE_LENGTH,  /* of the bytes that follow */
	STATE_COPY,    /* field_left bytes belong to the rest */
	STATE_PAYLOAD, /* field_left bytes are handed through */
	STATE_DONE,    /* the message was given out */
};

/* Wire types (protobuf's encoding). */
enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

#define SMALLEST_REST 64U

void grpc_prefix(uint8_t out[static GRPC_PREFIX_SIZE], size_t len)
{
	out[0] = 0; /* not compressed */
	put_be32(out + 1, (uint32_t)len);
}

size_t grpc_head(uint8_t out[static GRPC_HEAD_MAX], unsigned int field, size_t len)
{
	size_t n = GRPC_PREFIX_SIZE, value = len;

	out[n++] = (uint8_t)(field << 3 | WIRE_BYTES);
	for (; value >= 0x80; value >>= 7)
		out[n++] = (uint8_t)(value | 0x80);
	out[n++] = (uint8_t)value;
	grpc_prefix(out, n - GRPC_PREFIX_SIZE + len);
	return n;
}

void grpc_reader_init(struct grpc_reader *r, const struct grpc_limits *limits)
{
	*r = (struct grpc_reader){ .limits = *limits, .state = STATE_PREFIX };
}

void grpc_reader_deinit(struct grpc_reader *r)
{
	free(r->rest);
	r->rest = NULL;
}

static int rest_append(struct grpc_reader *r, const uint8_t *data, size_t len)
{
	size_t needed = r->rest_len + len, capacity = r->capacity ? r->capacity : SMALLEST_REST;
	uint8_t *larger;

	if (needed > r->limits.rest_max)
		return -EMSGSIZE;
	while (capacity < needed)
		capacity *= 2;
	if (capacity > r->capacity) {
		larger = realloc(r->rest, capacity);
		if (!larger)
			return -ENOMEM;
		r->rest = larger;
		r->capacity = capacity;
	}
	memcpy(r->rest + r->rest_len, data, len);
	r->rest_len = needed;
	return 0;
}

static void start_tag(struct grpc_reader *r)
{
	r->state = STATE_TAG;
	r->varint = 0;
	r->shift = 0;
	r->tag_start = r->rest_len;
}

static int on_prefix(struct grpc_reader *r, const uint8_t **data, size_t *len)
{
	while (r->n_prefix < GRPC_PREFIX_SIZE && *len) {
		r->prefix[r->n_prefix++] = *(*data)++;
		(*len)--;
	}
	if (r->n_prefix < GRPC_PREFIX_SIZE)
		return 0;
	if (r->prefix[0] != 0) /* compressed, which we never announced */
		return -EPROTO;
	r->left = get_be32(r->prefix + 1);
	r->rest_len = 0;
	r->has_payload = false;
	if (r->left > r->limits.message_max)
		return -EMSGSIZE;
	start_tag(r);
	if (r->limits.payload_field == 0) {
		if (r->left > r->limits.rest_max)
			return -EMSGSIZE;
		r->state = STATE_COPY;
		r->field_left = r->left;
	}
	return 0;
}

/* One byte of a varint: 1 when it was the last one. */
static int varint_byte(struct grpc_reader *r, uint8_t byte)
{
	if (r->shift > 63)
		return -EPROTO;
	r->varint |= (uint64_t)(byte & 0x7f) << r->shift;
	r->shift += 7;
	return !(byte & 0x80);
}

static int start_copy(struct grpc_reader *r, uint64_t len)
{
	if (len > r->left)
		return -EPROTO;
	r->field_left = (uint32_t)len;
	r->state = STATE_COPY;
	return 0;
}

static int on_tag(struct grpc_reader *r)
{
	unsigned int wire = r->varint & 7;
	uint64_t field = r->varint >> 3;

	r->varint = 0;
	r->shift = 0;
	if (field == 0)
		return -EPROTO;
	if (wire == WIRE_FIXED64)
		return start_copy(r, 8);
	if (wire == WIRE_FIXED32)
		return start_copy(r, 4);
	if (wire != WIRE_VARINT && wire != WIRE_BYTES)
		return -EPROTO;
	if (field == r->limits.payload_field && wire == WIRE_BYTES) {
		r->rest_len = r->tag_start;
		r->has_payload = true;
		r->field_left = 1; /* the length is for us */
	} else {
		r->field_left = 0;
	}
	r->state = wire == WIRE_VARINT ? STATE_VARINT : STATE_LENGTH;
	return 0;
}

static int on_length(struct grpc_reader *r)
{
	if (!r->field_left)
		return start_copy(r, r->varint);
	if (r->varint > r->left)
		return -EPROTO;
	r->field_left = (uint32_t)r->varint;
	r->state = STATE_PAYLOAD;
	return 0;
}

static int on_varint(struct grpc_reader *r, uint8_t byte)
{
	bool is_of_payload = r->state == STATE_LENGTH && r->field_left;
	int ended, error;

	r->left--;
	error = is_of_payload ? 0 : rest_append(r, &byte, 1);
	if (error < 0)
		return error;
	ended = varint_byte(r, byte);
	if (ended <= 0)
		return ended;
	if (r->state == STATE_TAG)
		return on_tag(r);
	if (r->state == STATE_LENGTH)
		return on_length(r);
	start_tag(r);
	return 0;
}

static int on_copy(struct grpc_reader *r, const uint8_t **data, size_t *len)
{
	size_t n = r->field_left < *len ? r->field_left : *len;
	int error = rest_append(r, *data, n);

	if (error < 0)
		return error;
	*data += n;
	*len -= n;
	r->left -= (uint32_t)n;
	r->field_left -= (uint32_t)n;
	if (r->field_left == 0)
		start_tag(r);
	return 0;
}

size_t grpc_reader_payload_left(const struct grpc_reader *r)
{
	return r->state == STATE_PAYLOAD ? r->field_left : 0;
}

void grpc_reader_skip_payload(struct grpc_reader *r, size_t len)
{
	assert(r->state == STATE_PAYLOAD && len <= r->field_left);
	r->left -= (uint32_t)len;
	r->field_left -= (uint32_t)len;
	if (r->field_left == 0)
		start_tag(r);
}

static int on_payload(struct grpc_reader *r, const uint8_t **data, size_t *len)
{
	size_t n = r->field_left < *len ? r->field_left : *len;

	r->piece = *data;
	r->piece_len = n;
	*data += n;
	*len -= n;
	grpc_reader_skip_payload(r, n);
	return n ? GRPC_PAYLOAD : 0;
}

/* A field is cut short by the message's end. */
static bool is_cut(const struct grpc_reader *r)
{
	return r->left == 0 && (r->state == STATE_VARINT || r->state == STATE_LENGTH ||
				(r->state == STATE_TAG && r->shift));
}

static bool is_message_whole(const struct grpc_reader *r)
{
	return r->left == 0 && r->field_left == 0 && r->state == STATE_TAG && r->shift == 0;
}

static int step(struct grpc_reader *r, const uint8_t **data, size_t *len)
{
	switch (r->state) {
	case STATE_PREFIX:
		return on_prefix(r, data, len);
	case STATE_COPY:
		return on_copy(r, data, len);
	case STATE_PAYLOAD:
		return on_payload(r, data, len);
	default:
		(*len)--;
		return on_varint(r, *(*data)++);
	}
}

int grpc_reader_next(struct grpc_reader *r, const uint8_t **data, size_t *len)
{
	int found;

	if (r->state == STATE_DONE) {
		r->state = STATE_PREFIX;
		r->n_prefix = 0;
	}
	for (;;) {
		if (r->state == STATE_COPY && r->field_left == 0)
			start_tag(r);
		if (is_message_whole(r)) {
			r->state = STATE_DONE;
			return GRPC_MESSAGE;
		}
		if (is_cut(r))
			return -EPROTO;
		if (*len == 0 && !(r->state == STATE_PAYLOAD && r->field_left == 0))
			return GRPC_NEEDS_MORE;
		found = step(r, data, len);
		if (found != 0)
			return found;
	}
}
