/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/checksum.h"

#include <string.h>

/* Sums 32-bit words into 64-bit lanes, which cannot overflow within 2^32 words;
 * the compiler turns the loop into vector code, best with AVX2 (and with -O3,
 * which the build gives to this file). */
static uint64_t __attribute__((target_clones("avx2", "default")))
sum_words(const uint8_t *p, size_t n_words)
{
	uint64_t lanes[8] = { 0 };
	size_t i = 0;

	for (; i + 8 <= n_words; i += 8) {
		uint32_t w[8];

		memcpy(w, p + i * 4, sizeof(w));
		for (int k = 0; k < 8; k++)
			lanes[k] += w[k];
	}
	for (; i < n_words; i++) {
		uint32_t w;

		memcpy(&w, p + i * 4, sizeof(w));
		lanes[0] += w;
	}
	for (int k = 1; k < 8; k++)
		lanes[0] += lanes[k];
	return lanes[0];
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
