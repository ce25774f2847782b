/* SPDX-License-Identifier: Apache-2.0 */
/* What a line looks like on stderr, which goes to memory meanwhile. */
#include "netstack/base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/captured_stderr.h"

static int setup(void **state)
{
	(void)state;
	log_set_level(LOG_LEVEL_INFO);
	log_set_json(false);
	return captured_stderr_start();
}

static int teardown(void **state)
{
	(void)state;
	captured_stderr_stop();
	log_set_level(LOG_LEVEL_WARN);
	log_set_json(false);
	return 0;
}

/* --- a reader of {"key":"value",...}, as strict as RFC 8259 --------------- */

static const char *expect(const char *at, char c)
{
	if (*at != c)
		fail_msg("'%c' expected at %s", c, at);
	return at + 1;
}

static size_t utf8_size(const uint8_t *b)
{
	static const struct {
		uint8_t mask, lead;
		uint32_t least;
	} forms[] = {
		{ 0x80, 0, 0 }, { 0xe0, 0xc0, 0x80 }, { 0xf0, 0xe0, 0x800 }, { 0xf8, 0xf0, 0x10000 }
	};

	for (size_t n = 1; n <= 4; n++) {
		uint32_t point = b[0] & (uint8_t)~forms[n - 1].mask;

		if ((b[0] & forms[n - 1].mask) != forms[n - 1].lead)
			continue;
		for (size_t i = 1; i < n; i++) {
			if ((b[i] & 0xc0) != 0x80)
				return 0;
			point = point << 6 | (b[i] & 0x3f);
		}
		if (point < forms[n - 1].least || point > 0x10ffff ||
		    (point >= 0xd800 && point < 0xe000))
			return 0;
		return n;
	}
	return 0;
}

static const char *read_escape(const char *at, char *out)
{
	unsigned int code;

	if (*at == '"' || *at == '\\') {
		*out = *at;
		return at + 1;
	}
	at = expect(at, 'u');
	if (sscanf(at, "%4x", &code) != 1 || strspn(at, "0123456789abcdef") < 4)
		fail_msg("no escape: %s", at);
	*out = (char)(code < 0x80 ? code : '?');
	return at + 4;
}

/* Returns what follows the string; its value goes to `out`. */
static const char *read_string(const char *at, char *out)
{
	at = expect(at, '"');
	while (*at != '"') {
		size_t n = utf8_size((const uint8_t *)at);

		assert_int_not_equal(n, 0);
		assert_true((uint8_t)*at >= 0x20); /* the end of the text too */
		if (*at == '\\') {
			at = read_escape(at + 1, out++);
			continue;
		}
		memcpy(out, at, n);
		out += n;
		at += n;
	}
	*out = '\0';
	return at + 1;
}

/* One line that is one object: returns the value of `key`, in static memory. */
static const char *json_value(const char *line, const char *key)
{
	static char name[16384], value[16384], found[16384];
	bool has_found = false;

	line = expect(line, '{');
	for (;;) {
		line = read_string(line, name);
		line = expect(line, ':');
		line = read_string(line, value);
		if (strcmp(name, key) == 0) {
			strcpy(found, value);
			has_found = true;
		}
		if (*line != ',')
			break;
		line++;
	}
	line = expect(line, '}');
	line = expect(line, '\n');
	expect(line, '\0');
	return has_found ? found : NULL;
}

/* --- tests --------------------------------------------------------------- */

static void a_level_silences_those_below(void **state)
{
	(void)state;

	log_set_level(LOG_LEVEL_WARN);
	log_info("quiet");
	log_debug("quiet");
	assert_string_equal(captured_stderr_text(), "");
	log_warn("%d of %s", 3, "them");
	assert_string_equal(captured_stderr_text(), "netfwd: warning: 3 of them\n");
	log_error("bad");
	assert_string_equal(captured_stderr_text(), "netfwd: error: bad\n");
	assert_true(log_is_on(LOG_LEVEL_ERROR));
	assert_false(log_is_on(LOG_LEVEL_INFO));

	log_set_level(LOG_LEVEL_TRACE);
	log_info("plain");
	log_trace("one frame");
	assert_string_equal(captured_stderr_text(), "netfwd: plain\nnetfwd: trace: one frame\n");
}

static void an_event_is_a_name_and_pairs(void **state)
{
	(void)state;

	log_event("forwarding", "host", "127.0.0.1:80", "guest", "x", NULL);
	assert_string_equal(captured_stderr_text(),
			    "netfwd: forwarding host=127.0.0.1:80 guest=x\n");

	log_set_level(LOG_LEVEL_WARN);
	log_event("forwarding", "host", "127.0.0.1:80", NULL);
	assert_string_equal(captured_stderr_text(), "");

	log_set_json(true); /* who asks for JSON waits for events */
	log_event("failed", "host", "127.0.0.1:80", "why", "in use", NULL);
	const char *line = captured_stderr_text();

	assert_string_equal(json_value(line, "event"), "failed");
	assert_string_equal(json_value(line, "host"), "127.0.0.1:80");
	assert_string_equal(json_value(line, "why"), "in use");
	assert_int_equal(strlen(json_value(line, "time")), strlen("2026-01-01T00:00:00.000Z"));
}

static void control_characters_never_reach_a_terminal(void **state)
{
	(void)state;
	const char *text;

	log_info("a\x1b[2Jb\r\n\tc\x7f\x01 d\x9b\xc2\x9b e");
	text = captured_stderr_text();
	assert_string_equal(text, "netfwd: a\\x1b[2Jb\\x0d\\x0a\\x09c\\x7f\\x01 d\\x9b"
				  "\\xc2\\x9b e\n");
	log_event("x", "y", "z\n", NULL);
	assert_string_equal(captured_stderr_text(), "netfwd: x y=z\\x0a\n");
}

