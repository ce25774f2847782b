/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/rpc/grpc_message.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct grpc_limits split = { .payload_field = 1,
					  .message_max = 1000000,
					  .rest_max = 1000 };
static const struct grpc_limits whole = { .message_max = 1000, .rest_max = 1000 };

/* What a reader found, for bytes that come in pieces of some length. */
struct result {
	uint8_t payload[300000], rest[2000];
	size_t payload_len, rest_len;
	unsigned int n_messages, n_with_payload;
	int error;
};

static void read_piece(struct grpc_reader *r, const uint8_t *data, size_t len,
		       struct result *result)
{
	int found;

	while ((found = grpc_reader_next(r, &data, &len)) > 0) {
		if (found == GRPC_PAYLOAD) {
			memcpy(result->payload + result->payload_len, r->piece, r->piece_len);
			result->payload_len += r->piece_len;
			continue;
		}
		result->n_messages++;
		result->n_with_payload += r->has_payload;
		if (r->rest_len)
			memcpy(result->rest + result->rest_len, r->rest, r->rest_len);
		result->rest_len += r->rest_len;
	}
	if (found < 0)
		result->error = found;
	else
		assert_int_equal(len, 0);
}

static struct result *read_all(const struct grpc_limits *limits, const uint8_t *data, size_t len,
			       size_t piece)
{
	static struct result result;
	struct grpc_reader r;

	memset(&result, 0, sizeof(result));
	grpc_reader_init(&r, limits);
	for (size_t at = 0; at < len && !result.error; at += piece)
		read_piece(&r, data + at, len - at < piece ? len - at : piece, &result);
	grpc_reader_deinit(&r);
	return &result;
}

static void head_is_read_back_for_every_length_of_its_varint(void **state)
{
	static const size_t lengths[] = { 0, 1, 127, 128, 16383, 16384, 200000 };
	static uint8_t message[300000];

	(void)state;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
		size_t n = grpc_head(message, 1, lengths[i]);
		struct result *r;

		assert_true(n <= GRPC_HEAD_MAX);
		memset(message + n, 'x', lengths[i]);
		r = read_all(&split, message, n + lengths[i], 1000000);
		assert_int_equal(r->error, 0);
		assert_int_equal(r->n_messages, 1);
		assert_int_equal(r->n_with_payload, 1); /* of zero bytes as well */
		assert_int_equal(r->payload_len, lengths[i]);
		assert_int_equal(r->rest_len, 0);
	}
}

/* Field 2: "ab"; field 1: "payload"; field 3: varint 300; field 4: fixed32; 5: fixed64 */
static const uint8_t mixed[] = {
	0,    0,    0,	  0,	31, 0x12, 2, 'a', 'b',	0x0a, 7, 'p', 'a', 'y', 'l', 'o', 'a', 'd',
	0x18, 0xac, 0x02, 0x25, 1,  2,	  3, 4,	  0x29, 1,    2, 3,   4,   5,	6,   7,	  8,   0,
};

static void other_fields_are_put_together_in_their_order(void **state)
{
	static const uint8_t rest[] = { 0x12, 2,    'a', 'b', 0x18, 0xac, 0x02, 0x25, 1, 2, 3,
					4,    0x29, 1,	 2,   3,    4,	  5,	6,    7, 8 };
	size_t len = 5 + 30;

	(void)state;
	for (size_t piece = 1; piece <= len; piece++) {
		uint8_t message[sizeof(mixed)];
		struct result *r;

		memcpy(message, mixed, sizeof(mixed));
		message[4] = 30;
		r = read_all(&split, message, len, piece);
		assert_int_equal(r->error, 0);
		assert_int_equal(r->n_messages, 1);
		assert_int_equal(r->payload_len, 7);
		assert_memory_equal(r->payload, "payload", 7);
		assert_int_equal(r->rest_len, sizeof(rest));
		assert_memory_equal(r->rest, rest, sizeof(rest));
	}
}

static void payload_that_others_take_is_passed_over(void **state)
{
	uint8_t message[sizeof(mixed)];
	const uint8_t *data = message;
	struct grpc_reader r;
	size_t len = 13; /* to "pa" */

	(void)state;
	memcpy(message, mixed, sizeof(mixed));
	message[4] = 30;
	grpc_reader_init(&r, &split);
	assert_int_equal(grpc_reader_payload_left(&r), 0);
	assert_int_equal(grpc_reader_next(&r, &data, &len), GRPC_PAYLOAD);
	assert_int_equal(r.piece_len, 2);
	assert_int_equal(grpc_reader_payload_left(&r), 5);
	grpc_reader_skip_payload(&r, 4);
	assert_int_equal(grpc_reader_payload_left(&r), 1);
	grpc_reader_skip_payload(&r, 1);
	assert_int_equal(grpc_reader_payload_left(&r), 0);
	data = message + 18;
	len = 17;
	assert_int_equal(grpc_reader_next(&r, &data, &len), GRPC_MESSAGE);
	assert_true(r.has_payload);
	assert_int_equal(r.rest_len, 21);
	assert_int_equal(len, 0);
	grpc_reader_deinit(&r);
}

