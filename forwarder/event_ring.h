/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The last events, each a line of JSON, for readers that come and go and are as
 * slow as they like: a reader that fell behind is told how many it missed. */
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define EVENT_RING_SIZE 256

struct event_ring {
	char *lines[EVENT_RING_SIZE]; /* with their line end; number n at n % SIZE */
	uint64_t n_added;
};

struct event_reader {
	const struct event_ring *ring;
	uint64_t next; /* number of the event to be read */
	char *line;    /* being read, from offset on; or NULL */
	size_t offset;
};

void event_ring_deinit(struct event_ring *ring);
/* Copies the event, a JSON object without line end. One that memory does not
 * suffice for is missed by every reader. */
void event_ring_add(struct event_ring *ring, const char *event);

/* Begins with the oldest event that is kept. The ring outlives the reader. */
void event_reader_init(struct event_reader *reader, const struct event_ring *ring);
void event_reader_deinit(struct event_reader *reader);
/* Up to max bytes of whole lines and parts of them; 0 when there is no more for
 * now. */
size_t event_reader_read(struct event_reader *reader, char *to, size_t max);