static void letters_of_other_scripts_pass(void **state)
{
	static const char text[] = "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x8c\x8d";
	(void)state;
	char expected[64];

	(void)snprintf(expected, sizeof(expected), "netfwd: %s\n", text);
	log_info("%s", text);
	assert_string_equal(captured_stderr_text(), expected);
	log_set_json(true);
	log_info("%s", text);
	assert_string_equal(json_value(captured_stderr_text(), "message"), text);
}

static void json_survives_every_byte(void **state)
{
	(void)state;
	char text[256 + 1];

	log_set_json(true);
	log_info("quote \" backslash \\ newline \n escape \x1b delete \x7f");
	assert_string_equal(json_value(captured_stderr_text(), "message"),
			    "quote \" backslash \\ newline \n escape \x1b delete \x7f");
	for (int i = 1; i < 256; i++)
		text[i - 1] = (char)i;
	text[255] = '\0';
	log_info("%s", text);
	assert_non_null(json_value(captured_stderr_text(), "message"));
	log_event("x", "a", text, "b", "\xed\xa0\x80\xf4\x90\x80\x80\xc0\xaf\xe2\x82", NULL);
	assert_non_null(json_value(captured_stderr_text(), "b"));
}

/* Whatever the length, the line is whole JSON and ends where a character ends. */
static void json_survives_any_length(void **state)
{
	static const char *const letters[] = { "x", "\"", "\x01", "\xe2\x82\xac", "\xff" };
	(void)state;
	static char text[4096];

	log_set_json(true);
	for (size_t k = 0; k < sizeof(letters) / sizeof(letters[0]); k++) {
		size_t size = strlen(letters[k]);

		for (size_t len = 0; len + size < sizeof(text); len += 13 * size) {
			for (size_t at = 0; at < len; at += size)
				memcpy(text + at, letters[k], size);
			text[len] = '\0';
			log_info("%s", text);
			assert_non_null(json_value(captured_stderr_text(), "message"));
			log_event("x", "first", text, "second", text, NULL);
			assert_non_null(json_value(captured_stderr_text(), "first"));
		}
	}
}

static void text_of_any_length_is_one_line(void **state)
{
	(void)state;
	static char text[4096];

	for (size_t len = 0; len < sizeof(text) - 1; len += 101) {
		const char *line;

		memset(text, '\x01', len);
		text[len] = '\0';
		log_info("%s", text);
		line = captured_stderr_text();
		assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
		assert_true(strlen(line) <= 2048);
	}
}

static void a_burst_passes_and_the_rest_is_counted(void **state)
{
	(void)state;
	struct log_limit limit = { 0 };

	for (int i = 0; i < LOG_BURST; i++)
		assert_true(log_limit_pass(&limit, LOG_LEVEL_WARN));
	for (int i = 0; i < 7; i++)
		assert_false(log_limit_pass(&limit, LOG_LEVEL_WARN));
	assert_string_equal(captured_stderr_text(), "");

	limit.window_start_s -= LOG_WINDOW_S; /* the next window */
	assert_true(log_limit_pass(&limit, LOG_LEVEL_WARN));
	assert_string_equal(captured_stderr_text(),
			    "netfwd: warning: 7 lines like the next one were left out\n");
	for (int i = 1; i < LOG_BURST; i++)
		assert_true(log_limit_pass(&limit, LOG_LEVEL_WARN));
	assert_false(log_limit_pass(&limit, LOG_LEVEL_WARN));
}

static void each_call_site_has_its_own_limit(void **state)
{
	(void)state;
	unsigned int n = 0;

	for (int i = 0; i < 3 * LOG_BURST; i++)
		log_limited(LOG_LEVEL_WARN, "here");
	log_limited(LOG_LEVEL_WARN, "there");
	for (const char *at = captured_stderr_text(); *at; at = strchr(at, '\n') + 1)
		n++;
	assert_int_equal(n, LOG_BURST + 1);
}

static void what_is_not_printed_does_not_count(void **state)
{
	struct log_limit limit = { 0 };

	(void)state;
	for (int i = 0; i < 3 * LOG_BURST; i++)
		assert_false(log_limit_pass(&limit, LOG_LEVEL_DEBUG));
	log_set_level(LOG_LEVEL_DEBUG);
	assert_true(log_limit_pass(&limit, LOG_LEVEL_DEBUG));
}

static void keep_event(void *arg, const char *event)
{
	(void)snprintf(arg, 512, "%s", event);
}

static void an_observer_gets_every_event_as_json(void **state)
{
	char event[512] = "";

	(void)state;
	log_set_level(LOG_LEVEL_WARN);
	log_set_observer(keep_event, event);
	log_event("forwarding", "host", "127.0.0.1:80\n", NULL);
	log_set_observer(NULL, NULL);
	assert_string_equal(captured_stderr_text(), "");
	assert_non_null(
		strstr(event, "\"event\":\"forwarding\",\"host\":\"127.0.0.1:80\\u000a\"}"));

	event[0] = '\0';
	log_event("stopping", NULL);
	assert_string_equal(event, "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_observer_gets_every_event_as_json),
		TEST(a_level_silences_those_below),
		TEST(an_event_is_a_name_and_pairs),
		TEST(control_characters_never_reach_a_terminal),
		TEST(letters_of_other_scripts_pass),
		TEST(json_survives_every_byte),
		TEST(json_survives_any_length),
		TEST(text_of_any_length_is_one_line),
		TEST(a_burst_passes_and_the_rest_is_counted),
		TEST(each_call_site_has_its_own_limit),
		TEST(what_is_not_printed_does_not_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
