/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/problems.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

/* What the file says may be quoted, and must not reach a terminal raw. */
static void make_printable(char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
	}
}

static struct problem *append(struct problems *p, bool is_warning, const char *field)
{
	struct problem *problem;

	if (is_warning)
		p->n_warnings++;
	else
		p->n_errors++;
	if (p->n == PROBLEMS_MAX)
		return NULL;
	problem = &p->list[p->n++];
	*problem = (struct problem){ .is_warning = is_warning };
	(void)snprintf(problem->field, sizeof(problem->field), "%s%s", p->prefix, field);
	make_printable(problem->field);
	return problem;
}

__attribute__((format(printf, 2, 0))) static void set_text(struct problem *problem, const char *fmt,
							   va_list ap)
{
	if (!problem)
		return;
	(void)vsnprintf(problem->text, sizeof(problem->text), fmt, ap);
	make_printable(problem->text);
}

void problems_error(struct problems *p, const char *field, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	set_text(append(p, false, field), fmt, ap);
	va_end(ap);
}

void problems_warn(struct problems *p, const char *field, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	set_text(append(p, true, field), fmt, ap);
	va_end(ap);
}

static void format_place(const struct problem *problem, const char *name, char *out, size_t size)
{
	if (problem->line > 0)
		(void)snprintf(out, size, "%s:%u:%u", name, problem->line, problem->column);
	else
		(void)snprintf(out, size, "%s", name);
}

void problems_print(const struct problems *p, const char *name,
		    void (*print)(void *arg, bool is_warning, const char *line), void *arg)
{
	char place[512], line[1024];

	for (unsigned int i = 0; i < p->n; i++) {
		const struct problem *problem = &p->list[i];

		format_place(problem, name, place, sizeof(place));
		if (*problem->field)
			(void)snprintf(line, sizeof(line), "%s: field `%s` %s", place,
				       problem->field, problem->text);
		else
			(void)snprintf(line, sizeof(line), "%s: %s", place, problem->text);
		print(arg, problem->is_warning, line);
	}
	if (p->n_errors + p->n_warnings > p->n) {
		(void)snprintf(line, sizeof(line), "%s: and %u more", name,
			       p->n_errors + p->n_warnings - p->n);
		print(arg, p->n_errors == 0, line);
	}
}
