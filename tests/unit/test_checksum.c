/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/checksum.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define N_OF(array) (sizeof(array) / sizeof((array)[0]))
#define SIZE 66000U

static uint8_t bytes[SIZE + 16];

static int fill(void **state)
{
	uint32_t x = 1;

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++) {
		x = x * 1664525 + 1013904223;
		bytes[i] = (uint8_t)(x >> 24);
	}
	return 0;
}

/* RFC 1071 word for word: 16-bit big-endian words, one's complement sum. */
static uint16_t reference(const uint8_t *p, size_t len)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i++) {
		sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return (uint16_t)sum;
}

/* As it is stored in a header, read back big-endian. 0 and 0xffff are the same
 * number in one's complement. */
static uint16_t canonical(uint16_t stored)
{
	uint8_t b[2];
	uint16_t value;

	memcpy(b, &stored, 2);
	value = (uint16_t)(b[0] << 8 | b[1]);
	return value == 0xffff ? 0 : value;
}

static uint16_t canonical_reference(const uint8_t *p, size_t len)
{
	uint16_t sum = reference(p, len);

	return sum == 0xffff ? 0 : sum;
}

static void the_example_of_rfc_1071(void **state)
{
	static const uint8_t example[] = { 0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7 };

	(void)state;
	assert_int_equal(canonical(checksum_fold(checksum_add(0, example, 8))), 0xddf2);
}

/* An IPv4 header seen on a wire: its sum with the checksum in it is zero. */
static void a_real_header_sums_to_zero(void **state)
{
	static const uint8_t header[] = { 0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40,
					  0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8,
					  0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7 };

	(void)state;
	assert_int_equal(checksum_finish(checksum_add(0, header, sizeof(header))), 0);
}

static void every_length_and_alignment_agrees_with_the_rfc(void **state)
{
	(void)state;
	for (size_t at = 0; at < 9; at++)
		for (size_t len = 0; len < 300; len++)
			assert_int_equal(canonical(checksum_fold(checksum_add(0, bytes + at, len))),
					 canonical_reference(bytes + at, len));
	for (size_t len = SIZE - 70; len <= SIZE; len++)
		assert_int_equal(canonical(checksum_fold(checksum_add(0, bytes, len))),
				 canonical_reference(bytes, len));
}

/* Carries are never lost, however full the lanes are. */
static void all_ones_do_not_overflow(void **state)
{
	static uint8_t ones[SIZE];
	uint64_t sum = 0;

	(void)state;
	memset(ones, 0xff, sizeof(ones));
	for (int i = 0; i < 1000; i++)
		sum = checksum_add(sum, ones, sizeof(ones));
	assert_int_equal(checksum_fold(sum), 0xffff);
	sum = checksum_add(sum, (const uint8_t[]){ 0, 1 }, 2);
	assert_int_equal(canonical(checksum_fold(sum)), 1);
}

static void pieces_add_up(void **state)
{
	(void)state;
	for (size_t cut = 0; cut <= 1000; cut += 2)
		assert_int_equal(canonical(checksum_fold(checksum_add(checksum_add(0, bytes, cut),
								      bytes + cut, 1001 - cut))),
				 canonical_reference(bytes, 1001));
}

/* Pieces of odd lengths, empty ones, and an offset into any of them. */
static void scattered_bytes_are_summed_as_one_message(void **state)
{
	static const size_t lens[] = { 14, 0, 1, 20, 33, 1, 1, 1400, 7, 0, 4095, 2 };
	struct iovec iov[N_OF(lens)];
	size_t total = 0;

	(void)state;
	for (size_t i = 0; i < N_OF(lens); i++) {
		iov[i] = (struct iovec){ bytes + total, lens[i] };
		total += lens[i];
	}
	for (size_t offset = 0; offset <= total; offset++)
		assert_int_equal(
			canonical(checksum_fold(checksum_iov(0, iov, (int)N_OF(lens), offset))),
			canonical_reference(bytes + offset, total - offset));
}

static void the_pseudo_header_is_that_of_the_family(void **state)
{
	static const struct ipaddr a4 = IPADDR_V4(192, 168, 5, 15), b4 = IPADDR_V4(10, 0, 0, 1);
	static const struct ipaddr a6 = { { 0xfd, 0, [15] = 1 } }, b6 = { { 0xfd, 1, [15] = 2 } };
	static const uint8_t pseudo4[] = { 192, 168, 5, 15, 10, 0, 0, 1, 0, 17, 0x12, 0x34 };
	uint8_t pseudo6[40] = { 0 };

	(void)state;
	assert_int_equal(canonical(checksum_fold(checksum_pseudo(&a4, &b4, 17, 0x1234))),
			 canonical_reference(pseudo4, sizeof(pseudo4)));
	memcpy(pseudo6, a6.b, 16);
	memcpy(pseudo6 + 16, b6.b, 16);
	pseudo6[33] = 1;
	pseudo6[34] = 0x23;
	pseudo6[35] = 0x45;
	pseudo6[39] = 6;
	assert_int_equal(canonical(checksum_fold(checksum_pseudo(&a6, &b6, 6, 0x12345))),
			 canonical_reference(pseudo6, sizeof(pseudo6)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_example_of_rfc_1071),
		cmocka_unit_test(a_real_header_sums_to_zero),
		cmocka_unit_test(every_length_and_alignment_agrees_with_the_rfc),
		cmocka_unit_test(all_ones_do_not_overflow),
		cmocka_unit_test(pieces_add_up),
		cmocka_unit_test(scattered_bytes_are_summed_as_one_message),
		cmocka_unit_test(the_pseudo_header_is_that_of_the_family),
	};

	return cmocka_run_group_tests(tests, fill, NULL);
}
