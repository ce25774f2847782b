/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Inside of messages: packing and unpacking what protoc-c describes, within a
 * bounded amount of memory. */
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

struct message;

/* Of one message: unpacked and freed with it. */
struct message_budget {
	size_t left;
	ProtobufCAllocator allocator;
};

/* 0 or -ENOMEM. */
int message_pack(const ProtobufCMessage *m, struct message *out);
/* NULL: it is no such message, or takes too much memory. */
void *message_unpack(struct message_budget *b, const ProtobufCMessageDescriptor *type,
		     const uint8_t *data, size_t len);
void message_unpack_free(struct message_budget *b, void *message);

/* Printable ASCII, cut to what fits: it goes into logs. */
void message_copy_text(char *to, size_t size, const char *from);
/* Texts to pack, which protobuf-c would have writable. */
char *message_unconst(const char *text);
