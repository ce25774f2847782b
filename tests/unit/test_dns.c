/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/dns.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "netstack/base/bytes.h"

/* A query for host.lima.internal, AAAA, as glibc sends it with EDNS. */
static const uint8_t query[] = {
	0x12, 0x34, 0x01, 0x20, 0,    1,   0,	0,   0,	  0,   0, 1,	    /* header */
	4,    'h',  'o',  's',	't',  4,   'L', 'i', 'm', 'a',		    /* labels */
	8,    'i',  'n',  't',	'e',  'r', 'n', 'a', 'l', 0,   0, 28, 0, 1, /* AAAA, IN */
	0,    0,    41,	  0x04, 0xd0, 0,   0,	0,   0,	  0,   0,	    /* EDNS */
};
#define QUESTION_END 36U

/* The message in memory of just its size, so that a byte too far is noticed. */
static int parse(const uint8_t *message, size_t len, struct dns_question *q)
{
	uint8_t *copy = malloc(len ? len : 1);
	int r;

	assert_non_null(copy);
	memcpy(copy, message, len);
	r = dns_parse_query(copy, len, q);
	free(copy);
	return r;
}

static void a_query_is_read(void **state)
{
	struct dns_question q;

	(void)state;
	assert_int_equal(parse(query, sizeof(query), &q), 0);
	assert_int_equal(q.id, 0x1234);
	assert_string_equal(q.name, "host.lima.internal");
	assert_int_equal(q.type, DNS_TYPE_AAAA);
	assert_int_equal(q.end, QUESTION_END);
}

static void a_cut_query_is_refused(void **state)
{
	struct dns_question q;

	(void)state;
	for (size_t len = 0; len < QUESTION_END; len++)
		assert_int_equal(parse(query, len, &q), -EINVAL);
	assert_int_equal(parse(query, QUESTION_END, &q), 0);
}

static void what_is_no_plain_query_is_refused(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
		const char *what;
	} cases[] = {
		{ 2, 0x81, "a response" },
		{ 2, 0x09, "opcode 1" },
		{ 2, 0x29, "an update" },
		{ 5, 0, "no question" },
		{ 5, 2, "two questions" },
		{ 4, 1, "257 questions" },
		{ 12, 0xc0, "a compressed name" },
		{ 12, 0x44, "a label of the obsolete kind" },
		{ 12, 0x84, "a reserved kind of label" },
		{ 17, 64, "a label over 63 bytes" },
		{ 22, 63, "a label that leaves the message" },
		{ 35, 3, "class CH" },
		{ 35, 255, "class ANY" },
		{ 34, 1, "class 257" },
	};
	struct dns_question q;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t m[sizeof(query)];

		memcpy(m, query, sizeof(m));
		m[cases[i].at] = cases[i].value;
		if (parse(m, sizeof(m), &q) != -EINVAL)
			fail_msg("%s", cases[i].what);
	}
}

/* A query for a name of these labels, each filled with 'A'. */
static size_t make_query(uint8_t *m, const uint8_t *labels, int n)
{
	size_t at = DNS_HEADER_SIZE;

	memset(m, 0, DNS_HEADER_SIZE);
	m[5] = 1;
	for (int i = 0; i < n; i++) {
		m[at++] = labels[i];
		memset(m + at, 'A', labels[i]);
		at += labels[i];
	}
	m[at++] = 0;
	put_be16(m + at, 16);
	put_be16(m + at + 2, 1);
	return at + 4;
}

static void names_have_any_legal_length(void **state)
{
	static const struct {
		uint8_t labels[6];
		int n;
		size_t name_len;
		int result;
	} cases[] = {
		{ { 0 }, 0, 0, 0 }, /* the root */
		{ { 1 }, 1, 1, 0 },
		{ { 63 }, 1, 63, 0 },
		{ { 63, 63, 63, 61 }, 4, 253, 0 }, /* 255 bytes in all (RFC 1035, 2.3.4) */
		{ { 63, 63, 63, 63 }, 4, 0, -EINVAL },
		{ { 63, 63, 63, 61, 5 }, 5, 0, -EINVAL },
	};
	struct dns_question q;
	uint8_t m[512];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t len = make_query(m, cases[i].labels, cases[i].n);

		assert_int_equal(parse(m, len, &q), cases[i].result);
		if (cases[i].result)
			continue;
		assert_int_equal(strlen(q.name), cases[i].name_len);
		assert_int_equal(q.end, len);
		assert_int_equal(strspn(q.name, "a."), cases[i].name_len);
	}
}

static void only_ascii_letters_change_case(void **state)
{
	uint8_t labels[] = { 8 }, m[64];
	size_t len = make_query(m, labels, 1);
	struct dns_question q;

	(void)state;
	memcpy(m + DNS_HEADER_SIZE + 1, "@Az[`{\xc3\xc4", 8);
	assert_int_equal(parse(m, len, &q), 0);
	assert_string_equal(q.name, "@az[`{\xc3\xc4");
}

