/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/publication.h"

#include <errno.h>
#include <stdlib.h>

#include "forwarder/ways.h"

struct way_request publication_request(const struct publication *p)
{
	return (struct way_request){
		.via = (enum rule_via)p->via,
		.proto = p->proto,
		.guest = { .endpoint = p->guest,
			   .path = p->guest_socket[0] ? p->guest_socket : NULL },
		.is_static = p->is_static,
	};
}

int publication_list_init(struct publication_list *list, unsigned int max)
{
	*list = (struct publication_list){ .max = max };
	list->items = calloc((size_t)max + 1, sizeof(*list->items));
	return list->items ? 0 : -ENOMEM;
}

void publication_list_deinit(struct publication_list *list)
{
	free(list->items);
}

void publication_list_add(struct publication_list *list, const struct publication *item)
{
	if (list->n == list->max)
		list->n_left_out++;
	else
		list->items[list->n++] = *item;
}
