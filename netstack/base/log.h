/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Logging: one line per event on stderr, as text or as one JSON object.
 *
 * Log once, where something is decided. err: the operator must act; warn:
 * something was lost; info: the state of long-lived objects; debug: one
 * connection; trace: one frame. What a guest can trigger goes through
 * log_limited(), which lets a burst through and then counts. */
#include <stdbool.h>
#include <stdint.h>

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
	LOG_LEVEL_TRACE,
};

/* The most verbose level that is printed; the default is LOG_LEVEL_WARN. */
void log_set_level(enum log_level level);
void log_set_json(bool enabled);
/* What lines of text start with, of static memory; "netfwd" by default. */
void log_set_program(const char *name);
bool log_is_on(enum log_level level);

void log_at(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_at(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_at(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_at(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_trace(...)                                        \
	do {                                                  \
		if (log_is_on(LOG_LEVEL_TRACE))               \
			log_at(LOG_LEVEL_TRACE, __VA_ARGS__); \
	} while (0)

/* A structured event: a name and key/value pairs, ended by NULL. Printed at
 * level info as `name key=value ...`, or with log_set_json() as
 * {"event":name,"key":"value",...}. Emitted only after the fact. */
void log_event(const char *name, ...) __attribute__((sentinel));

/* Gets every event, printed or not, as that JSON object, without a line end. At
 * most one; NULL for none. */
typedef void log_observer_fn(void *arg, const char *event);
void log_set_observer(log_observer_fn *fn, void *arg);

/* Per call site: at most LOG_BURST lines every LOG_WINDOW_S seconds; the
 * first line of the next window says how many were left out. */
#define LOG_BURST 5
#define LOG_WINDOW_S 10

struct log_limit {
	int64_t window_start_s;
	unsigned int printed, suppressed;
};

bool log_limit_pass(struct log_limit *limit, enum log_level level);

#define log_limited(level, ...)                     \
	do {                                        \
		static struct log_limit limit_;     \
		if (log_limit_pass(&limit_, level)) \
			log_at(level, __VA_ARGS__); \
	} while (0)
