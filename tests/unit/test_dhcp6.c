/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/dhcp6.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "netstack/base/bytes.h"

#define CLIENT "\0\1\0\4\0\1\xaa\xbb" /* a DUID of four bytes */
#define SERVER "\0\2\0\4\0\3\0\1"
#define IA "\0\3\0\x0c\0\0\0\7\0\0\0\0\0\0\0\0"
#define ADDRESS_OPTION "\0\5\0\x18"
#define ADDRESS "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x10"
#define IA_WITH_ADDRESS \
	"\0\3\0\x28\0\0\0\7\0\0\0\0\0\0\0\0" ADDRESS_OPTION ADDRESS "\0\0\0\0\0\0\0\0"

static const struct dhcp6_settings settings = {
	.server = { "\0\3\0\1\x52\x56\0\0\0\1", 10 },
	.dns = { { 0xfd, [15] = 3 } },
	.lease_s = 1000,
	.search = "\3lan",
	.search_len = 5,
};

/* From memory of its size. */
static int parse(const char *message, size_t len, struct dhcp6_request *r)
{
	uint8_t *exact = malloc(len + 1);
	int result;

	assert_non_null(exact);
	memcpy(exact, message, len);
	result = dhcp6_parse(exact, len, r);
	free(exact);
	return result;
}

#define PARSE(message, r) parse((message), sizeof(message) - 1, (r))

static void a_request_is_read(void **state)
{
	struct dhcp6_request r;

	(void)state;
	assert_int_equal(PARSE("\3\x12\x34\x56" CLIENT SERVER IA_WITH_ADDRESS
			       "\0\x27\0\x05\0\3box\0\x0e\0\0",
			       &r),
			 0);
	assert_int_equal(r.type, DHCP6_REQUEST);
	assert_int_equal(r.xid, 0x123456);
	assert_int_equal(r.client.len, 4);
	assert_memory_equal(r.client.bytes, "\0\1\xaa\xbb", 4);
	assert_int_equal(r.server.len, 4);
	assert_int_equal(r.n_ias, 1);
	assert_int_equal(r.ias[0].iaid, 7);
	assert_int_equal(r.ias[0].n, 1);
	assert_memory_equal(r.ias[0].addresses[0].b, ADDRESS, 16);
	assert_string_equal(r.name, "box");
	assert_true(r.is_rapid);
}

static void what_is_no_clients_message_is_refused(void **state)
{
	static const struct {
		const char *message;
		size_t len;
	} cases[] = {
#define CASE(message) { (message), sizeof(message) - 1 }
		CASE(""),
		CASE("\1\0\0"),
		CASE("\1\0\0\1"),			/* nobody's */
		CASE("\1\0\0\1" CLIENT SERVER),		/* a solicitation is for all */
		CASE("\1\0\0\1" CLIENT CLIENT),		/* of two */
		CASE("\3\0\0\1" CLIENT IA),		/* of a server that is not named */
		CASE("\6\0\0\1" CLIENT SERVER IA),	/* a rebinding is for all */
		CASE("\x0b\0\0\1" CLIENT IA),		/* asks for no address */
		CASE("\2\0\0\1" CLIENT SERVER),		/* a server's */
		CASE("\7\0\0\1" CLIENT SERVER),		/* a server's */
		CASE("\x0c\0\0\1" CLIENT),		/* a relay's */
		CASE("\0\0\0\1" CLIENT),		/* nobody's type */
		CASE("\1\0\0\1" CLIENT "\0\3\0"),	/* cut in an option's head, */
		CASE("\1\0\0\1" CLIENT "\0\3\0\x0c\0"), /* in its body, */
		CASE("\1\0\0\1" CLIENT "\0\3\0\x0b"
		     "0123456789a"), /* in an IA, */
		CASE("\1\0\0\1" CLIENT "\0\3\0\x0e"
		     "0123456789ab\0\5"),     /* in its options */
		CASE("\1\0\0\1\0\1\0\2\0\1"), /* a DUID without an id */
#undef CASE
	};
	struct dhcp6_request r;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_true(parse(cases[i].message, cases[i].len, &r) < 0);
}

