/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/packet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "netstack/base/bytes.h"

#define OPTIONS_MAX 40
#define TCP_SIZE 20U

/* A SYN of a guest with these options; `len` is a multiple of 4. */
static enum packet_error parse_with(const uint8_t *options, size_t len)
{
	static const uint8_t guest[4] = { 192, 168, 5, 15 }, host[4] = { 192, 168, 5, 2 };
	struct ipaddr src = ipaddr_from_v4(guest), dst = ipaddr_from_v4(host);
	const struct ip_fields fields = {
		.src = &src,
		.dst = &dst,
		.protocol = IP_PROTO_TCP,
		.payload_len = (uint16_t)(TCP_SIZE + len),
	};
	static const struct mac from = { { 2, 0, 0, 0, 0, 1 } }, to = { { 2, 0, 0, 0, 0, 2 } };
	uint8_t bytes[ETH_HEADER_SIZE + 20 + TCP_SIZE + OPTIONS_MAX] = { 0 };
	uint8_t *tcp = bytes + ETH_HEADER_SIZE;
	struct packet packet;
	struct frame frame;

	packet_put_ethernet(bytes, &to, &from, ETHERTYPE_IP4);
	tcp += packet_put_ip(tcp, &fields);
	put_be16(tcp, 40000);
	put_be16(tcp + 2, 80);
	tcp[12] = (uint8_t)((TCP_SIZE + len) / 4 << 4);
	tcp[13] = TCP_FLAG_SYN;
	memcpy(tcp + TCP_SIZE, options, len);
	frame_init(&frame);
	frame_add(&frame, bytes, ETH_HEADER_SIZE + 20 + TCP_SIZE + len);
	return packet_parse(&frame, &packet);
}

static void whole_options_pass(void **state)
{
	/* what a Linux guest sends: MSS, SACK permitted, timestamps, scale */
	static const uint8_t linux_syn[20] = { 2, 4, 0xff, 0x98, 4, 2, 8, 10, 1, 2,
					       3, 4, 0,	   0,	 0, 0, 1, 3,  3, 7 };
	static const uint8_t behind_the_end[4] = { 1, 0, 2, 99 };
	static const uint8_t unknown[8] = { 254, 8, 0, 0, 0, 0, 0, 0 };

	(void)state;
	assert_int_equal(parse_with(linux_syn, 0), PACKET_OK);
	assert_int_equal(parse_with(linux_syn, sizeof(linux_syn)), PACKET_OK);
	assert_int_equal(parse_with(behind_the_end, sizeof(behind_the_end)), PACKET_OK);
	assert_int_equal(parse_with(unknown, sizeof(unknown)), PACKET_OK);
}

static void an_option_that_leaves_the_header_is_refused(void **state)
{
	static const uint8_t cases[][4] = {
		{ 1, 1, 1, 3 },	  /* a kind, and no length */
		{ 1, 1, 3, 3 },	  /* a length, and no value */
		{ 2, 5, 0, 0 },	  /* one byte too long */
		{ 8, 255, 0, 0 }, /* far too long */
		{ 8, 0, 0, 0 },	  /* shorter than kind and length */
		{ 8, 1, 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(parse_with(cases[i], sizeof(cases[i])), PACKET_BAD_TCP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_options_pass),
		cmocka_unit_test(an_option_that_leaves_the_header_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
