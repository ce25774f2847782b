/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/base/log.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static enum log_level max_level = LOG_LEVEL_WARN;
static bool as_json;

static const char *const level_name[] = {
	[LOG_LEVEL_ERROR] = "error", [LOG_LEVEL_WARN] = "warning", [LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_DEBUG] = "debug", [LOG_LEVEL_TRACE] = "trace",
};

void log_set_level(enum log_level level)
{
	max_level = level;
}

void log_set_json(bool enabled)
{
	as_json = enabled;
}

bool log_is_on(enum log_level level)
{
	return level <= max_level;
}

/* One line under construction: written with a single call, so that lines of
 * several processes on one stderr do not mix. */
struct line {
	char text[2048];
	size_t len;
};

static void line_putc(struct line *l, char c)
{
	if (l->len < sizeof(l->text) - 2) /* room for a closing quote */
		l->text[l->len++] = c;
}

static void line_puts(struct line *l, const char *s)
{
	while (*s)
		line_putc(l, *s++);
}

/* Control characters never reach a terminal: they may be the guest's. */
static void line_put_value(struct line *l, const char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c < 0x20 || c == 0x7f) {
			char hex[8];

			(void)snprintf(hex, sizeof(hex), as_json ? "\\u%04x" : "\\x%02x", c);
			line_puts(l, hex);
			continue;
		}
		if (as_json && (c == '"' || c == '\\'))
			line_putc(l, '\\');
		line_putc(l, (char)c);
	}
}

static void line_put_json(struct line *l, const char *key, const char *value)
{
	if (l->len > 1)
		line_putc(l, ',');
	line_putc(l, '"');
	line_puts(l, key);
	line_puts(l, "\":\"");
	line_put_value(l, value);
	line_putc(l, '"');
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
	line_putc(l, '{');
	line_put_json(l, "time", when);
}

static void line_end(struct line *l)
{
	if (as_json)
		l->text[l->len++] = '}';
	l->text[l->len++] = '\n';
	(void)fwrite(l->text, 1, l->len, stderr);
}

void log_at(enum log_level level, const char *fmt, ...)
{
	struct line l = { .len = 0 };
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
		line_puts(&l, "netfwd: ");
		if (level != LOG_LEVEL_INFO) {
			line_puts(&l, level_name[level]);
			line_puts(&l, ": ");
		}
		line_put_value(&l, message);
	}
	line_end(&l);
}

void log_event(const char *name, ...)
{
	struct line l = { .len = 0 };
	const char *key;
	va_list ap;

	if (!as_json && !log_is_on(LOG_LEVEL_INFO))
		return;
	if (as_json) {
		line_start_json(&l);
		line_put_json(&l, "event", name);
	} else {
		line_puts(&l, "netfwd: ");
		line_puts(&l, name);
	}
	va_start(ap, name);
	while ((key = va_arg(ap, const char *)) != NULL) {
		const char *value = va_arg(ap, const char *);

		if (as_json) {
			line_put_json(&l, key, value);
			continue;
		}
		line_putc(&l, ' ');
		line_puts(&l, key);
		line_putc(&l, '=');
		line_put_value(&l, value);
	}
	va_end(ap);
	line_end(&l);
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
