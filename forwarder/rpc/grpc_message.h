/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* gRPC's length-prefixed messages ("gRPC over HTTP2", Length-Prefixed-Message) and
 * as much of protobuf's encoding as it takes to hand one field of bytes through
 * piece by piece, where it lies, while the rest of the message is put together.
 * Pure. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GRPC_PREFIX_SIZE 5U
#define GRPC_HEAD_MAX (GRPC_PREFIX_SIZE + 1U + 5U)

/* What comes before `len` bytes of the field (1 to 15), in a message that has
 * nothing else. Returns how many bytes. */
size_t grpc_head(uint8_t out[static GRPC_HEAD_MAX], unsigned int field, size_t len);
/* The five bytes before a message. */
void grpc_prefix(uint8_t out[static GRPC_PREFIX_SIZE], size_t len);

struct grpc_limits {
	unsigned int payload_field; /* 0: none, the rest is the whole message */
	uint32_t message_max;	    /* bytes, the payload included */
	uint32_t rest_max;
};

enum grpc_found {
	GRPC_NEEDS_MORE, /* all bytes are taken */
	GRPC_PAYLOAD,	 /* a piece of the payload field: piece, piece_len */
	GRPC_MESSAGE,	 /* one message has ended: rest, rest_len, has_payload */
};

/* Of the bytes of one direction of a call. */
struct grpc_reader {
	struct grpc_limits limits;
	/* results, valid until the next call */
	const uint8_t *piece;
	size_t piece_len;
	uint8_t *rest; /* the message without the payload field */
	size_t rest_len;
	bool has_payload;
	/* inside */
	unsigned int state;
	uint8_t prefix[GRPC_PREFIX_SIZE];
	uint32_t n_prefix;
	uint32_t left;	     /* bytes of the message */
	uint32_t field_left; /* of the field that is copied, or handed through */
	uint64_t varint;
	unsigned int shift;
	size_t tag_start; /* in rest, of the field that is read */
	size_t capacity;
};

void grpc_reader_init(struct grpc_reader *r, const struct grpc_limits *limits);
void grpc_reader_deinit(struct grpc_reader *r);
/* Takes bytes off the front of *data: an enum grpc_found; -EPROTO; -EMSGSIZE for
 * a message over its limits; -ENOMEM. After an error it is of no use any more. */
int grpc_reader_next(struct grpc_reader *r, const uint8_t **data, size_t *len);
/* How many bytes of the payload field come next, and those that somebody else has taken:
 * at most as many. */
size_t grpc_reader_payload_left(const struct grpc_reader *r);
void grpc_reader_skip_payload(struct grpc_reader *r, size_t len);
