/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/rpc/messages_pack.h"

#include <errno.h>
#include <stdlib.h>

#include "forwarder/rpc/grpc_message.h"
#include "forwarder/rpc/message.h"

/* A message of 4 MiB that consists of empty parts would take a hundred times as
 * much unpacked. */
#define UNPACK_BUDGET (64UL * 1024 * 1024)
#define ALLOCATION_OVERHEAD 16U

static void *budget_alloc(void *arg, size_t size)
{
	size_t *left = arg, cost = size + ALLOCATION_OVERHEAD;

	if (cost > *left)
		return NULL;
	*left -= cost;
	return malloc(size);
}

static void budget_free(void *arg, void *memory)
{
	(void)arg;
	free(memory);
}

void *message_unpack(struct message_budget *b, const ProtobufCMessageDescriptor *type,
		     const uint8_t *data, size_t len)
{
	b->left = UNPACK_BUDGET;
	b->allocator = (ProtobufCAllocator){ budget_alloc, budget_free, &b->left };
	return protobuf_c_message_unpack(type, &b->allocator, len, data);
}

void message_unpack_free(struct message_budget *b, void *message)
{
	protobuf_c_message_free_unpacked(message, &b->allocator);
}

int message_pack(const ProtobufCMessage *m, struct message *out)
{
	size_t len = protobuf_c_message_get_packed_size(m);

	out->data = malloc(GRPC_PREFIX_SIZE + len);
	if (!out->data)
		return -ENOMEM;
	out->len = GRPC_PREFIX_SIZE + len;
	grpc_prefix(out->data, len);
	protobuf_c_message_pack(m, out->data + GRPC_PREFIX_SIZE);
	return 0;
}

void message_copy_text(char *to, size_t size, const char *from)
{
	size_t n = 0;

	for (; from[n] && n + 1 < size; n++)
		to[n] = (char)(from[n] > ' ' && from[n] < 0x7f ? from[n] : '?');
	to[n] = '\0';
}

char *message_unconst(const char *text)
{
	return (char *)(uintptr_t)text;
}
