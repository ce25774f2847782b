/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The Internet checksum (RFC 1071), one's complement sum of 16-bit words. A
 * running sum is kept in machine word order and folded at the end. */
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "netstack/addr.h"

/* Adds len bytes to a running sum. An odd length pads with a zero byte, so
 * only the last piece of a message may have one; checksum_iov() has no such
 * limit. */
uint64_t checksum_add(uint64_t sum, const void *data, size_t len);
/* Bytes [offset, end) of a scattered message. */
uint64_t checksum_iov(uint64_t sum, const struct iovec *iov, int n, size_t offset);
/* IPv4 or IPv6 pseudo header (RFC 793, RFC 8200 section 8.1). */
uint64_t checksum_pseudo(const struct ipaddr *src, const struct ipaddr *dst, uint8_t protocol,
			 size_t len);
/* The 16-bit sum, not complemented, to be stored with memcpy. */
uint16_t checksum_fold(uint64_t sum);
/* The complement of the folded sum: what goes into a header. */
static inline uint16_t checksum_finish(uint64_t sum)
{
	return (uint16_t)~checksum_fold(sum);
}
