/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/addr.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct ipaddr parsed(const char *text)
{
	struct ipaddr a;

	if (ipaddr_parse(text, &a) != 0)
		fail_msg("%s does not parse", text);
	return a;
}

static void text_survives_a_round_trip(void **state)
{
	static const char *const cases[] = {
		"0.0.0.0", "127.0.0.1",	 "192.168.5.15",	 "255.255.255.255",
		"::",	   "::1",	 "fd00:c0a8:5::15",	 "fe80::5055:aff:fe00:1",
		"ff02::2", "64:ff9b::1", "2001:db8:1:2:3:4:5:6",
	};
	char text[ADDR_TEXT_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ipaddr a = parsed(cases[i]);

		assert_string_equal(ipaddr_format(&a, text), cases[i]);
		assert_int_equal(ipaddr_is_v4(&a), strchr(cases[i], ':') == NULL);
	}
}

static void text_that_is_no_address_is_refused(void **state)
{
	static const char *const cases[] = {
		"",	      " ",
		"localhost",  "1.2.3",
		"1.2.3.4.5",  "256.0.0.1",
		"1.2.3.4 ",   "[::1]",
		"::1%lo",     "1:2:3:4:5:6:7",
		"::g",	      "127.0.0.1:80",
		"0x7f.0.0.1", "1.2.3.04a",
		"-1.0.0.1",
	};
	struct ipaddr a;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (ipaddr_parse(cases[i], &a) != -EINVAL)
			fail_msg("\"%s\" was taken for an address", cases[i]);
	}
}

static void an_ipv4_address_is_the_same_by_any_way(void **state)
{
	static const uint8_t bytes[4] = { 192, 168, 5, 2 };
	struct ipaddr macro = IPADDR_V4(192, 168, 5, 2), text = parsed("192.168.5.2");
	struct ipaddr made = ipaddr_from_v4(bytes), mapped = parsed("::ffff:192.168.5.2");

	(void)state;
	assert_true(ipaddr_equal(&macro, &text));
	assert_true(ipaddr_equal(&macro, &made));
	assert_true(ipaddr_equal(&macro, &mapped));
	assert_memory_equal(ipaddr_v4_bytes(&macro), bytes, 4);
}

