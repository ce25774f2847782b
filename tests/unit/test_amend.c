/* SPDX-License-Identifier: Apache-2.0 */
/* Replies as libslirp 4.7 writes them, and what becomes of them. */
#include "netstack/amend.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "netstack/base/bytes.h"
#include "tests/support/wire.h"

#define DHCP_SIZE 548
#define RA_AT (ETH_HEADER_SIZE + 40)

static const struct amend_config config = {
	.mtu = 65520,
	.gateway4 = IPADDR_V4(192, 168, 5, 2),
	.gateway6 = { { 0xfd, 0, 0xc0, 0xa8, 0, 5, [15] = 2 } },
	.dns6 = { { 0xfd, 0, 0xc0, 0xa8, 0, 5, [15] = 3 } },
};

/* A frame in memory of its size and the promised room. */
struct fixture {
	uint8_t *bytes;
	size_t len;
};

static struct fixture from_bytes(const uint8_t *bytes, size_t len)
{
	struct fixture f = { calloc(1, len + AMEND_ROOM), len };

	assert_non_null(f.bytes);
	memcpy(f.bytes, bytes, len);
	return f;
}

static void amend(struct fixture *f)
{
	f->len = amend_frame(f->bytes, f->len, &config);
}

static void assert_untouched(struct fixture f)
{
	uint8_t *before = malloc(f.len);

	assert_non_null(before);
	memcpy(before, f.bytes, f.len);
	assert_int_equal(amend_frame(f.bytes, f.len, &config), f.len);
	assert_memory_equal(f.bytes, before, f.len);
	free(before);
	free(f.bytes);
}

/* --- router advertisements ------------------------------------------------ */

static const uint8_t prefix_option[32] = { 3,	 4, 64, 0xc0, 0, 0,    0x38, 0x40, 0,	 0, 0x38,
					   0x40, 0, 0,	0,    0, 0xfd, 0,    0xc0, 0xa8, 0, 5 };
static const uint8_t source_option[8] = { 1, 1, 0x52, 0x56, 0, 0, 0, 2 };
static const uint8_t mtu_option[8] = { 5, 1, 0, 0, 0, 0, 0xff, 0xf0 };
static const uint8_t dns_option[24] = { 25,   3, 0,    0,    0, 0, 0x07,    0x08,
					0xfd, 0, 0xc0, 0xa8, 0, 5, [23] = 3 };

static struct fixture ra(const uint8_t *const *options, size_t header)
{
	struct wire w = wire_to(&wire_gateway6, 0, 0);
	uint8_t bytes[512], message[256] = { 134, 0, 0, 0, 64, 0, 7, 8 };
	size_t len = header;

	w = wire_back(&w);
	for (; *options; options++) {
		memcpy(message + len, *options, (*options)[1] * (size_t)8);
		len += (*options)[1] * (size_t)8;
	}
	return from_bytes(bytes, wire_icmp(bytes, &w, message, len));
}

static void assert_ra_options(const struct fixture *f, const uint8_t *const *options)
{
	const uint8_t *at = f->bytes + RA_AT + 16;

	for (; *options; options++) {
		size_t size = (*options)[1] * (size_t)8;

		assert_true(at + size <= f->bytes + f->len);
		assert_memory_equal(at, *options, size);
		at += size;
	}
	assert_ptr_equal(at, f->bytes + f->len);
	assert_int_equal(get_be16(f->bytes + ETH_HEADER_SIZE + 4), f->len - RA_AT);
}

static void a_router_advertisement_tells_mtu_and_resolver(void **state)
{
	static const uint8_t *const slirp[] = { source_option, prefix_option, NULL };
	static const uint8_t *const amended[] = { source_option, prefix_option, mtu_option,
						  dns_option, NULL };
	struct fixture f = ra(slirp, 16);

	(void)state;
	amend(&f);
	assert_ra_options(&f, amended);
	assert_true(wire_has_right_checksum(f.bytes, f.len));
	assert_int_equal(f.bytes[ETH_HEADER_SIZE + 7], 255); /* hop limit */
	assert_untouched(f);
}

static void a_managed_network_is_told_to_be_one(void **state)
{
	static const uint8_t *const slirp[] = { source_option, prefix_option, NULL };
	struct amend_config managed = config;
	struct fixture f = ra(slirp, 16);

	(void)state;
	managed.is_managed = true;
	assert_int_equal(f.bytes[RA_AT + 5], 0);
	f.len = amend_frame(f.bytes, f.len, &managed);
	assert_int_equal(f.bytes[RA_AT + 5], 0xc0);
	assert_true(wire_has_right_checksum(f.bytes, f.len));
	free(f.bytes);
}

