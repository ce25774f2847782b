/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Frames on a serial line, a virtio-serial port for instance, as bytes. The line
 * loses nothing by itself; but either end may stop in the middle of a frame, and
 * what it wrote before may be read by its successor. So a frame says where it
 * begins, for which session it is, and where it ends, and is believed as a whole
 * or not at all. Pure.
 *
 *   0  u32 "NFs1"     4  u32 type      8  u32 length of the payload
 *  12  u32 number    16  u64 tag      24  u64 check of the above
 *  32  the payload; then u64: the mark that ends the frame, made of tag, number
 *      and length
 *
 * in little-endian. The payload is not summed up: bytes do not change on the way,
 * and a frame that was cut off does not have the right mark in the right place. */
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SERIAL_HEADER_SIZE 32U
#define SERIAL_MARK_SIZE 8U
#define SERIAL_FRAME_MAX 65536U /* two writes of Linux' virtio_console */
#define SERIAL_PAYLOAD_MAX (SERIAL_FRAME_MAX - SERIAL_HEADER_SIZE - SERIAL_MARK_SIZE)

enum serial_type {
	SERIAL_HELLO = 1, /* the guest's end has started */
	SERIAL_CALL,	  /* the host begins a session; payload: its tag */
	SERIAL_ANSWER,	  /* the guest's end takes part; payload: its tag */
	SERIAL_DATA,
	SERIAL_END,   /* no more data from this end */
	SERIAL_CLOSE, /* the session is over */
};

struct serial_frame {
	enum serial_type type;
	uint64_t tag;	 /* the receiver's, in this session; 0 when it has none yet */
	uint32_t number; /* of SERIAL_DATA, counting from 0 */
	const uint8_t *payload;
	uint32_t len;
};

/* > 0: the size of the frame at the start of the data; its payload points into
 * that. 0: it may become one when there is more. < 0: so many bytes are none, and
 * are to be skipped. */
ssize_t serial_frame_parse(const uint8_t *data, size_t len, struct serial_frame *out);

/* Writes header and mark around frame->len bytes of payload, which are at
 * out + SERIAL_HEADER_SIZE already. Returns the size of it all. */
size_t serial_frame_wrap(const struct serial_frame *frame, uint8_t *out);

/* What a frame carries as its payload when that is a tag. */
#define SERIAL_TAG_SIZE 8U
void serial_tag_write(uint64_t tag, uint8_t out[static SERIAL_TAG_SIZE]);
uint64_t serial_tag_read(const uint8_t in[static SERIAL_TAG_SIZE]);
