/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What has come on a flow and was not read yet: bytes that we keep, and behind them
 * pieces that lie in somebody else's memory for the moment. Pure. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define FLOW_INPUT_PIECES 64

struct flow_input {
	uint8_t *queue;
	size_t queue_at, queue_len, queue_capacity;
	struct iovec pieces[FLOW_INPUT_PIECES];
	int n_pieces, pieces_at;
};

void flow_input_deinit(struct flow_input *in);
bool flow_input_is_full(const struct flow_input *in); /* of pieces */
/* One more piece; not when it is full. */
void flow_input_add(struct flow_input *in, const void *data, size_t len);
/* The pieces' memory is used anew: what was not read is copied. 0 or -ENOMEM. */
int flow_input_keep(struct flow_input *in);
bool flow_input_has_pieces(const struct flow_input *in);
bool flow_input_is_empty(const struct flow_input *in);
/* In place, as many entries as there are, at most n. Returns how many bytes. */
size_t flow_input_peek(const struct flow_input *in, struct iovec *iov, int n, int *n_filled);
/* Copies the first of them to iov, as many as it takes. Returns how many. */
size_t flow_input_copy(const struct flow_input *in, const struct iovec *iov, int n);
void flow_input_consume(struct flow_input *in, size_t len);
