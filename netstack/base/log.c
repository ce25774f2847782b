/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/base/log.h"

#include <assert.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static enum log_level max_level = LOG_LEVEL_WARN;
static bool as_json;
static const char *program = "netfwd";
static log_observer_fn *observer;
static void *observer_arg;

static const char *const level_name[] = {
	[LOG_LEVEL_ERROR] = "error", [LOG_LEVEL_WARN] = "warning", [LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_DEBUG] = "debug", [LOG_LEVEL_TRACE] = "trace",
};

void log_set_level(enum log_level level)
{
	max_level = level;
}

void log_set_program(const char *name)
{
	program = name;
}

void log_set_json(bool enabled)
{
	as_json = enabled;
}

void log_set_observer(log_observer_fn *fn, void *arg)
{
	observer = fn;
	observer_arg = arg;
}

bool log_is_on(enum log_level level)
{
	return level <= max_level;
}

/* One line under construction: written with a single call, so that lines of
 * several processes on one stderr do not mix. What does not fit is left out. */
struct line {
	char text[2048];
	size_t len;
	bool is_full;
	bool is_json;
};

#define LINE_TAIL 3 /* a closing quote, a brace, the end of the line */

/* All or nothing: an escape sequence is not cut. */
static void line_put(struct line *l, const char *s, size_t len)
{
	l->is_full |= l->len + len > sizeof(l->text) - LINE_TAIL;
	if (l->is_full)
		return;
	memcpy(l->text + l->len, s, len);
	l->len += len;
}

static void line_puts(struct line *l, const char *s)
{
	line_put(l, s, strlen(s));
}

/* Bytes of the character that starts here (RFC 3629), 0 for one that must not
 * be printed: a control character, or no character at all. */
static size_t printable_size(const char *s)
{
	const uint8_t *b = (const uint8_t *)s;
	size_t size = b[0] < 0x80 ? 1 : b[0] < 0xe0 ? 2 : b[0] < 0xf0 ? 3 : 4;

	if (size == 1)
		return b[0] >= 0x20 && b[0] != 0x7f;
	if (b[0] < 0xc2 || b[0] > 0xf4)
		return 0;
	for (size_t i = 1; i < size; i++) {
		if ((b[i] & 0xc0) != 0x80)
			return 0;
	}
	/* C1 controls; longer than need be; surrogates; above U+10FFFF */
	if ((b[0] == 0xc2 && b[1] < 0xa0) || (b[0] == 0xe0 && b[1] < 0xa0) ||
	    (b[0] == 0xed && b[1] > 0x9f) || (b[0] == 0xf0 && b[1] < 0x90) ||
	    (b[0] == 0xf4 && b[1] > 0x8f))
		return 0;
	return size;
}

/* Control characters never reach a terminal: they may be the guest's. */
static void line_put_value(struct line *l, const char *s)
{
	while (*s) {
		size_t size = printable_size(s);
		char escape[8];

		if (size == 0) {
			unsigned int c = (uint8_t)*s++;

			if (l->is_json && c >= 0x80)
				c = 0xfffd; /* not a character */
			(void)snprintf(escape, sizeof(escape), l->is_json ? "\\u%04x" : "\\x%02x",
				       c);
			line_puts(l, escape);
		} else if (l->is_json && (*s == '"' || *s == '\\')) {
			line_put(l, (const char[]){ '\\', *s++ }, 2);
		} else {
			line_put(l, s, size);
			s += size;
		}
	}
}

static void line_put_json(struct line *l, const char *key, const char *value)
{
	char start[64];
	int n = snprintf(start, sizeof(start), "%s\"%s\":\"", l->len > 1 ? "," : "", key);

	assert(n > 0 && (size_t)n < sizeof(start)); /* keys are ours */
	line_put(l, start, (size_t)n);
	if (l->is_full)
		return;
	line_put_value(l, value);
	l->text[l->len++] = '"'; /* of the tail */
}

static void line_start_json(struct line *l)
{
	struct timespec now;
	struct tm tm;
	char when[40];
	size_t n;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	n = strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(when + n, sizeof(when) - n, ".%03ldZ", now.tv_nsec / 1000000);
	line_puts(l, "{");
	line_put_json(l, "time", when);
}

static void line_end(struct line *l)
{
	if (l->is_json)
		l->text[l->len++] = '}';
}

static void line_print(struct line *l)
{
	l->text[l->len++] = '\n';
	(void)fwrite(l->text, 1, l->len, stderr);
}

void log_at(enum log_level level, const char *fmt, ...)
{
	struct line l = { .is_json = as_json };
	char message[1500];
	va_list ap;

	if (!log_is_on(level))
		return;
	va_start(ap, fmt);
	(void)vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	if (as_json) {
		line_start_json(&l);
		line_put_json(&l, "level", level_name[level]);
		line_put_json(&l, "message", message);
	} else {
		line_puts(&l, program);
		line_puts(&l, ": ");
		if (level != LOG_LEVEL_INFO) {
			line_puts(&l, level_name[level]);
			line_puts(&l, ": ");
		}
		line_put_value(&l, message);
	}
	line_end(&l);
	line_print(&l);
}

static void line_put_event(struct line *l, const char *name, va_list ap)
{
	const char *key;

	if (l->is_json) {
		line_start_json(l);
		line_put_json(l, "event", name);
	} else {
		line_puts(l, program);
		line_puts(l, ": ");
		line_puts(l, name);
	}
	while ((key = va_arg(ap, const char *)) != NULL) {
		const char *value = va_arg(ap, const char *);

		if (l->is_json) {
			line_put_json(l, key, value);
			continue;
		}
		line_puts(l, " ");
		line_puts(l, key);
		line_puts(l, "=");
		line_put_value(l, value);
	}
	line_end(l);
}

void log_event(const char *name, ...)
{
	struct line shown = { .is_json = as_json }, observed = { .is_json = true };
	va_list ap;

	if (as_json || log_is_on(LOG_LEVEL_INFO)) {
		va_start(ap, name);
		line_put_event(&shown, name, ap);
		va_end(ap);
		line_print(&shown);
	}
	if (observer) {
		va_start(ap, name);
		line_put_event(&observed, name, ap);
		va_end(ap);
		observed.text[observed.len] = '\0';
		observer(observer_arg, observed.text);
	}
}

bool log_limit_pass(struct log_limit *limit, enum log_level level)
{
	struct timespec now;

	if (!log_is_on(level))
		return false;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	if (limit->printed == 0 || now.tv_sec - limit->window_start_s >= LOG_WINDOW_S) {
		unsigned int suppressed = limit->suppressed;

		*limit = (struct log_limit){ .window_start_s = now.tv_sec };
		if (suppressed)
			log_at(level, "%u lines like the next one were left out", suppressed);
	}
	if (limit->printed >= LOG_BURST) {
		limit->suppressed++;
		return false;
	}
	limit->printed++;
	return true;
}
