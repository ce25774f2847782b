/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/rpc/flow_input.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void flow_input_deinit(struct flow_input *in)
{
	free(in->queue);
	*in = (struct flow_input){ 0 };
}

bool flow_input_is_full(const struct flow_input *in)
{
	return in->n_pieces == FLOW_INPUT_PIECES;
}

bool flow_input_has_pieces(const struct flow_input *in)
{
	return in->pieces_at < in->n_pieces;
}

bool flow_input_is_empty(const struct flow_input *in)
{
	return in->queue_at == in->queue_len && !flow_input_has_pieces(in);
}

void flow_input_add(struct flow_input *in, const void *data, size_t len)
{
	assert(!flow_input_is_full(in));
	in->pieces[in->n_pieces++] = (struct iovec){ (void *)(uintptr_t)data, len };
}

static int keep_piece(struct flow_input *in, const struct iovec *piece)
{
	size_t held = in->queue_len - in->queue_at, capacity = 2 * (held + piece->iov_len);
	uint8_t *larger;

	if (in->queue_len + piece->iov_len > in->queue_capacity && in->queue_at) {
		memmove(in->queue, in->queue + in->queue_at, held);
		in->queue_len = held;
		in->queue_at = 0;
	}
	if (in->queue_len + piece->iov_len > in->queue_capacity) {
		larger = realloc(in->queue, capacity);
		if (!larger)
			return -ENOMEM;
		in->queue = larger;
		in->queue_capacity = capacity;
	}
	memcpy(in->queue + in->queue_len, piece->iov_base, piece->iov_len);
	in->queue_len += piece->iov_len;
	return 0;
}

int flow_input_keep(struct flow_input *in)
{
	int r = 0;

	for (int i = in->pieces_at; i < in->n_pieces && r == 0; i++)
		r = keep_piece(in, &in->pieces[i]);
	in->n_pieces = in->pieces_at = 0;
	return r;
}

size_t flow_input_peek(const struct flow_input *in, struct iovec *iov, int n, int *n_filled)
{
	size_t queued = in->queue_len - in->queue_at, sum = 0;

	*n_filled = 0;
	if (queued && n > 0)
		iov[(*n_filled)++] = (struct iovec){ in->queue + in->queue_at, queued };
	for (int i = in->pieces_at; i < in->n_pieces && *n_filled < n; i++)
		iov[(*n_filled)++] = in->pieces[i];
	for (int i = 0; i < *n_filled; i++)
		sum += iov[i].iov_len;
	return sum;
}

size_t flow_input_copy(const struct flow_input *in, const struct iovec *iov, int n)
{
	struct iovec refs[FLOW_INPUT_PIECES + 1];
	size_t done = 0, at = 0;
	int n_refs, i = 0;

	(void)flow_input_peek(in, refs, FLOW_INPUT_PIECES + 1, &n_refs);
	for (int k = 0; k < n; k++) {
		for (size_t room = iov[k].iov_len; room && i < n_refs;) {
			size_t left = refs[i].iov_len - at, part = room < left ? room : left;

			memcpy((uint8_t *)iov[k].iov_base + iov[k].iov_len - room,
			       (uint8_t *)refs[i].iov_base + at, part);
			room -= part;
			done += part;
			at = part == left ? 0 : at + part;
			i += part == left;
		}
	}
	return done;
}

static void consume_pieces(struct flow_input *in, size_t len)
{
	while (len) {
		struct iovec *first = &in->pieces[in->pieces_at];
		size_t part = len < first->iov_len ? len : first->iov_len;

		assert(flow_input_has_pieces(in));
		first->iov_base = (uint8_t *)first->iov_base + part;
		first->iov_len -= part;
		len -= part;
		in->pieces_at += first->iov_len == 0;
	}
}

void flow_input_consume(struct flow_input *in, size_t len)
{
	size_t queued = in->queue_len - in->queue_at, n = len < queued ? len : queued;

	in->queue_at += n;
	if (in->queue_at == in->queue_len) {
		free(in->queue);
		in->queue = NULL;
		in->queue_at = in->queue_len = in->queue_capacity = 0;
	}
	consume_pieces(in, len - n);
}
