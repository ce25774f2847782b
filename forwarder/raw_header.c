/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/raw_header.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define VERSION 1U
#define ERRNO_MAX 4095U /* of Linux */

enum kind {
	KIND_TCP = 1,
	KIND_UDP = 2,
	KIND_UNIX = 3,
	KIND_ACCEPTED = 4,
	KIND_ACCEPTED_UDP = 5,
};

#define NUMBER_SIZE 8U

static const uint8_t magic[4] = { 'N', 'F', 'R', VERSION };

static size_t encode_accepted(const struct rpc_open *open, uint8_t out[static RAW_HEADER_MAX])
{
	memcpy(out, magic, sizeof(magic));
	out[4] = open->is_udp ? KIND_ACCEPTED_UDP : KIND_ACCEPTED;
	out[5] = NUMBER_SIZE;
	out[6] = out[7] = 0;
	for (unsigned int i = 0; i < NUMBER_SIZE; i++)
		out[RAW_HEAD_SIZE + i] = (uint8_t)(open->accepted >> (56 - 8 * i));
	return RAW_HEAD_SIZE + NUMBER_SIZE;
}

size_t raw_header_encode(const struct rpc_open *open, uint8_t out[static RAW_HEADER_MAX])
{
	const struct endpoint *e = &open->place.endpoint;
	size_t path_len = strnlen(open->place.path, RPC_PATH_SIZE - 1);
	const void *rest = ipaddr_is_v4(&e->addr) ? ipaddr_v4_bytes(&e->addr) : e->addr.b;
	size_t len = ipaddr_is_v4(&e->addr) ? 4 : 16;

	if (open->accepted)
		return encode_accepted(open, out);
	memcpy(out, magic, sizeof(magic));
	out[4] = open->is_udp ? KIND_UDP : KIND_TCP;
	out[6] = (uint8_t)(e->port >> 8);
	out[7] = (uint8_t)e->port;
	if (path_len) {
		out[4] = KIND_UNIX;
		out[6] = out[7] = 0;
		rest = open->place.path;
		len = path_len;
	}
	out[5] = (uint8_t)len;
	memcpy(out + RAW_HEAD_SIZE, rest, len);
	return RAW_HEAD_SIZE + len;
}

static unsigned int port_in(const uint8_t head[static RAW_HEAD_SIZE])
{
	return (unsigned int)head[6] << 8 | head[7];
}

int raw_header_size(const uint8_t head[static RAW_HEAD_SIZE])
{
	unsigned int len = head[5];
	bool is_good = false;

	if (memcmp(head, magic, sizeof(magic)) != 0)
		return -EPROTO;
	if (head[4] == KIND_TCP || head[4] == KIND_UDP)
		is_good = (len == 4 || len == 16) && port_in(head) != 0;
	else if (head[4] == KIND_UNIX)
		is_good = len > 0 && len < RPC_PATH_SIZE && port_in(head) == 0;
	else if (head[4] == KIND_ACCEPTED || head[4] == KIND_ACCEPTED_UDP)
		is_good = len == NUMBER_SIZE && port_in(head) == 0;
	return is_good ? (int)(RAW_HEAD_SIZE + len) : -EPROTO;
}

static int decode_accepted(const uint8_t *header, struct rpc_open *out)
{
	*out = (struct rpc_open){ .is_udp = header[4] == KIND_ACCEPTED_UDP };
	for (unsigned int i = 0; i < NUMBER_SIZE; i++)
		out->accepted = out->accepted << 8 | header[RAW_HEAD_SIZE + i];
	return out->accepted ? 0 : -EPROTO;
}

int raw_header_decode(const uint8_t *header, size_t len, struct rpc_open *out)
{
	const uint8_t *rest = header + RAW_HEAD_SIZE;

	if (len < RAW_HEAD_SIZE || raw_header_size(header) != (int)len)
		return -EPROTO;
	if (header[4] == KIND_ACCEPTED || header[4] == KIND_ACCEPTED_UDP)
		return decode_accepted(header, out);
	len -= RAW_HEAD_SIZE;
	*out = (struct rpc_open){ .is_udp = header[4] == KIND_UDP };
	if (header[4] == KIND_UNIX) {
		if (rest[0] != '/' || memchr(rest, 0, len))
			return -EPROTO;
		memcpy(out->place.path, rest, len);
		return 0;
	}
	out->place.endpoint.port = (uint16_t)port_in(header);
	if (len == 4)
		out->place.endpoint.addr = ipaddr_from_v4(rest);
	else
		out->place.endpoint.addr = ipaddr_from_v6(rest);
	return 0;
}

void raw_answer_encode(int error, uint8_t out[static RAW_ANSWER_SIZE])
{
	uint32_t value = (uint32_t)-error;

	memcpy(out, magic, sizeof(magic));
	for (unsigned int i = 0; i < 4; i++)
		out[4 + i] = (uint8_t)(value >> (24 - 8 * i));
}

int raw_answer_decode(const uint8_t answer[static RAW_ANSWER_SIZE], int *error)
{
	uint32_t value = 0;

	for (unsigned int i = 0; i < 4; i++)
		value = value << 8 | answer[4 + i];
	if (memcmp(answer, magic, sizeof(magic)) != 0 || value > ERRNO_MAX)
		return -EPROTO;
	*error = -(int)value;
	return 0;
}