static void a_reply_repeats_the_question(void **state)
{
	static const struct dns_answer host = {
		.has_address = true,
		.address = { { 0xfd, 0, 0xc0, 0xa8, 0, 5, [15] = 2 } },
	};
	static const uint8_t answer[] = {
		0xc0, 12,   0, 28, 0, 1, 0, 0, 0, 5, 0, 16, 0xfd, 0,
		0xc0, 0xa8, 0, 5,  0, 0, 0, 0, 0, 0, 0, 0,  0,	  2,
	};
	struct dns_question q;
	uint8_t *reply = malloc(DNS_REPLY_MAX);

	(void)state;
	assert_int_equal(parse(query, sizeof(query), &q), 0);
	assert_int_equal(dns_write_reply(query, &q, &host, reply), QUESTION_END + 28);
	assert_int_equal(get_be16(reply), 0x1234);
	assert_int_equal(get_be16(reply + 2), 0x8580); /* QR AA RD RA */
	assert_int_equal(get_be16(reply + 4), 1);
	assert_int_equal(get_be16(reply + 6), 1);
	assert_int_equal(get_be16(reply + 8), 0);
	assert_int_equal(get_be16(reply + 10), 0); /* the query's EDNS is not repeated */
	assert_memory_equal(reply + 12, query + 12, QUESTION_END - 12);
	assert_memory_equal(reply + QUESTION_END, answer, sizeof(answer));
	free(reply);
}

static void an_ipv4_answer_has_four_bytes(void **state)
{
	static const struct dns_answer host = { .has_address = true,
						.address = IPADDR_V4(192, 168, 5, 2) };
	static const uint8_t answer[] = { 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 192, 168, 5, 2 };
	struct dns_question q;
	uint8_t m[sizeof(query)], reply[DNS_REPLY_MAX];

	(void)state;
	memcpy(m, query, sizeof(m));
	m[33] = DNS_TYPE_A;
	m[2] = 0; /* recursion not desired */
	assert_int_equal(parse(m, sizeof(m), &q), 0);
	assert_int_equal(dns_write_reply(m, &q, &host, reply), QUESTION_END + 16);
	assert_int_equal(get_be16(reply + 2), 0x8480);
	assert_memory_equal(reply + QUESTION_END, answer, sizeof(answer));
}

static void no_answer_is_a_reply_as_well(void **state)
{
	static const struct dns_answer nothing = { .rcode = DNS_RCODE_OK },
				       failure = { .rcode = DNS_RCODE_SERVFAIL },
				       no_name = { .rcode = DNS_RCODE_NXDOMAIN };
	struct dns_question q;
	uint8_t reply[DNS_REPLY_MAX];

	(void)state;
	assert_int_equal(parse(query, sizeof(query), &q), 0);
	assert_int_equal(dns_write_reply(query, &q, &nothing, reply), QUESTION_END);
	assert_int_equal(get_be16(reply + 2), 0x8580);
	assert_int_equal(get_be16(reply + 6), 0);
	assert_int_equal(dns_write_reply(query, &q, &failure, reply), QUESTION_END);
	assert_int_equal(get_be16(reply + 2), 0x8182);
	assert_int_equal(get_be16(reply + 6), 0);
	assert_int_equal(dns_write_reply(query, &q, &no_name, reply), QUESTION_END);
	assert_int_equal(get_be16(reply + 2), 0x8583); /* we know that there is none */
}

static void an_address_has_a_name(void **state)
{
	static const struct dns_answer one = { .has_name = true, .name = "one.netfwd.internal" };
	static const uint8_t answer[] = "\xc0\x0c\0\x1c\0\1\0\0\0\5\0\x15\3one\6netfwd\10internal";
	struct dns_question q;
	uint8_t reply[DNS_REPLY_MAX];

	(void)state;
	assert_int_equal(parse(query, sizeof(query), &q), 0);
	assert_int_equal(dns_write_reply(query, &q, &one, reply), QUESTION_END + sizeof(answer));
	assert_memory_equal(reply + QUESTION_END, answer, sizeof(answer));
}

static void the_longest_names_fit_a_reply(void **state)
{
	uint8_t labels[] = { 63, 63, 63, 61 }, m[512];
	size_t len = make_query(m, labels, 4);
	struct dns_answer answer = { .has_name = true };
	uint8_t *reply = malloc(DNS_REPLY_MAX);
	struct dns_question q;

	(void)state;
	assert_int_equal(parse(m, len, &q), 0);
	memcpy(answer.name, q.name, sizeof(q.name));
	assert_int_equal(dns_write_reply(m, &q, &answer, reply), len + 12 + 255);
	free(reply);
}

