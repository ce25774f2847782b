/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char error[JSON_ERROR_SIZE];

static struct json *parse(const char *text)
{
	error[0] = '\0';
	return json_parse(text, strlen(text), error);
}

static void a_document_is_read(void **state)
{
	static const char *const known[] = { "s", "n", "b", NULL };
	struct json *json = parse("{\"s\":\"x\",\"n\":-5,\"b\":true,\"a\":[1,\"2\"]}");
	const struct json *array = json_member(json, "a");
	int64_t n = 0;
	bool b = false;

	(void)state;
	assert_true(json_is_an_object(json));
	assert_string_equal(json_as_string(json_member(json, "s")), "x");
	assert_true(json_as_integer(json_member(json, "n"), &n));
	assert_int_equal(n, -5);
	assert_true(json_as_bool(json_member(json, "b"), &b));
	assert_true(b);
	assert_true(json_is_an_array(array));
	assert_int_equal(json_length(array), 2);
	assert_string_equal(json_as_string(json_element(array, 1)), "2");
	assert_string_equal(json_unknown_key(json, known), "a");
	json_free(json);
}

static void what_is_not_there_or_of_another_type_is_said_to_be_so(void **state)
{
	struct json *json = parse("{\"n\":1.5,\"z\":null}");
	int64_t n;
	bool b;

	(void)state;
	assert_null(json_member(json, "x"));
	assert_null(json_member(json_member(json, "x"), "y"));
	assert_false(json_as_integer(json_member(json, "n"), &n));
	assert_false(json_as_integer(NULL, &n));
	assert_false(json_as_bool(json_member(json, "z"), &b));
	assert_null(json_as_string(json_member(json, "z")));
	assert_int_equal(json_length(json), 0);
	assert_null(json_element(json, 0));
	assert_false(json_is_an_object(NULL));
	json_free(json);
	json_free(NULL);
}

static void what_is_no_json_is_refused_with_a_place(void **state)
{
	static const char *const texts[] = {
		"",
		"{",
		"{}x",
		"{\"a\":1,\"a\":2}",
		"{\"a\":}",
		"\"\\u0000\"",
		"\"\xff\"",
		"[1,]",
		"{'a':1}",
		"\"a\nb\"",
		"[99999999999999999999]",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		assert_null(parse(texts[i]));
		assert_non_null(strstr(error, "line "));
	}
}

static void a_document_is_written_in_the_order_of_the_calls(void **state)
{
	struct json_writer *w = json_writer_new();
	char *text;

	(void)state;
	json_open_object(w, NULL);
	json_put_string(w, "z", "a\"b\n");
	json_put_integer(w, "n", 5000000000);
	json_open_array(w, "list");
	json_put_bool(w, NULL, true);
	json_put_string(w, NULL, NULL);
	json_open_object(w, NULL);
	json_close(w);
	json_close(w);
	json_put_bool(w, "a", false);
	json_close(w);
	text = json_writer_finish(w);
	assert_string_equal(
		text, "{\"z\":\"a\\\"b\\n\",\"n\":5000000000,\"list\":[true,null,{}],\"a\":false}");
	free(text);
}

static void foreign_bytes_do_not_spoil_a_document(void **state)
{
	struct json_writer *w = json_writer_new();
	char *text;

	(void)state;
	json_open_array(w, NULL);
	json_put_string(w, NULL, "caf\xe9");
	json_put_string(w, NULL, "caf\xc3\xa9");
	text = json_writer_finish(w);
	assert_string_equal(text, "[\"caf?\",\"caf\xc3\xa9\"]");
	free(text);
}

static void without_a_writer_there_is_no_document(void **state)
{
	(void)state;
	json_open_object(NULL, NULL);
	json_put_string(NULL, "a", "b");
	json_close(NULL);
	assert_null(json_writer_finish(NULL));
	assert_null(json_writer_finish(json_writer_new()));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_document_is_read),
		cmocka_unit_test(what_is_not_there_or_of_another_type_is_said_to_be_so),
		cmocka_unit_test(what_is_no_json_is_refused_with_a_place),
		cmocka_unit_test(a_document_is_written_in_the_order_of_the_calls),
		cmocka_unit_test(foreign_bytes_do_not_spoil_a_document),
		cmocka_unit_test(without_a_writer_there_is_no_document),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
