/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/agent_listeners.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/port_list.h"

/* One report may replace all that is known. */
#define CHANGES_MAX (2UL * AGENT_LISTENERS_MAX)

struct agent_listeners {
	struct port_listener *all;     /* sorted */
	struct port_listener *added;   /* of the report: CHANGES_MAX of them */
	struct port_listener *removed; /* likewise */
	struct port_listener *next;    /* what comes of it */
	unsigned int n, n_added, n_removed;
	bool is_all, is_known;
};

int agent_listeners_new(struct agent_listeners **out)
{
	struct agent_listeners *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->all = calloc(CHANGES_MAX, sizeof(*l->all));
	l->added = calloc(CHANGES_MAX, sizeof(*l->added));
	l->removed = calloc(CHANGES_MAX, sizeof(*l->removed));
	l->next = calloc(2 * CHANGES_MAX, sizeof(*l->next));
	if (!l->all || !l->added || !l->removed || !l->next) {
		agent_listeners_free(l);
		return -ENOMEM;
	}
	*out = l;
	return 0;
}

void agent_listeners_free(struct agent_listeners *l)
{
	if (!l)
		return;
	free(l->all);
	free(l->added);
	free(l->removed);
	free(l->next);
	free(l);
}

void agent_listeners_begin(struct agent_listeners *l, bool is_all)
{
	l->is_all = is_all;
	l->n_added = l->n_removed = 0;
}

bool agent_listeners_add(struct agent_listeners *l, const struct port_listener *listener)
{
	if (l->n_added == CHANGES_MAX)
		return false;
	l->added[l->n_added++] = *listener;
	return true;
}

void agent_listeners_remove(struct agent_listeners *l, const struct port_listener *listener)
{
	if (l->n_removed < CHANGES_MAX)
		l->removed[l->n_removed++] = *listener;
}

void agent_listeners_set_all(struct agent_listeners *l)
{
	l->is_all = true;
}

bool agent_listeners_end(struct agent_listeners *l)
{
	struct port_list removed = { l->removed, port_list_sort(l->removed, l->n_removed) };
	struct port_list before = { l->all, l->n }, after;
	unsigned int n = l->is_all ? 0 : port_list_without(&before, &removed, l->next);
	bool has_changed;

	memcpy(l->next + n, l->added, l->n_added * sizeof(*l->next));
	n = port_list_sort(l->next, n + l->n_added);
	if (n > AGENT_LISTENERS_MAX)
		n = AGENT_LISTENERS_MAX;
	after = (struct port_list){ l->next, n };
	has_changed = !l->is_known || !port_list_equal(&before, &after);
	memcpy(l->all, l->next, n * sizeof(*l->all));
	l->n = n;
	l->is_known = true;
	return has_changed;
}

const struct port_listener *agent_listeners_all(const struct agent_listeners *l, unsigned int *n)
{
	*n = l->n;
	return l->all;
}
