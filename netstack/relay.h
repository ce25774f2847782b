/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Joins two streams: bytes both ways, each direction ending by itself
 * (half-close), a reset passed on as a reset. */
#include <stdint.h>

struct loop;
struct relay;
struct stream;

/* Why a relay ended. */
enum relay_end {
	RELAY_END_CLOSED, /* both directions were closed in order */
	RELAY_END_A_BROKE,
	RELAY_END_B_BROKE,
};

struct relay_result {
	enum relay_end end;
	int error; /* -errno of the stream that broke, or 0 */
	uint64_t a_to_b_bytes;
	uint64_t b_to_a_bytes;
};

/* Called once; the relay and both streams are gone when it returns. */
typedef void relay_done_fn(void *arg, const struct relay_result *result);

/* Takes both streams, ends[0] being a, in any state of connecting; on error
 * (-ENOMEM) both are reset. Bytes move from the end of the loop's round on;
 * done is never called before relay_new() returns. */
int relay_new(struct loop *loop, struct stream *const ends[2], relay_done_fn *done, void *arg,
	      struct relay **out);
/* Resets both streams, without calling done. Accepts NULL. */
void relay_free(struct relay *relay);

/* What has been carried so far. */
enum relay_direction { RELAY_A_TO_B, RELAY_B_TO_A };
uint64_t relay_bytes(const struct relay *relay, enum relay_direction direction);