static void a_guest_is_not_led_to_addresses_with_a_special_meaning(void **state)
{
	static const struct {
		const char *text;
		bool dialable;
	} cases[] = {
		{ "0.0.0.0", false },
		{ "0.1.2.3", false },
		{ "127.0.0.1", false },
		{ "127.255.255.254", false },
		{ "224.0.0.1", false },
		{ "239.255.255.250", false },
		{ "240.0.0.1", false },
		{ "255.255.255.255", false },
		{ "::", false },
		{ "::1", false },
		{ "::127.0.0.1", false },
		{ "::8.8.8.8", false },
		{ "::ffff:127.0.0.1", false },
		{ "::ffff:0.0.0.0", false },
		{ "fe80::1", false },
		{ "febf::1", false },
		{ "ff02::1", false },
		{ "ff0e::1", false },
		{ "1.0.0.1", true },
		{ "10.0.0.1", true },
		{ "126.255.255.255", true },
		{ "128.0.0.1", true },
		{ "223.255.255.255", true },
		{ "::ffff:10.0.0.1", true },
		{ "64:ff9b::808:808", true },
		{ "2001:db8::1", true },
		{ "fd00::1", true },
		{ "fec0::1", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ipaddr a = parsed(cases[i].text);

		if (ipaddr_is_dialable(&a) != cases[i].dialable)
			fail_msg("%s", cases[i].text);
	}
}

static void kinds_of_addresses_are_told_apart(void **state)
{
	static const struct {
		const char *text;
		bool any, loopback, multicast, link_local;
	} cases[] = {
		{ "0.0.0.0", true, false, false, false },
		{ "::", true, false, false, false },
		{ "127.0.0.1", false, true, false, false },
		{ "127.1.2.3", false, true, false, false },
		{ "::1", false, true, false, false },
		{ "::2", false, false, false, false },
		{ "224.0.0.251", false, false, true, false },
		{ "ff02::fb", false, false, true, false },
		{ "fe80::1", false, false, false, true },
		{ "fec0::1", false, false, false, false },
		{ "169.254.1.1", false, false, false, false },
		{ "10.0.0.1", false, false, false, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ipaddr a = parsed(cases[i].text);

		assert_int_equal(ipaddr_is_any(&a), cases[i].any);
		assert_int_equal(ipaddr_is_loopback(&a), cases[i].loopback);
		assert_int_equal(ipaddr_is_multicast(&a), cases[i].multicast);
		assert_int_equal(ipaddr_is_link_local(&a), cases[i].link_local);
	}
}

static void a_prefix_counts_bits(void **state)
{
	static const struct {
		const char *addr, *prefix;
		unsigned int bits;
		bool inside;
	} cases[] = {
		{ "192.168.5.15", "192.168.5.0", 96 + 24, true },
		{ "192.168.6.15", "192.168.5.0", 96 + 24, false },
		{ "192.168.5.15", "192.168.5.8", 96 + 29, true },
		{ "192.168.5.16", "192.168.5.8", 96 + 29, false },
		{ "192.168.5.9", "192.168.5.8", 96 + 32, false },
		{ "192.168.5.8", "192.168.5.8", 96 + 32, true },
		{ "fd00::c0a8:50f", "192.168.5.0", 96 + 24, false },
		{ "fd00:c0a8:5::15", "fd00:c0a8:5::", 64, true },
		{ "fd00:c0a8:5:1::15", "fd00:c0a8:5::", 64, false },
		{ "2001::1", "::", 0, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ipaddr a = parsed(cases[i].addr), prefix = parsed(cases[i].prefix);

		if (ipaddr_in_prefix(&a, &prefix, cases[i].bits) != cases[i].inside)
			fail_msg("%s in %s/%u", cases[i].addr, cases[i].prefix, cases[i].bits);
	}
}

static void endpoints_become_socket_addresses_and_back(void **state)
{
	static const struct {
		const char *addr, *text;
		sa_family_t family;
	} cases[] = {
		{ "127.0.0.1", "127.0.0.1:8080", AF_INET },
		{ "255.255.255.255", "255.255.255.255:8080", AF_INET },
		{ "::1", "[::1]:8080", AF_INET6 },
		{ "2001:db8:1111:2222:3333:4444:5555:6666",
		  "[2001:db8:1111:2222:3333:4444:5555:6666]:8080", AF_INET6 },
	};
	char text[ADDR_TEXT_SIZE];
	struct sockaddr_storage sa;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct endpoint e = { parsed(cases[i].addr), 8080 }, back;

		assert_string_equal(endpoint_format(&e, text), cases[i].text);
		assert_true(endpoint_to_sockaddr(&e, &sa) > 0);
		assert_int_equal(sa.ss_family, cases[i].family);
		assert_int_equal(endpoint_from_sockaddr(&sa, &back), 0);
		assert_true(endpoint_equal(&e, &back));
		back.port++;
		assert_false(endpoint_equal(&e, &back));
	}
	sa.ss_family = AF_UNIX;
	assert_int_equal(endpoint_from_sockaddr(&sa, &(struct endpoint){ 0 }), -EAFNOSUPPORT);
}

static void a_group_mac_is_recognised(void **state)
{
	static const struct mac guest = { { 0x52, 0x54, 0, 1, 2, 3 } };
	static const struct mac other = { { 0x52, 0x54, 0, 1, 2, 4 } };
	static const struct mac broadcast = { { 255, 255, 255, 255, 255, 255 } };
	static const struct mac multicast = { { 0x33, 0x33, 0, 0, 0, 1 } };

	(void)state;
	assert_false(mac_is_group(&guest));
	assert_true(mac_is_group(&broadcast));
	assert_true(mac_is_group(&multicast));
	assert_true(mac_equal(&guest, &guest));
	assert_false(mac_equal(&guest, &other));
}

static void a_hash_spreads_and_stays(void **state)
{
	unsigned int buckets[16] = { 0 };

	(void)state;
	for (uint32_t i = 0; i < 1600; i++) {
		assert_int_equal(hash_bytes(&i, sizeof(i)), hash_bytes(&i, sizeof(i)));
		buckets[hash_bytes(&i, sizeof(i)) % 16]++;
	}
	for (unsigned int i = 0; i < 16; i++) /* 100 expected, 10 their deviation */
		assert_in_range(buckets[i], 30, 170);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_survives_a_round_trip),
		cmocka_unit_test(text_that_is_no_address_is_refused),
		cmocka_unit_test(an_ipv4_address_is_the_same_by_any_way),
		cmocka_unit_test(a_guest_is_not_led_to_addresses_with_a_special_meaning),
		cmocka_unit_test(kinds_of_addresses_are_told_apart),
		cmocka_unit_test(a_prefix_counts_bits),
		cmocka_unit_test(endpoints_become_socket_addresses_and_back),
		cmocka_unit_test(a_group_mac_is_recognised),
		cmocka_unit_test(a_hash_spreads_and_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
