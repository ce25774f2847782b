/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/checksum.h"

#include <string.h>

/* Two 64-bit lanes: one register of SSE2 or NEON. */
typedef uint64_t lanes __attribute__((vector_size(16)));

/* Sums 32-bit words: the halves of every 64-bit word go to lanes of their own,
 * which cannot overflow within 2^32 words. Written in vectors because gcc 12
 * turns the plain loop into shuffles, a tenth as fast. */
static uint64_t sum_words(const uint8_t *p, size_t n_words)
{
	lanes low[2] = { { 0 } }, high[2] = { { 0 } };
	const uint8_t *end = p + n_words * 4;
	uint64_t sum = 0;

	for (; (size_t)(end - p) >= 2 * sizeof(lanes); p += 2 * sizeof(lanes)) {
		lanes w[2];

		memcpy(w, p, sizeof(w));
		low[0] += w[0] & UINT32_MAX;
		high[0] += w[0] >> 32;
		low[1] += w[1] & UINT32_MAX;
		high[1] += w[1] >> 32;
	}
	for (int k = 0; k < 2; k++)
		sum += low[0][k] + low[1][k] + high[0][k] + high[1][k];
	for (; p < end; p += 4) {
		uint32_t w;

		memcpy(&w, p, sizeof(w));
		sum += w;
	}
	return sum;
}

/* Keeps a running sum below 2^33, so that many can be added. */
static uint64_t fold_once(uint64_t sum)
{
	return (sum & 0xffffffffU) + (sum >> 32);
}

uint64_t checksum_add(uint64_t sum, const void *data, size_t len)
{
	const uint8_t *p = data;
	size_t n_words = len / 4;

	sum = fold_once(sum) + fold_once(sum_words(p, n_words));
	p += n_words * 4;
	if (len & 3) {
		uint32_t last = 0;

		memcpy(&last, p, len & 3);
		sum += last;
	}
	return sum;
}

/* A sum of bytes that start at an odd position of the message (RFC 1071,
 * section 2(B)): the two bytes of every word swap places. */
static uint64_t swap_sum(uint64_t sum)
{
	return __builtin_bswap16(checksum_fold(sum));
}

uint64_t checksum_iov(uint64_t sum, const struct iovec *iov, int n, size_t offset)
{
	size_t done = 0;

	for (int i = 0; i < n; i++) {
		const uint8_t *p = iov[i].iov_base;
		size_t len = iov[i].iov_len;
		uint64_t part;

		if (offset >= len) {
			offset -= len;
			continue;
		}
		p += offset;
		len -= offset;
		offset = 0;
		part = checksum_add(0, p, len);
		sum = fold_once(sum) + (done & 1 ? swap_sum(part) : part);
		done += len;
	}
	return sum;
}

uint64_t checksum_pseudo(const struct ipaddr *src, const struct ipaddr *dst, uint8_t protocol,
			 size_t len)
{
	uint8_t tail[8] = { (uint8_t)(len >> 24),
			    (uint8_t)(len >> 16),
			    (uint8_t)(len >> 8),
			    (uint8_t)len,
			    0,
			    0,
			    0,
			    protocol };
	unsigned int skip = ipaddr_is_v4(src) ? 12 : 0;
	uint64_t sum = checksum_add(0, tail, sizeof(tail));

	sum = checksum_add(sum, src->b + skip, 16 - skip);
	return checksum_add(sum, dst->b + skip, 16 - skip);
}

uint16_t checksum_fold(uint64_t sum)
{
	sum = fold_once(fold_once(sum));
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}