static void reverse_names_are_read(void **state)
{
	static const struct {
		const char *name, *address; /* NULL: none */
	} cases[] = {
		{ "15.5.168.192.in-addr.arpa", "192.168.5.15" },
		{ "255.255.255.255.in-addr.arpa", "255.255.255.255" },
		{ "0.0.0.0.in-addr.arpa", "0.0.0.0" },
		{ "256.5.168.192.in-addr.arpa", NULL },
		{ "5.168.192.in-addr.arpa", NULL },
		{ "1.15.5.168.192.in-addr.arpa", NULL },
		{ "15.5.168.192.in-addr.arpa.example", NULL },
		{ "15.5.168..in-addr.arpa", NULL },
		{ "0015.5.168.192.in-addr.arpa", NULL },
		{ "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.5.0.0.0.8.a.0.c.0.0.d.f.ip6.arpa",
		  "fd00:c0a8:5::2" },
		{ "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.5.0.0.0.8.a.0.c.0.0.d.f.ip6.arpa", NULL },
		{ "g.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.5.0.0.0.8.a.0.c.0.0.d.f.ip6.arpa",
		  NULL },
		{ "ip6.arpa", NULL },
		{ "", NULL },
	};
	struct ipaddr expected, found;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bool is_one = dns_parse_reverse(cases[i].name, &found);

		if (is_one != (cases[i].address != NULL))
			fail_msg("in \"%s\"", cases[i].name);
		if (!is_one)
			continue;
		assert_int_equal(ipaddr_parse(cases[i].address, &expected), 0);
		assert_true(ipaddr_equal(&found, &expected));
	}
}

static void the_first_usable_resolver_is_taken(void **state)
{
	static const struct {
		const char *text, *address; /* NULL: none */
	} cases[] = {
		{ "", NULL },
		{ "\n\n\n", NULL },
		{ "nameserver 192.0.2.1\n", "192.0.2.1" },
		{ "nameserver 192.0.2.1", "192.0.2.1" },
		{ "nameserver\t192.0.2.1\n", "192.0.2.1" },
		{ "nameserver  \t 192.0.2.1 \t\n", "192.0.2.1" },
		{ "nameserver 192.0.2.1\r\n", "192.0.2.1" },
		{ "nameserver 192.0.2.1 # the router\n", "192.0.2.1" },
		{ "nameserver 192.0.2.1;x\n", "192.0.2.1" },
		{ "nameserver 2001:db8::53\n", "2001:db8::53" },
		{ "nameserver 127.0.0.53\nnameserver 192.0.2.1\n", "127.0.0.53" },
		{ "search example.org\noptions edns0\nnameserver ::1\n", "::1" },
		{ "# nameserver 192.0.2.9\n;nameserver 192.0.2.8\nnameserver ::1\n", "::1" },
		{ "nameserver fe80::1%eth0\nnameserver ::1\n", "::1" },
		{ "nameserver router.example\nnameserver ::1\n", "::1" },
		{ "nameserver\n192.0.2.1\nnameserver ::1\n", "::1" },
		{ "nameserver \n192.0.2.1\n", NULL },
		{ "nameserver192.0.2.1\n", NULL },
		{ "nameservers 192.0.2.1\n", NULL },
		{ "NAMESERVER 192.0.2.1\n", NULL },
		{ "nameserver", NULL },
		{ "nameserver ", NULL },
		{ "nameserver 192.0.2.1.192.0.2.1.192.0.2.1.192.0.2.1.192.0.2.1.192.0.2.1"
		  ".192.0.2.1.192.0.2.1\n",
		  NULL },
	};
	struct ipaddr expected;
	struct endpoint found;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *text = strdup(cases[i].text); /* of just its size */
		bool any = dns_find_resolver(text, &found);

		free(text);
		if (any != (cases[i].address != NULL))
			fail_msg("in \"%s\"", cases[i].text);
		if (!any)
			continue;
		assert_int_equal(ipaddr_parse(cases[i].address, &expected), 0);
		assert_true(ipaddr_equal(&found.addr, &expected));
		assert_int_equal(found.port, 53);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_query_is_read),
		cmocka_unit_test(a_cut_query_is_refused),
		cmocka_unit_test(what_is_no_plain_query_is_refused),
		cmocka_unit_test(names_have_any_legal_length),
		cmocka_unit_test(only_ascii_letters_change_case),
		cmocka_unit_test(a_reply_repeats_the_question),
		cmocka_unit_test(an_ipv4_answer_has_four_bytes),
		cmocka_unit_test(no_answer_is_a_reply_as_well),
		cmocka_unit_test(an_address_has_a_name),
		cmocka_unit_test(the_longest_names_fit_a_reply),
		cmocka_unit_test(reverse_names_are_read),
		cmocka_unit_test(the_first_usable_resolver_is_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
