/* SPDX-License-Identifier: Apache-2.0 */
/* The token: read from a file, compared, and put in front of a stream. */
#include "forwarder/agent_token.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "forwarder/token_stream.h"
#include "netstack/base/loop.h"
#include "tests/support/fake_loop.h"
#include "tests/support/mem_stream.h"

#define TOKEN "0123456789abcdef"
#define LINE "netfwd-token " TOKEN "\n"

static int read_text(const char *text, struct agent_token *out, char *error)
{
	char path[] = "/tmp/netfwd-test-XXXXXX";
	int fd = mkstemp(path), r;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (int)strlen(text));
	close(fd);
	r = agent_token_read(path, out, error);
	(void)unlink(path);
	return r;
}

static void the_first_line_is_the_token(void **state)
{
	const char *const texts[] = { TOKEN, TOKEN "\n", TOKEN "\r\n", TOKEN "\nmore\n" };
	char error[AGENT_TOKEN_ERROR_SIZE];
	struct agent_token token;

	(void)state;
	for (int i = 0; i < 4; i++) {
		assert_int_equal(read_text(texts[i], &token, error), 0);
		assert_string_equal(token.line, LINE);
		assert_int_equal(token.len, strlen(LINE));
	}
}

static void what_is_no_token_is_told(void **state)
{
	char error[AGENT_TOKEN_ERROR_SIZE], much[400];
	struct agent_token token;

	(void)state;
	memset(much, 'x', sizeof(much) - 1);
	much[sizeof(much) - 1] = '\0';
	assert_int_equal(read_text("", &token, error), -EINVAL);
	assert_int_equal(read_text("short\n", &token, error), -EINVAL);
	assert_non_null(strstr(error, "16 to 128"));
	assert_int_equal(read_text(much, &token, error), -EINVAL);
	assert_int_equal(read_text("0123456789 abcdefgh\n", &token, error), -EINVAL);
	assert_non_null(strstr(error, "blanks"));
	assert_int_equal(agent_token_read("/nonexistent/file", &token, error), -ENOENT);
	assert_non_null(strstr(error, "/nonexistent/file"));
}

static void only_the_same_line_matches(void **state)
{
	char error[AGENT_TOKEN_ERROR_SIZE], line[sizeof(LINE)];
	struct agent_token token;

	(void)state;
	assert_int_equal(read_text(TOKEN, &token, error), 0);
	assert_true(agent_token_matches(&token, LINE, strlen(LINE)));
	assert_false(agent_token_matches(&token, LINE, strlen(LINE) - 1));
	assert_false(agent_token_matches(&token, LINE "x", strlen(LINE) + 1));
	assert_false(agent_token_matches(&token, "", 0));
	for (size_t i = 0; i < strlen(LINE); i++) {
		memcpy(line, LINE, sizeof(LINE));
		line[i] ^= 1;
		assert_false(agent_token_matches(&token, line, strlen(LINE)));
	}
}

/* --- in front of a stream ------------------------------------------------ */

struct fixture {
	struct loop *loop;
	struct mem_stream inner;
	struct stream *stream;
};

static int setup(void **state)
{
	struct fixture *t = calloc(1, sizeof(*t));
	char error[AGENT_TOKEN_ERROR_SIZE];
	struct agent_token token;

	assert_int_equal(loop_new(&t->loop), 0);
	mem_stream_init(&t->inner, t->loop, MEM_STREAM_PEEK | MEM_STREAM_RESERVE);
	assert_int_equal(read_text(TOKEN, &token, error), 0);
	assert_int_equal(token_stream_new(&t->inner.base, &token, &t->stream), 0);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *t = *state;

	t->stream->ops->close(t->stream);
	mem_stream_deinit(&t->inner);
	loop_free(t->loop);
	free(t);
	return 0;
}

static void expect_output(const struct fixture *t, const char *text)
{
	assert_int_equal(t->inner.output_len, strlen(text));
	assert_memory_equal(t->inner.output, text, strlen(text));
}

static ssize_t put(struct fixture *t, const char *text)
{
	const struct iovec iov = { (void *)(uintptr_t)text, strlen(text) };

	return t->stream->ops->write(t->stream, &iov, 1);
}

static void the_token_goes_before_all_else(void **state)
{
	struct fixture *t = *state;

	mem_stream_give_room(&t->inner, 1000);
	assert_int_equal(put(t, "hello"), 5);
	assert_int_equal(put(t, "again"), 5);
	expect_output(t, LINE "helloagain");
}

static void a_token_that_is_sent_in_pieces_is_sent_once(void **state)
{
	struct fixture *t = *state;

	t->inner.room = 0;
	for (size_t i = 0; i < strlen(LINE); i++) {
		assert_int_equal(put(t, "x"), -EAGAIN);
		mem_stream_give_room(&t->inner, 1);
	}
	assert_int_equal(put(t, "x"), -EAGAIN);
	mem_stream_give_room(&t->inner, 100);
	assert_int_equal(put(t, "x"), 1);
	expect_output(t, LINE "x");
}

static void reserved_memory_comes_after_the_token(void **state)
{
	struct fixture *t = *state;
	struct iovec iov;
	int n;

	mem_stream_give_room(&t->inner, 1000);
	assert_true(t->stream->ops->reserve(t->stream, &iov, 1, &n) > 0);
	memcpy(iov.iov_base, "abc", 3);
	assert_int_equal(t->stream->ops->commit(t->stream, 3), 0);
	expect_output(t, LINE "abc");
}

static void an_agent_that_hangs_up_at_once_refuses(void **state)
{
	struct fixture *t = *state;
	char got[8];
	const struct iovec iov = { got, sizeof(got) };

	mem_stream_give_room(&t->inner, 1000);
	assert_int_equal(put(t, "hello"), 5);
	mem_stream_eof(&t->inner);
	assert_int_equal(t->stream->ops->read(t->stream, &iov, 1), -EACCES);
	assert_int_equal(t->stream->error, -EACCES);
}

static void an_agent_that_hangs_up_later_has_ended(void **state)
{
	struct fixture *t = *state;
	char got[8];
	const struct iovec iov = { got, sizeof(got) };

	mem_stream_give_room(&t->inner, 1000);
	assert_int_equal(put(t, "hello"), 5);
	mem_stream_feed(&t->inner, "welcome", 7);
	mem_stream_eof(&t->inner);
	assert_int_equal(t->stream->ops->read(t->stream, &iov, 1), 7);
	assert_int_equal(t->stream->ops->read(t->stream, &iov, 1), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_line_is_the_token),
		cmocka_unit_test(what_is_no_token_is_told),
		cmocka_unit_test(only_the_same_line_matches),
		TEST(the_token_goes_before_all_else),
		TEST(a_token_that_is_sent_in_pieces_is_sent_once),
		TEST(reserved_memory_comes_after_the_token),
		TEST(an_agent_that_hangs_up_at_once_refuses),
		TEST(an_agent_that_hangs_up_later_has_ended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
