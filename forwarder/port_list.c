/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/port_list.h"

#include <stdlib.h>
#include <string.h>

int port_list_compare(const struct port_listener *a, const struct port_listener *b)
{
	int r;

	if (a->proto != b->proto)
		return a->proto < b->proto ? -1 : 1;
	r = memcmp(&a->guest.addr, &b->guest.addr, sizeof(a->guest.addr));
	return r ? r : (int)a->guest.port - (int)b->guest.port;
}

static int compare(const void *a, const void *b)
{
	return port_list_compare(a, b);
}

unsigned int port_list_sort(struct port_listener *all, unsigned int n)
{
	unsigned int kept = 0;

	if (n == 0)
		return 0;
	qsort(all, n, sizeof(*all), compare);
	for (unsigned int i = 1; i < n; i++) {
		if (port_list_compare(&all[i], &all[kept]) != 0)
			all[++kept] = all[i];
	}
	return kept + 1;
}

unsigned int port_list_without(const struct port_list *a, const struct port_list *b,
			       struct port_listener *out)
{
	unsigned int at = 0, n = 0;

	for (unsigned int i = 0; i < a->n; i++) {
		int order = 1;

		while (at < b->n && (order = port_list_compare(&b->all[at], &a->all[i])) < 0)
			at++;
		if (at == b->n || order != 0)
			out[n++] = a->all[i];
	}
	return n;
}

bool port_list_equal(const struct port_list *a, const struct port_list *b)
{
	if (a->n != b->n)
		return false;
	for (unsigned int i = 0; i < a->n; i++) {
		if (port_list_compare(&a->all[i], &b->all[i]) != 0)
			return false;
	}
	return true;
}
