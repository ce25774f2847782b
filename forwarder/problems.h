/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What is wrong with a configuration, all of it, so that it is mended in one
 * go. A problem names its field as the user wrote it: portForwards[3].hostIP.
 * Bounded: after PROBLEMS_MAX the rest is only counted. */
#include <stdbool.h>

#define PROBLEMS_MAX 50
#define PROBLEM_FIELD_SIZE 96
#define PROBLEM_PREFIX_SIZE 32
#define PROBLEM_TEXT_SIZE 320

struct problem {
	bool is_warning;
	unsigned int line, column;	/* from 1; 0: not known */
	char field[PROBLEM_FIELD_SIZE]; /* empty: of the whole file */
	char text[PROBLEM_TEXT_SIZE];	/* printable, one line */
};

struct problems {
	struct problem list[PROBLEMS_MAX];
	unsigned int n;			   /* in list */
	unsigned int n_errors, n_warnings; /* those left out included */
	/* Before each field that is added; "" or "shared.guests[3].". */
	char prefix[PROBLEM_PREFIX_SIZE];
};

/* text completes "field `F` ...": "must be 1 to 65535, but is 0". */
void problems_error(struct problems *p, const char *field, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void problems_warn(struct problems *p, const char *field, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* One line per problem, by way of print:
 * "name:12:5: field `mtu` must be ...". */
void problems_print(const struct problems *p, const char *name,
		    void (*print)(void *arg, bool is_warning, const char *line), void *arg);