static void messages_follow_each_other(void **state)
{
	uint8_t bytes[64];
	size_t len = 0;

	(void)state;
	for (int i = 0; i < 3; i++) {
		len += grpc_head(bytes + len, 1, 2);
		bytes[len++] = (uint8_t)('a' + i);
		bytes[len++] = '.';
		grpc_prefix(bytes + len, 0); /* an empty one in between */
		len += GRPC_PREFIX_SIZE;
	}
	for (size_t piece = 1; piece <= len; piece++) {
		struct result *r = read_all(&split, bytes, len, piece);

		assert_int_equal(r->n_messages, 6);
		assert_int_equal(r->n_with_payload, 3);
		assert_int_equal(r->payload_len, 6);
		assert_memory_equal(r->payload, "a.b.c.", 6);
	}
}

static void without_payload_field_the_message_comes_whole(void **state)
{
	uint8_t message[sizeof(mixed)];

	(void)state;
	memcpy(message, mixed, sizeof(mixed));
	message[4] = 30;
	for (size_t piece = 1; piece <= 35; piece++) {
		struct result *r = read_all(&whole, message, 35, piece);

		assert_int_equal(r->n_messages, 1);
		assert_int_equal(r->rest_len, 30);
		assert_memory_equal(r->rest, mixed + 5, 30);
	}
}

struct bad {
	const char *what;
	uint8_t bytes[20];
	size_t len;
	int error;
};

static void what_is_no_message_is_refused(void **state)
{
	static const struct bad all[] = {
		{ "compressed", { 1, 0, 0, 0, 0 }, 5, -EPROTO },
		{ "longer than allowed", { 0, 0xff, 0, 0, 0 }, 5, -EMSGSIZE },
		{ "field number 0", { 0, 0, 0, 0, 2, 0x02, 0 }, 7, -EPROTO },
		{ "a group", { 0, 0, 0, 0, 2, 0x0b, 0x0c }, 7, -EPROTO },
		{ "wire type 7", { 0, 0, 0, 0, 2, 0x0f, 0 }, 7, -EPROTO },
		{ "payload longer than the message", { 0, 0, 0, 0, 2, 0x0a, 9 }, 7, -EPROTO },
		{ "field longer than the message", { 0, 0, 0, 0, 2, 0x12, 9 }, 7, -EPROTO },
		{ "cut in a tag", { 0, 0, 0, 0, 1, 0x8a }, 6, -EPROTO },
		{ "cut in a varint", { 0, 0, 0, 0, 2, 0x18, 0x80 }, 7, -EPROTO },
		{ "cut before a varint", { 0, 0, 0, 0, 1, 0x18 }, 6, -EPROTO },
		{ "cut before a length", { 0, 0, 0, 0, 1, 0x0a }, 6, -EPROTO },
		{ "cut in a fixed32", { 0, 0, 0, 0, 2, 0x25, 0, 0 }, 8, -EPROTO },
		{ "varint of eleven bytes",
		  { 0, 0, 0, 0, 12, 0x18, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
		    0x80, 0 },
		  17,
		  -EPROTO },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		print_message("  %s\n", all[i].what);
		for (size_t piece = 1; piece <= all[i].len; piece++) {
			struct result *r = read_all(&split, all[i].bytes, all[i].len, piece);

			assert_int_equal(r->error, all[i].error);
			assert_int_equal(r->n_messages, 0);
		}
	}
}

static void rest_is_bounded_though_the_message_may_be_long(void **state)
{
	static uint8_t bytes[5 + 3 + 2000];
	struct result *r;

	(void)state;
	grpc_prefix(bytes, 2003);
	bytes[5] = 0x12;
	bytes[6] = 0xd0;
	bytes[7] = 0x0f;
	r = read_all(&split, bytes, sizeof(bytes), sizeof(bytes));
	assert_int_equal(r->error, -EMSGSIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(head_is_read_back_for_every_length_of_its_varint),
		cmocka_unit_test(other_fields_are_put_together_in_their_order),
		cmocka_unit_test(payload_that_others_take_is_passed_over),
		cmocka_unit_test(messages_follow_each_other),
		cmocka_unit_test(without_payload_field_the_message_comes_whole),
		cmocka_unit_test(what_is_no_message_is_refused),
		cmocka_unit_test(rest_is_bounded_though_the_message_may_be_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
