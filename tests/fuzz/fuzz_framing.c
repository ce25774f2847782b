/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes yield the same frames, however the reads cut them, and nothing that
 * is not a frame. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "netstack/addr.h"
#include "netstack/framing.h"
#include "netstack/rx_buffer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
	if (!holds)
		abort();
}

/* What was decoded so far. */
struct result {
	size_t n_frames;
	uint32_t digest;
	enum framing_status status;
};

/* Whether there was a frame, or a runt. */
static bool decode_one(struct framing_window *w, struct result *result)
{
	struct iovec frame;
	uint32_t mix[2];

	result->status = framing_next(w, &frame);
	if (result->status != FRAMING_FRAME && result->status != FRAMING_RUNT)
		return false;
	check((result->status == FRAMING_RUNT) == (frame.iov_len < ETH_HEADER_SIZE));
	check(frame.iov_len <= FRAME_MAX_SIZE);
	check((uint8_t *)frame.iov_base + frame.iov_len == w->data);
	mix[0] = result->digest;
	mix[1] = hash_bytes(frame.iov_base, (unsigned int)frame.iov_len);
	result->digest = hash_bytes(mix, sizeof(mix));
	result->n_frames++;
	return true;
}

static void decode(struct framing_window *w, struct result *result)
{
	while (decode_one(w, result))
		;
	if (result->status == FRAMING_PARTIAL)
		check(framing_missing(w) > 0 && framing_missing(w) <= FRAMING_MAX_SIZE);
	else
		check(framing_missing(w) == 0);
}

/* As link_stream.c reads: in pieces, with frames kept by somebody at times. */
static struct result decode_cut(const uint8_t *data, size_t size, size_t piece)
{
	struct result result = { .status = FRAMING_PARTIAL };
	struct buffer *kept = NULL;
	struct rx_buffer rx;
	size_t partial = 0;

	rx_buffer_init(&rx, 2 * FRAMING_MAX_SIZE);
	while (size > 0 && result.status == FRAMING_PARTIAL) {
		size_t n = piece < size ? piece : size;
		struct framing_window w;

		check(rx_buffer_prepare(&rx, partial, n) == 0);
		check(rx_buffer_room(&rx) >= n);
		memcpy(rx_buffer_end(&rx), data, n);
		rx_buffer_commit(&rx, n);
		w.data = rx_buffer_end(&rx) - partial - n;
		w.len = partial + n;
		decode(&w, &result);
		partial = w.len;
		data += n;
		size -= n;
		if (size & 1) {
			buffer_unref(kept);
			kept = buffer_ref(rx.current);
		}
	}
	buffer_unref(kept);
	rx_buffer_deinit(&rx);
	return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct result whole = { 0 }, cut;
	struct framing_window w;
	uint8_t *copy;
	size_t piece;

	if (size < 1)
		return 0;
	piece = 1U + data[0];
	data++;
	size--;
	copy = malloc(size ? size : 1);
	check(copy != NULL);
	memcpy(copy, data, size);
	w = (struct framing_window){ copy, size };
	decode(&w, &whole);
	cut = decode_cut(data, size, piece);
	free(copy);
	check(cut.n_frames == whole.n_frames && cut.digest == whole.digest);
	check(size == 0 || cut.status == whole.status);
	return 0;
}