static void what_the_advertisement_has_stays(void **state)
{
	static const uint8_t *const with_dns[] = { prefix_option, dns_option, source_option, NULL };
	static const uint8_t *const plus_mtu[] = { prefix_option, dns_option, source_option,
						   mtu_option, NULL };
	static const uint8_t *const with_mtu[] = { mtu_option, NULL };
	static const uint8_t *const plus_dns[] = { mtu_option, dns_option, NULL };
	static const uint8_t *const none[] = { NULL };
	static const uint8_t *const both[] = { mtu_option, dns_option, NULL };
	struct fixture f;

	(void)state;
	f = ra(with_dns, 16);
	amend(&f);
	assert_ra_options(&f, plus_mtu);
	free(f.bytes);
	f = ra(with_mtu, 16);
	amend(&f);
	assert_ra_options(&f, plus_dns);
	free(f.bytes);
	f = ra(none, 16);
	amend(&f);
	assert_ra_options(&f, both);
	free(f.bytes);
}

/* --- refusals of the host's loopback ------------------------------------------ */

static struct fixture unreachable(const struct ipaddr *from, bool v4)
{
	struct wire w = wire_to(v4 ? &wire_gateway4 : &wire_gateway6, 5000, 9);
	uint8_t bytes[300], quoted[200], message[100] = { v4 ? 3 : 1, v4 ? 3 : 4 };
	size_t len = wire_udp(quoted, &w, "hello", 5) - ETH_HEADER_SIZE;

	memcpy(message + 8, quoted + ETH_HEADER_SIZE, len);
	w = wire_back(&w);
	w.src.addr = *from;
	return from_bytes(bytes, wire_icmp(bytes, &w, message, 8 + len));
}

/* What guests would drop comes from the gateway instead. */
static void a_refusal_comes_from_the_gateway(void **state)
{
	static const struct ipaddr loopback4 = IPADDR_V4(127, 0, 0, 1);
	static const struct ipaddr loopback6 = { { [15] = 1 } };

	(void)state;
	for (int v4 = 0; v4 < 2; v4++) {
		struct fixture f = unreachable(v4 ? &loopback4 : &loopback6, v4);
		struct fixture as_it_should_be =
			unreachable(v4 ? &wire_gateway4 : &wire_gateway6, v4);

		amend(&f);
		assert_int_equal(f.len, as_it_should_be.len);
		assert_memory_equal(f.bytes, as_it_should_be.bytes, f.len);
		free(as_it_should_be.bytes);
		assert_untouched(f);
	}
}

static void other_refusals_stay_as_they_are(void **state)
{
	static const struct ipaddr world4 = IPADDR_V4(203, 0, 113, 1);
	static const struct ipaddr world6 = { { 0x20, 1, 0xd, 0xb8, [15] = 1 } };
	static const struct ipaddr loopback6 = { { [15] = 1 } };
	struct fixture f;

	(void)state;
	assert_untouched(unreachable(&world4, true));
	assert_untouched(unreachable(&world6, false));
	f = unreachable(&loopback6, false);
	f.len--; /* cut */
	assert_untouched(f);
}

/* --- everything else ------------------------------------------------------ */

static void other_frames_stay_as_they_are(void **state)
{
	static const uint8_t *const none[] = { NULL };
	struct wire dhcp = wire_to(&wire_gateway4, 68, 67), six = wire_to(&wire_gateway6, 68, 67);
	uint8_t bytes[FRAME_MAX_SIZE], echo[64] = { 0 }, data[DHCP_SIZE] = { 0 };
	struct fixture request = from_bytes(bytes, wire_udp(bytes, &dhcp, data, sizeof(data)));

	(void)state;
	assert_untouched(request);
	six = wire_back(&six);
	assert_untouched(from_bytes(bytes, wire_udp(bytes, &six, data, sizeof(data))));
	assert_untouched(from_bytes(bytes, wire_icmp(bytes, &dhcp, echo, sizeof(echo))));
	assert_untouched(ra(none, 15)); /* too short to be one */
	assert_untouched(from_bytes(bytes, wire_arp(bytes, &dhcp, 1)));
	assert_untouched(from_bytes(bytes, 13));
	assert_untouched(from_bytes(bytes, 0));
	data[0] = 0xff;
	assert_untouched(from_bytes(data, sizeof(data))); /* no frame at all */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_router_advertisement_tells_mtu_and_resolver),
		cmocka_unit_test(a_managed_network_is_told_to_be_one),
		cmocka_unit_test(what_the_advertisement_has_stays),
		cmocka_unit_test(a_refusal_comes_from_the_gateway),
		cmocka_unit_test(other_refusals_stay_as_they_are),
		cmocka_unit_test(other_frames_stay_as_they_are),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
