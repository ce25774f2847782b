/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/dhcp.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "netstack/base/bytes.h"

#define OPTIONS 240U

static const struct dhcp_settings plain = {
	.server = IPADDR_V4(192, 168, 105, 1),
	.router = IPADDR_V4(192, 168, 105, 1),
	.dns = IPADDR_V4(192, 168, 105, 3),
	.prefix_bits = 24,
	.mtu = 1500,
	.lease_s = 3600,
};

/* A client's message with these options, in memory of its size. */
static uint8_t *make(const void *options, size_t len)
{
	uint8_t *m = calloc(1, OPTIONS + len);

	assert_non_null(m);
	m[0] = m[1] = 1;
	m[2] = 6;
	put_be32(m + 4, 0x12345678);
	memcpy(m + 28, "\x52\x54\0\1\2\3", 6);
	put_be32(m + 236, 0x63825363);
	memcpy(m + OPTIONS, options, len);
	return m;
}

static int parse(const void *options, size_t len, struct dhcp_request *r)
{
	uint8_t *m = make(options, len);
	int result = dhcp_parse(m, OPTIONS + len, r);

	free(m);
	return result;
}

static void a_request_is_read(void **state)
{
	static const uint8_t options[] = "\0\0\x35\1\3\x32\4\xc0\xa8\x69\x10\x36\4\xc0\xa8\x69\1"
					 "\x0c\3box\x3d\7\1\x52\x54\0\1\2\3\x37\2\1\3\xff";
	const struct ipaddr wanted = IPADDR_V4(192, 168, 105, 16);
	struct dhcp_request r;

	(void)state;
	assert_int_equal(parse(options, sizeof(options) - 1, &r), 0);
	assert_int_equal(r.type, DHCP_REQUEST);
	assert_int_equal(r.xid, 0x12345678);
	assert_false(r.wants_broadcast);
	assert_true(ipaddr_is_any(&r.ciaddr));
	assert_true(ipaddr_equal(&r.requested, &wanted));
	assert_true(ipaddr_equal(&r.server, &plain.server));
	assert_string_equal(r.name, "box");
	assert_int_equal(r.client.id_len, 7);
	assert_memory_equal(r.client.id, "\1\x52\x54\0\1\2\3", 7);
	assert_memory_equal(r.client.mac.b, "\x52\x54\0\1\2\3", 6);
}

static void what_is_no_clients_message_is_refused(void **state)
{
	static const struct {
		const char *options;
		size_t len;
	} cases[] = {
		{ "", 0 },	       /* BOOTP, without a type */
		{ "\x35", 1 },	       /* cut behind the option's number */
		{ "\x35\1", 2 },       /* and its length */
		{ "\x35\1\2\xff", 4 }, /* a server's */
		{ "\x35\1\0\xff", 4 },
		{ "\x35\1\x63\xff", 4 },
		{ "\x35\2\1\1\xff", 5 },   /* a type of two bytes */
		{ "\x35\1\1\x0c\xff", 5 }, /* a name longer than what is there */
		{ "\x35\1\1\x3d\5\1\2\3\4", 9 },
	};
	struct dhcp_request r;
	uint8_t *m;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(parse(cases[i].options, cases[i].len, &r), -EINVAL);
	m = make("\x35\1\1\xff", 4);
	assert_int_equal(dhcp_parse(m, OPTIONS + 4, &r), 0);
	for (size_t len = 0; len < OPTIONS + 3; len++) {
		uint8_t *cut = malloc(len + 1);

		memcpy(cut, m, len);
		assert_int_equal(dhcp_parse(cut, len, &r), -EINVAL);
		free(cut);
	}
	for (size_t at = 0; at < 3; at++) {
		m[at]++; /* a reply, another network, another size of address */
		assert_int_equal(dhcp_parse(m, OPTIONS + 4, &r), -EINVAL);
		m[at]--;
	}
	m[28] = 1; /* a group */
	assert_int_equal(dhcp_parse(m, OPTIONS + 4, &r), -EINVAL);
	m[28] = 2;
	m[27] = 1; /* by way of a relay agent */
	assert_int_equal(dhcp_parse(m, OPTIONS + 4, &r), -EOPNOTSUPP);
	free(m);
}

static void odd_options_are_passed_over(void **state)
{
	char long_name[70] = "\x35\1\1\x0c\x40", long_id[50] = "\x35\1\1\x3d\x21";
	struct dhcp_request r;

	(void)state;
	assert_int_equal(parse("\x35\1\1\x0c\3a\0b\x3d\1x\x32\3abc\xff", 17, &r), 0);
	assert_string_equal(r.name, "");
	assert_int_equal(r.client.id_len, 0);
	assert_true(ipaddr_is_any(&r.requested));
	memset(long_name + 5, 'x', 64);
	assert_int_equal(parse(long_name, 69, &r), 0);
	assert_string_equal(r.name, "");
	assert_int_equal(parse(long_id, 5 + 33, &r), 0);
	assert_int_equal(r.client.id_len, 0);
}

static const uint8_t *option(const uint8_t *m, size_t len, uint8_t kind)
{
	for (size_t at = OPTIONS; at + 1 < len && m[at] != 255; at += 2U + m[at + 1]) {
		if (m[at] == kind)
			return m + at;
	}
	return NULL;
}

static void assert_option(const uint8_t *m, size_t len, const void *expected, size_t size)
{
	const uint8_t *found = option(m, len, *(const uint8_t *)expected);

	assert_non_null(found);
	assert_memory_equal(found, expected, size);
}

