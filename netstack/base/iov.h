/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Copying between scattered memory. */
#include <stddef.h>
#include <string.h>
#include <sys/uio.h>

/* Copies until either side ends; returns how many bytes. */
static inline size_t iov_copy(const struct iovec *to, int n_to, const struct iovec *from,
			      int n_from)
{
	size_t to_used = 0, from_used = 0, copied = 0;

	while (n_to > 0 && n_from > 0) {
		size_t room = to->iov_len - to_used;
		size_t left = from->iov_len - from_used;
		size_t n = room < left ? room : left;

		memcpy((char *)to->iov_base + to_used, (char *)from->iov_base + from_used, n);
		copied += n;
		to_used += n;
		from_used += n;
		if (to_used == to->iov_len) {
			to++, n_to--;
			to_used = 0;
		}
		if (from_used == from->iov_len) {
			from++, n_from--;
			from_used = 0;
		}
	}
	return copied;
}
