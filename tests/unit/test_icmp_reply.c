/* SPDX-License-Identifier: Apache-2.0 */
/* The messages as bytes; that a kernel takes them, test_udp_forward shows. */
#include "forwarder/icmp_reply.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void over_ipv4_it_carries_the_headers_of_the_refused_datagram(void **state)
{
	/* Checksums worked out by hand (RFC 1071). */
	static const uint8_t want[] = {
		3,    3,    0x39, 0x6f, 0,   0, 0, 0, /* port unreachable */
		0x45, 0,    0,	  28,	0,   0, 0, 0, /* IPv4, 28 bytes */
		64,   17,   0x7c, 0xcf, 127, 0, 0, 1, /* UDP, from the client */
		127,  0,    0,	  1,		      /* to the host */
		0xc3, 0x50, 0,	  53,	0,   8, 0, 0, /* ports 50000, 53 */
	};
	struct endpoint client = { IPADDR_V4(127, 0, 0, 1), 50000 };
	struct endpoint host = { IPADDR_V4(127, 0, 0, 1), 53 };
	uint8_t got[ICMP_UNREACHABLE_SIZE];

	(void)state;
	memset(got, 0xaa, sizeof(got));
	assert_int_equal(icmp_unreachable_build(&client, &host, got), sizeof(want));
	assert_memory_equal(got, want, sizeof(want));
}

static void over_ipv6_the_checksum_is_left_to_the_kernel(void **state)
{
	static const uint8_t want[] = {
		1,    4, 0, 0, 0, 0, 0,	 0,  /* port unreachable */
		0x60, 0, 0, 0, 0, 8, 17, 64, /* IPv6, 8 bytes of UDP */
		0,    0, 0, 0, 0, 0, 0,	 0,  0, 0, 0, 0, 0,    0,    0, 1,  0xfd, 0, 0, 0,
		0,    0, 0, 0, 0, 0, 0,	 0,  0, 0, 0, 2, 0xc3, 0x50, 0, 53, 0,	  8, 0, 0,
	};
	struct endpoint client = { { { [15] = 1 } }, 50000 };
	struct endpoint host = { { { [0] = 0xfd, [15] = 2 } }, 53 };
	uint8_t got[ICMP_UNREACHABLE_SIZE];

	(void)state;
	memset(got, 0xaa, sizeof(got));
	assert_int_equal(icmp_unreachable_build(&client, &host, got), sizeof(want));
	assert_memory_equal(got, want, sizeof(want));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(over_ipv4_it_carries_the_headers_of_the_refused_datagram),
		cmocka_unit_test(over_ipv6_the_checksum_is_left_to_the_kernel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
