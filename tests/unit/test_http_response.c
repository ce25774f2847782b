/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/http_response.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct body {
	char text[256];
	size_t len;
};

static void keep(void *arg, const char *data, size_t len)
{
	struct body *body = arg;

	assert_true(body->len + len < sizeof(body->text));
	memcpy(body->text + body->len, data, len);
	body->len += len;
	body->text[body->len] = '\0';
}

/* Fed in pieces of that size. */
static int feed(struct http_response *r, struct body *body, const char *text, size_t piece)
{
	size_t len = strlen(text);
	int result = 0;

	*body = (struct body){ .len = 0 };
	*r = (struct http_response){ .on_body = keep, .arg = body };
	for (size_t done = 0; done < len && result == 0; done += piece)
		result =
			http_response_feed(r, text + done, len - done < piece ? len - done : piece);
	return result;
}

static void a_response_is_read_in_pieces_of_any_size(void **state)
{
	static const struct {
		const char *text, *body;
		unsigned int status;
	} cases[] = {
		{ "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", 200 },
		{ "HTTP/1.1 404 Not Found\r\nA: b\r\ncontent-length:0\r\n\r\n", "", 404 },
		{ "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n"
		  "1\r\nh\r\n00A\r\n0123456789\r\n0\r\n\r\n",
		  "h0123456789", 200 },
		{ "HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n0\r\nLast: x\r\n\r\n", "",
		  200 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t piece = 1; piece < 100; piece++) {
			struct http_response r;
			struct body body;

			assert_int_equal(feed(&r, &body, cases[i].text, piece), 0);
			assert_true(http_response_is_complete(&r));
			assert_int_equal(r.status, cases[i].status);
			assert_string_equal(body.text, cases[i].body);
		}
	}
}

static void part_of_a_response_is_not_complete(void **state)
{
	static const char text[] =
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n0\r\n\r\n";

	(void)state;
	for (size_t len = 0; len < sizeof(text) - 1; len++) {
		char part[sizeof(text)] = "";
		struct http_response r;
		struct body body;

		memcpy(part, text, len);
		assert_int_equal(feed(&r, &body, part, 100), 0);
		assert_false(http_response_is_complete(&r));
	}
}

static void what_our_server_never_sends_is_an_error(void **state)
{
	static const char *const texts[] = {
		"HTTP/1.0 200 OK\r\n",
		"http/1.1 200 OK\r\n",
		"HTTP/1.1 20 OK\r\n",
		"HTTP/1.1 2000 OK\r\n",
		"HTTP/1.1 099 OK\r\n",
		"HTTP/1.1 600 OK\r\n",
		"HTTP/1.1 100 Continue\r\n",
		"HTTP/1.1 200 OK\n",
		"\r\n",
		"HTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nno colon\r\n",
		"HTTP/1.1 200 OK\r\n: x\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1a\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: \r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\ng\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct http_response r;
		struct body body;

		if (feed(&r, &body, texts[i], 1) != -EPROTO)
			fail_msg("taken: %s", texts[i]);
	}
}

static void a_line_has_a_limit(void **state)
{
	static const char start[] = "HTTP/1.1 200 OK\r\nX: ";
	char text[2 * HTTP_LINE_MAX];
	struct http_response r;
	struct body body;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	memcpy(text, start, sizeof(start) - 1);
	assert_int_equal(feed(&r, &body, text, sizeof(text)), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_response_is_read_in_pieces_of_any_size),
		cmocka_unit_test(part_of_a_response_is_not_complete),
		cmocka_unit_test(what_our_server_never_sends_is_an_error),
		cmocka_unit_test(a_line_has_a_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