static void an_offer_tells_everything(void **state)
{
	const struct dhcp_reply reply = { DHCP_OFFER, IPADDR_V4(192, 168, 105, 16), NULL };
	struct dhcp_settings s = plain;
	uint8_t *m = malloc(DHCP_REPLY_MAX);
	struct dhcp_request r;
	size_t len;

	(void)state;
	s.domain = "netfwd.internal";
	s.ntp[0] = (struct ipaddr)IPADDR_V4(192, 0, 2, 1);
	s.ntp[1] = (struct ipaddr)IPADDR_V4(192, 0, 2, 2);
	s.n_ntp = 2;
	assert_int_equal(dhcp_add_search(&s, "a.example"), 0);
	assert_int_equal(dhcp_add_search(&s, "b"), 0);
	assert_int_equal(parse("\x35\1\1\xff", 4, &r), 0);
	r.wants_broadcast = true;
	len = dhcp_write(&s, &r, &reply, m);

	assert_memory_equal(m, "\2\1\6\0\x12\x34\x56\x78\0\0\x80\0\0\0\0\0\xc0\xa8\x69\x10", 20);
	assert_memory_equal(m + 28, "\x52\x54\0\1\2\3\0\0\0\0", 10);
	assert_int_equal(get_be32(m + 236), 0x63825363);
	assert_option(m, len, "\x35\1\2", 3);
	assert_option(m, len, "\x36\4\xc0\xa8\x69\1", 6);
	assert_option(m, len, "\1\4\xff\xff\xff\0", 6);
	assert_option(m, len, "\3\4\xc0\xa8\x69\1", 6);
	assert_option(m, len, "\6\4\xc0\xa8\x69\3", 6);
	assert_option(m, len, "\x0f\x0fnetfwd.internal", 17);
	assert_option(m, len, "\x1a\2\x05\xdc", 4);
	assert_option(m, len, "\x1c\4\xc0\xa8\x69\xff", 6);
	assert_option(m, len, "\x2a\x08\xc0\0\2\1\xc0\0\2\2", 10);
	assert_option(m, len, "\x33\4\0\0\x0e\x10", 6);
	assert_option(m, len, "\x3a\4\0\0\7\x08", 6);
	assert_option(m, len, "\x3b\4\0\0\x0c\x4e", 6);
	assert_option(m, len, "\x77\x0e\1a\7example\0\1b\0", 16);
	free(m);
}

static void a_refusal_tells_nothing_but_why(void **state)
{
	const struct dhcp_reply reply = { .type = DHCP_NAK, .nak_reason = "no" };
	uint8_t m[DHCP_REPLY_MAX];
	struct dhcp_request r;
	size_t len;

	(void)state;
	assert_int_equal(parse("\x35\1\3\xff", 4, &r), 0);
	len = dhcp_write(&plain, &r, &reply, m);
	assert_option(m, len, "\x35\1\6", 3);
	assert_option(m, len, "\x38\2no", 4);
	assert_null(option(m, len, 3));
	assert_null(option(m, len, 51));
	assert_int_equal(get_be32(m + 16), 0);
	assert_int_equal(len, 300); /* what some take for the least */
}

static void an_information_has_no_lease(void **state)
{
	const struct dhcp_reply reply = { .type = DHCP_ACK };
	uint8_t m[DHCP_REPLY_MAX];
	struct dhcp_request r;
	size_t len;

	(void)state;
	assert_int_equal(parse("\x35\1\x08\xff", 4, &r), 0);
	r.ciaddr = (struct ipaddr)IPADDR_V4(192, 168, 105, 77);
	len = dhcp_write(&plain, &r, &reply, m);
	assert_option(m, len, "\6\4\xc0\xa8\x69\3", 6);
	assert_null(option(m, len, 51));
	assert_memory_equal(m + 12, "\xc0\xa8\x69\x4d\0\0\0\0", 8);
}

static void what_does_not_fit_is_left_out(void **state)
{
	static char domain[251];
	const struct dhcp_reply reply = { DHCP_ACK, IPADDR_V4(192, 168, 105, 16), NULL };
	struct dhcp_settings s = plain;
	uint8_t *m = malloc(DHCP_REPLY_MAX);
	struct dhcp_request r;
	size_t len;

	(void)state;
	memset(domain, 'd', sizeof(domain) - 1);
	s.domain = domain;
	while (dhcp_add_search(&s, "something.example") == 0)
		;
	assert_int_equal(parse("\x35\1\3\xff", 4, &r), 0);
	len = dhcp_write(&s, &r, &reply, m);
	assert_true(len <= DHCP_REPLY_MAX);
	assert_non_null(option(m, len, 26));
	assert_null(option(m, len, 119));
	free(m);
}

static void a_search_domain_is_a_name(void **state)
{
	struct dhcp_settings s = plain;
	char label[65];

	(void)state;
	memset(label, 'a', 64);
	label[64] = '\0';
	assert_int_equal(dhcp_add_search(&s, ""), -EINVAL);
	assert_int_equal(dhcp_add_search(&s, "a..b"), -EINVAL);
	assert_int_equal(dhcp_add_search(&s, label), -EINVAL);
	assert_int_equal(dhcp_add_search(&s, label + 1), 0);
	assert_int_equal(dhcp_add_search(&s, label + 1), 0);
	assert_int_equal(dhcp_add_search(&s, label + 1), -ENOSPC);
	assert_int_equal(s.search_len, 130);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_is_read),
		cmocka_unit_test(what_is_no_clients_message_is_refused),
		cmocka_unit_test(odd_options_are_passed_over),
		cmocka_unit_test(an_offer_tells_everything),
		cmocka_unit_test(a_refusal_tells_nothing_but_why),
		cmocka_unit_test(an_information_has_no_lease),
		cmocka_unit_test(what_does_not_fit_is_left_out),
		cmocka_unit_test(a_search_domain_is_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
