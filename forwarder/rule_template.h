/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The variables in guestSocket and hostSocket: /run/user/{{.UID}}/docker.sock.
 * Of Go's templates, which Lima uses, only these. Pure. */

struct rule_variable {
	const char *name;  /* without the dot; NULL ends a list */
	const char *value; /* NULL: not known here */
};

/* *out is to be free()d. 0; -EINVAL when there is anything else between {{ and
 * }} than the name of a variable that has a value; -ENOMEM. */
int rule_template_expand(const char *text, const struct rule_variable *variables, char **out);
