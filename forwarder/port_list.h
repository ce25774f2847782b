/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Lists of listeners, sorted and without duplicates. Pure. */
#include <stdbool.h>

#include "forwarder/port_listener.h"

int port_list_compare(const struct port_listener *a, const struct port_listener *b);
/* Sorts; returns how many are left without the duplicates. */
unsigned int port_list_sort(struct port_listener *all, unsigned int n);
/* What is in a and not in b, both sorted: into out, which has room for n_a. Returns
 * how many. */
struct port_list {
	const struct port_listener *all;
	unsigned int n;
};
unsigned int port_list_without(const struct port_list *a, const struct port_list *b,
			       struct port_listener *out);
bool port_list_equal(const struct port_list *a, const struct port_list *b);
