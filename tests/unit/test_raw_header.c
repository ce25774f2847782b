/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/raw_header.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct rpc_open open_of(const char *address, uint16_t port, bool is_udp)
{
	struct rpc_open open = { .is_udp = is_udp, .place.endpoint.port = port };

	assert_int_equal(ipaddr_parse(address, &open.place.endpoint.addr), 0);
	return open;
}

static void expect_same(const struct rpc_open *open)
{
	uint8_t header[RAW_HEADER_MAX];
	size_t len = raw_header_encode(open, header);
	struct rpc_open back;

	assert_int_equal(raw_header_size(header), len);
	assert_int_equal(raw_header_decode(header, len, &back), 0);
	assert_int_equal(back.is_udp, open->is_udp);
	assert_int_equal(back.accepted, open->accepted);
	assert_string_equal(back.place.path, open->place.path);
	assert_int_equal(back.place.endpoint.port, open->place.endpoint.port);
	assert_true(ipaddr_equal(&back.place.endpoint.addr, &open->place.endpoint.addr));
}

static void a_header_is_what_raw_header_h_says(void **state)
{
	static const uint8_t expected[] = { 'N', 'F', 'R', 1, 1, 4, 0x1f, 0x90, 127, 0, 0, 1 };
	struct rpc_open open = open_of("127.0.0.1", 8080, false);
	uint8_t header[RAW_HEADER_MAX];

	(void)state;
	assert_int_equal(raw_header_encode(&open, header), sizeof(expected));
	assert_memory_equal(header, expected, sizeof(expected));
}

static void every_place_comes_back(void **state)
{
	struct rpc_open open = { 0 };

	(void)state;
	open = open_of("127.0.0.1", 1, false);
	expect_same(&open);
	open = open_of("fd00::15", 65535, false);
	expect_same(&open);
	open = open_of("0.0.0.0", 53, true);
	expect_same(&open);
	open = open_of("::1", 53, true);
	expect_same(&open);
	open = (struct rpc_open){ 0 };
	memset(open.place.path, 'x', RPC_PATH_SIZE - 1);
	open.place.path[0] = '/';
	expect_same(&open);
	(void)snprintf(open.place.path, sizeof(open.place.path), "/a");
	expect_same(&open);
}

static void the_number_of_what_was_accepted_comes_back(void **state)
{
	struct rpc_open open = { .accepted = 1 };

	(void)state;
	expect_same(&open);
	open.accepted = UINT64_MAX - 1;
	open.is_udp = true;
	expect_same(&open);
}

/* What is changed in a good header, so that it is none. */
struct change {
	size_t at;
	uint8_t value;
};

static void expect_none(const struct rpc_open *open, const struct change *change)
{
	uint8_t header[RAW_HEADER_MAX];
	size_t len = raw_header_encode(open, header);
	struct rpc_open back;

	header[change->at] = change->value;
	if (raw_header_size(header) != (int)len)
		assert_int_equal(raw_header_size(header), -EPROTO);
	assert_int_equal(raw_header_decode(header, len, &back), -EPROTO);
}

static void bad_headers_are_none(void **state)
{
	static const struct change of_tcp[] = {
		{ 0, 'X' }, { 3, 0 }, { 3, 2 },		  /* not ours, other versions */
		{ 4, 0 },   { 4, 3 }, { 4, 4 },		  /* a kind that does not fit, or is none */
		{ 4, 6 },   { 5, 0 }, { 5, 5 }, { 7, 0 }, /* half an address; port 0 */
	};
	static const struct change of_path[] = {
		{ 5, 0 }, { 5, 108 }, { 7, 1 }, { 8, 'x' }, { 9, 0 },
	};
	static const struct change of_accepted[] = {
		{ 5, 4 }, { 7, 1 }, { 15, 0 } /* so that the number is 0 */
	};
	struct rpc_open tcp = open_of("127.0.0.1", 80, false), unix_socket = { 0 };
	struct rpc_open accepted = { .accepted = 1 };

	(void)state;
	for (size_t i = 0; i < sizeof(of_tcp) / sizeof(of_tcp[0]); i++)
		expect_none(&tcp, &of_tcp[i]);
	(void)snprintf(unix_socket.place.path, sizeof(unix_socket.place.path), "/run/x");
	for (size_t i = 0; i < sizeof(of_path) / sizeof(of_path[0]); i++)
		expect_none(&unix_socket, &of_path[i]);
	for (size_t i = 0; i < sizeof(of_accepted) / sizeof(of_accepted[0]); i++)
		expect_none(&accepted, &of_accepted[i]);
}

static void an_answer_tells_how_it_went(void **state)
{
	static const int errors[] = { 0, -ECONNREFUSED, -ENOENT, -4095 };
	uint8_t answer[RAW_ANSWER_SIZE];
	int error;

	(void)state;
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		raw_answer_encode(errors[i], answer);
		assert_int_equal(raw_answer_decode(answer, &error), 0);
		assert_int_equal(error, errors[i]);
	}
	answer[4] = 1; /* more than any errno */
	assert_int_equal(raw_answer_decode(answer, &error), -EPROTO);
	raw_answer_encode(0, answer);
	answer[2] = 'x';
	assert_int_equal(raw_answer_decode(answer, &error), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_header_is_what_raw_header_h_says),
		cmocka_unit_test(every_place_comes_back),
		cmocka_unit_test(the_number_of_what_was_accepted_comes_back),
		cmocka_unit_test(bad_headers_are_none),
		cmocka_unit_test(an_answer_tells_how_it_went),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
