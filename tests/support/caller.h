/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Who holds a stream on the host's side: reads and writes when it is told that
 * this is worth while, and only then. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "netstack/stream.h"

struct caller {
	struct stream *stream; /* NULL once the test has ended it */
	/* set by the test */
	const uint8_t *data;
	size_t to_write;
	bool does_not_read;
	/* what came of it */
	size_t written;
	uint8_t *got;
	size_t got_len, got_capacity;
	bool has_eof;
	int error; /* -errno */
};

/* Takes the stream. */
void caller_init(struct caller *c, struct stream *stream);
void caller_deinit(struct caller *c); /* resets a stream that is left */
/* After a change of the settings. */
void caller_go_on(struct caller *c);
void caller_close(struct caller *c);
void caller_reset(struct caller *c);
