/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/rpc/serial_frame.h"

#include <endian.h>
#include <string.h>

#define MAGIC_SIZE 4U

static const uint8_t magic[MAGIC_SIZE] = { 'N', 'F', 's', '1' };

static void put32(uint8_t *at, uint32_t value)
{
	value = htole32(value);
	memcpy(at, &value, sizeof(value));
}

static void put64(uint8_t *at, uint64_t value)
{
	value = htole64(value);
	memcpy(at, &value, sizeof(value));
}

static uint32_t get32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return le32toh(value);
}

static uint64_t get64(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return le64toh(value);
}

/* The finalizer of splitmix64: every bit of the input changes half of the
 * output's. */
static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

static uint64_t check_of(const uint8_t *header)
{
	uint64_t check = 0;

	for (unsigned int at = 0; at < 24; at += 8)
		check = mix(check ^ get64(header + at));
	return check;
}

static uint64_t mark_of(const struct serial_frame *frame)
{
	return mix(mix(frame->tag) ^ ((uint64_t)frame->number << 32 | frame->len));
}

/* The next place where a frame may begin. */
static ssize_t skip(const uint8_t *data, size_t len)
{
	const uint8_t *next = len > 1 ? memchr(data + 1, magic[0], len - 1) : NULL;

	return next ? -(next - data) : -(ssize_t)len;
}

static int read_header(const uint8_t *data, struct serial_frame *out)
{
	uint32_t type = get32(data + 4);

	if (get64(data + 24) != check_of(data))
		return -1;
	out->len = get32(data + 8);
	out->number = get32(data + 12);
	out->tag = get64(data + 16);
	if (type < SERIAL_HELLO || type > SERIAL_CLOSE || out->len > SERIAL_PAYLOAD_MAX)
		return -1;
	out->type = (enum serial_type)type;
	if ((type == SERIAL_CALL || type == SERIAL_ANSWER) && out->len != SERIAL_TAG_SIZE)
		return -1;
	out->payload = data + SERIAL_HEADER_SIZE;
	return 0;
}

ssize_t serial_frame_parse(const uint8_t *data, size_t len, struct serial_frame *out)
{
	size_t size;

	if (len == 0)
		return 0;
	if (memcmp(data, magic, len < MAGIC_SIZE ? len : MAGIC_SIZE) != 0)
		return skip(data, len);
	if (len < SERIAL_HEADER_SIZE)
		return 0;
	if (read_header(data, out) < 0)
		return skip(data, len);
	size = SERIAL_HEADER_SIZE + out->len + SERIAL_MARK_SIZE;
	if (len < size)
		return 0;
	if (get64(data + size - SERIAL_MARK_SIZE) != mark_of(out))
		return skip(data, len);
	return (ssize_t)size;
}

size_t serial_frame_wrap(const struct serial_frame *frame, uint8_t *out)
{
	memcpy(out, magic, MAGIC_SIZE);
	put32(out + 4, (uint32_t)frame->type);
	put32(out + 8, frame->len);
	put32(out + 12, frame->number);
	put64(out + 16, frame->tag);
	put64(out + 24, check_of(out));
	put64(out + SERIAL_HEADER_SIZE + frame->len, mark_of(frame));
	return SERIAL_HEADER_SIZE + frame->len + SERIAL_MARK_SIZE;
}

void serial_tag_write(uint64_t tag, uint8_t out[static SERIAL_TAG_SIZE])
{
	put64(out, tag);
}

uint64_t serial_tag_read(const uint8_t in[static SERIAL_TAG_SIZE])
{
	return get64(in);
}
