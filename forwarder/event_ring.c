/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/event_ring.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void event_ring_deinit(struct event_ring *ring)
{
	for (size_t i = 0; i < EVENT_RING_SIZE; i++)
		free(ring->lines[i]);
	*ring = (struct event_ring){ .n_added = 0 };
}

void event_ring_add(struct event_ring *ring, const char *event)
{
	char **slot = &ring->lines[ring->n_added++ % EVENT_RING_SIZE];

	free(*slot);
	if (asprintf(slot, "%s\n", event) < 0)
		*slot = NULL;
}

void event_reader_init(struct event_reader *reader, const struct event_ring *ring)
{
	uint64_t n = ring->n_added;

	*reader = (struct event_reader){
		.ring = ring,
		.next = n > EVENT_RING_SIZE ? n - EVENT_RING_SIZE : 0,
	};
}

void event_reader_deinit(struct event_reader *reader)
{
	free(reader->line);
	reader->line = NULL;
}

/* The events that were overwritten before this reader came to them. */
static char *missed_line(uint64_t count)
{
	char *line;

	if (asprintf(&line, "{\"event\":\"missed\",\"count\":\"%" PRIu64 "\"}\n", count) < 0)
		return NULL;
	return line;
}

/* Fetches the next line into reader->line, which stays NULL if there is none. */
static void fetch(struct event_reader *reader)
{
	const struct event_ring *ring = reader->ring;
	uint64_t first = ring->n_added > EVENT_RING_SIZE ? ring->n_added - EVENT_RING_SIZE : 0;
	uint64_t missed = reader->next < first ? first - reader->next : 0;

	reader->next += missed;
	while (reader->next < ring->n_added && !ring->lines[reader->next % EVENT_RING_SIZE]) {
		reader->next++;
		missed++;
	}
	reader->offset = 0;
	if (missed)
		reader->line = missed_line(missed);
	else if (reader->next < ring->n_added)
		reader->line = strdup(ring->lines[reader->next++ % EVENT_RING_SIZE]);
}

size_t event_reader_read(struct event_reader *reader, char *to, size_t max)
{
	size_t done = 0;

	while (done < max) {
		size_t len;

		if (!reader->line)
			fetch(reader);
		if (!reader->line)
			break;
		len = strlen(reader->line + reader->offset);
		if (len > max - done)
			len = max - done;
		memcpy(to + done, reader->line + reader->offset, len);
		done += len;
		reader->offset += len;
		if (!reader->line[reader->offset]) {
			free(reader->line);
			reader->line = NULL;
		}
	}
	return done;
}