static void what_is_too_much_of_is_left_out(void **state)
{
	struct dhcp6_request r;

	(void)state;
	assert_int_equal(PARSE("\1\0\0\1" CLIENT IA IA IA IA IA IA, &r), 0);
	assert_int_equal(r.n_ias, DHCP6_MAX_IA);
	/* a name longer than the option */
	assert_int_equal(PARSE("\1\0\0\1" CLIENT "\0\x27\0\3\0\7x", &r), 0);
	assert_string_equal(r.name, "");
}

/* Where an option's data is in the message, or NULL. */
static const uint8_t *find(const uint8_t *m, size_t len, size_t from, uint16_t option)
{
	for (size_t at = from; at + 4 <= len; at += 4U + get_be16(m + at + 2)) {
		assert_true(at + 4 + get_be16(m + at + 2) <= len);
		if (get_be16(m + at) == option)
			return m + at + 4;
	}
	return NULL;
}

static void a_reply_has_the_address_and_the_settings(void **state)
{
	const struct dhcp6_reply reply = { .type = DHCP6_REPLY,
					   .has_addresses = true,
					   .address = { { 0xfd, [15] = 0x20 } },
					   .no_ia = DHCP6_NO_ADDRESS };
	uint8_t m[DHCP6_REPLY_MAX];
	struct dhcp6_request r;
	const uint8_t *ia;
	size_t len;

	(void)state;
	assert_int_equal(PARSE("\1\x12\x34\x56" CLIENT IA_WITH_ADDRESS IA, &r), 0);
	len = dhcp6_write(&settings, &r, &reply, m);
	assert_int_equal(get_be32(m), 0x07123456);
	assert_memory_equal(find(m, len, 4, 1), "\0\1\xaa\xbb", 4);
	assert_memory_equal(find(m, len, 4, 2), settings.server.bytes, 10);
	assert_memory_equal(find(m, len, 4, 23), settings.dns.b, 16);
	assert_memory_equal(find(m, len, 4, 24), "\3lan", 5);
	assert_non_null(find(m, len, 4, 14)); /* a solicitation got its reply at once */

	ia = find(m, len, 4, 3);
	assert_int_equal(get_be32(ia), 7);
	assert_int_equal(get_be32(ia + 4), 500);
	assert_int_equal(get_be32(ia + 8), 800);
	assert_memory_equal(ia + 16, reply.address.b, 16);
	assert_int_equal(get_be32(ia + 36), 1000);
	/* the address that it had is to be given up, */
	assert_memory_equal(ia + 44, ADDRESS, 16);
	assert_int_equal(get_be32(ia + 60), 0);
	assert_int_equal(get_be32(ia + 64), 0);
	/* and the second IA gets none */
	ia += 12 + 28 + 28;
	assert_int_equal(get_be16(ia), 3);
	assert_memory_equal(ia + 4 + 12, "\0\x0d\0\2\0\2", 6);
}

static void the_longest_reply_fits(void **state)
{
	struct dhcp6_settings most = settings;
	struct dhcp6_reply reply = { .type = DHCP6_REPLY,
				     .has_status = true,
				     .has_addresses = true,
				     .address = { { 0xfe } },
				     .no_ia = DHCP6_NO_ADDRESS };
	struct dhcp6_request r = { .type = DHCP6_SOLICIT, .n_ias = DHCP6_MAX_IA };
	uint8_t m[DHCP6_REPLY_MAX];

	(void)state;
	r.client.len = DHCP6_DUID_MAX;
	most.search_len = sizeof(most.search);
	for (unsigned int i = 0; i < DHCP6_MAX_IA; i++) {
		r.ias[i].n = DHCP6_MAX_ADDRESSES;
		for (unsigned int j = 0; j < DHCP6_MAX_ADDRESSES; j++)
			r.ias[i].addresses[j].b[0] = 0xfd;
	}
	assert_in_range(dhcp6_write(&most, &r, &reply, m), 900, sizeof(m));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_is_read),
		cmocka_unit_test(what_is_no_clients_message_is_refused),
		cmocka_unit_test(what_is_too_much_of_is_left_out),
		cmocka_unit_test(a_reply_has_the_address_and_the_settings),
		cmocka_unit_test(the_longest_reply_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
