/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Intrusive doubly-linked list. A struct list is either a head or a link
 * inside an element; a link field says in a comment which list it is in.
 * Unlinking twice is harmless: an unlinked node points at itself. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct list {
	struct list *prev, *next;
};

#define container_of(ptr, type, member) ((type *)((uintptr_t)(ptr)-offsetof(type, member)))

static inline void list_init(struct list *l)
{
	l->prev = l->next = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

static inline void list_append(struct list *head, struct list *node)
{
	node->prev = head->prev;
	node->next = head;
	head->prev->next = node;
	head->prev = node;
}

static inline void list_unlink(struct list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}

/* The first node unlinked and returned, or NULL when the list is empty. */
static inline struct list *list_take(struct list *head)
{
	struct list *node = head->next;

	if (node == head)
		return NULL;
	list_unlink(node);
	return node;
}

/* All nodes of `from` go to the end of `head`. */
static inline void list_move_all(struct list *head, struct list *from)
{
	if (list_empty(from))
		return;
	from->next->prev = head->prev;
	from->prev->next = head;
	head->prev->next = from->next;
	head->prev = from->prev;
	list_init(from);
}

/* `node` may be unlinked (and freed) inside the loop, its successor not. */
/* NOLINTBEGIN(bugprone-macro-parentheses): a name that is declared takes none */
#define list_for_each(node, head)                                                         \
	for (struct list *node = (head)->next, *node##_next = node->next; node != (head); \
	     node = node##_next, node##_next = node->next)
/* NOLINTEND(bugprone-macro-parentheses) */
