/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A stream in memory: the test says what can be read, how much can be written
 * and when it breaks, and sees what became of it.
 *
 * As strict as netstack/stream.h allows: ready() is called only when a call that
 * said -EAGAIN is worth repeating, when the input has ended and when the stream
 * broke, and never from inside a call. Use after the end, more consumed than
 * peeked and the like abort the test. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "netstack/base/loop.h"
#include "netstack/stream.h"

struct mem_stream {
	struct stream base; /* first */
	struct stream_ops ops;
	struct loop *loop;
	struct loop_deferred notify;
	/* the settings of the test, to be changed by the calls below */
	bool is_connecting;
	bool has_eof;
	int error;		    /* -errno that every call gives */
	int write_error;	    /* only writing: the peer has gone, its data is here */
	bool takes_no_more;	    /* writing gives -EPIPE, and that is all */
	int shutdown_error;	    /* the result of shutdown() */
	size_t max_read, max_write; /* bytes per call */
	uint8_t *input;
	size_t input_len, input_at;
	size_t room; /* bytes still taken */
	/* what was done to it */
	uint8_t *output;
	size_t output_len, output_capacity;
	unsigned int wanted; /* STREAM_READ | STREAM_WRITE */
	unsigned int n_reads, n_shutdowns;
	bool is_closed, is_reset;
	/* inside */
	bool waits_to_read, waits_to_write;
	ssize_t peeked, reserved; /* -1: not */
	uint8_t *reservation;
};

#define MEM_STREAM_PEEK 1U    /* has peek() and consume() */
#define MEM_STREAM_RESERVE 2U /* has reserve() and commit() */
void mem_stream_init(struct mem_stream *s, struct loop *loop, unsigned int abilities);
void mem_stream_deinit(struct mem_stream *s);

void mem_stream_feed(struct mem_stream *s, const void *data, size_t len);
void mem_stream_eof(struct mem_stream *s);
void mem_stream_give_room(struct mem_stream *s, size_t len);
void mem_stream_connected(struct mem_stream *s);
void mem_stream_break(struct mem_stream *s, int error);
void mem_stream_break_writing(struct mem_stream *s, int error);
