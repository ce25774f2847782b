/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/rule_template.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "{{ .UID }}" at *text, which is moved behind it; NULL if it is none. */
static const char *take_variable(const char **text, const struct rule_variable *variables)
{
	const char *at = *text + 2, *name;
	size_t len;

	at += strspn(at, " ");
	if (*at++ != '.')
		return NULL;
	name = at;
	len = strspn(at, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.");
	at += len;
	at += strspn(at, " ");
	if (strncmp(at, "}}", 2) != 0)
		return NULL;
	*text = at + 2;
	for (const struct rule_variable *v = variables; v && v->name; v++) {
		if (strlen(v->name) == len && strncmp(v->name, name, len) == 0)
			return v->value;
	}
	return NULL;
}

int rule_template_expand(const char *text, const struct rule_variable *variables, char **out)
{
	char *result = NULL;
	size_t size;
	FILE *memory = open_memstream(&result, &size);
	int r = 0;

	if (!memory)
		return -ENOMEM;
	while (r == 0 && *text) {
		const char *brace = strstr(text, "{{");
		size_t len = brace ? (size_t)(brace - text) : strlen(text);
		const char *value;

		(void)fwrite(text, 1, len, memory);
		text += len;
		value = brace ? take_variable(&text, variables) : "";
		if (!value)
			r = -EINVAL;
		else
			(void)fputs(value, memory);
	}
	if (ferror(memory) && r == 0)
		r = -ENOMEM;
	if (fclose(memory) != 0 && r == 0)
		r = -ENOMEM;
	if (r < 0)
		free(result);
	else
		*out = result;
	return r;
}
