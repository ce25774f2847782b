/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/publisher.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "netstack/base/log.h"

#define N_BUCKETS 1024
#define SOURCE_NAME_SIZE 80

struct publisher {
	struct outlets *outlets;
	struct list sources; /* source.node */
};

struct source {
	struct list node; /* publisher.sources */
	char name[SOURCE_NAME_SIZE];
	struct list entries;		/* entry.node, in the order of arrival */
	struct list buckets[N_BUCKETS]; /* entry.in_bucket */
	unsigned int n_entries, n_left_out;
};

/* One publication of a source. */
struct entry {
	struct claim claim;
	struct list node;      /* source.entries */
	struct list in_bucket; /* source.buckets */
	bool is_wanted;
};

int publisher_new(struct loop *loop, const struct publisher_config *config,
		  const struct publisher_dialer *dialer, struct publisher **out)
{
	struct publisher *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	list_init(&p->sources);
	r = outlets_new(loop, config, dialer, &p->outlets);
	if (r < 0) {
		free(p);
		return r;
	}
	*out = p;
	return 0;
}

void publisher_configure(struct publisher *publisher, const struct publisher_config *config)
{
	outlets_configure(publisher->outlets, config);
}

static struct source *source_find(const struct publisher *p, const char *name)
{
	list_for_each(node, &p->sources) {
		struct source *s = container_of(node, struct source, node);

		if (strcmp(s->name, name) == 0)
			return s;
	}
	return NULL;
}

static int source_new(struct publisher *p, const char *name, struct source **out)
{
	struct source *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	assert(strlen(name) < sizeof(s->name));
	memcpy(s->name, name, strlen(name) + 1);
	list_init(&s->entries);
	for (unsigned int i = 0; i < N_BUCKETS; i++)
		list_init(&s->buckets[i]);
	list_append(&p->sources, &s->node);
	*out = s;
	return 0;
}

static void copy_text(char *to, size_t size, const char *from)
{
	(void)snprintf(to, size, "%s", from);
}

/* Nothing but the fields, so that equal ones have equal hashes. */
static void publication_copy(struct publication *to, const struct publication *from)
{
	memset(to, 0, sizeof(*to));
	to->proto = from->proto;
	if (from->host_socket[0]) {
		copy_text(to->host_socket, sizeof(to->host_socket), from->host_socket);
	} else {
		to->host.addr = from->host.addr;
		to->host.port = from->host.port;
	}
	to->has_also = from->has_also;
	if (from->guest_socket[0]) {
		copy_text(to->guest_socket, sizeof(to->guest_socket), from->guest_socket);
	} else {
		to->guest.addr = from->guest.addr;
		to->guest.port = from->guest.port;
	}
	copy_text(to->guest_name, sizeof(to->guest_name), from->guest_name);
	to->is_static = from->is_static;
	to->keeps_port = from->keeps_port;
	to->via = from->via;
	to->rule_origin = from->rule_origin;
	to->rule_index = from->rule_index;
}

static bool publication_equal(const struct publication *a, const struct publication *b)
{
	return a->proto == b->proto && endpoint_equal(&a->host, &b->host) &&
	       strcmp(a->host_socket, b->host_socket) == 0 && a->has_also == b->has_also &&
	       endpoint_equal(&a->guest, &b->guest) &&
	       strcmp(a->guest_socket, b->guest_socket) == 0 &&
	       strcmp(a->guest_name, b->guest_name) == 0 && a->is_static == b->is_static &&
	       a->keeps_port == b->keeps_port && a->via == b->via &&
	       a->rule_origin == b->rule_origin && a->rule_index == b->rule_index;
}

static struct list *bucket_of(struct source *s, const struct publication *p)
{
	return &s->buckets[hash_bytes(p, sizeof(*p)) % N_BUCKETS];
}

static struct entry *entry_find(struct source *s, const struct publication *p)
{
	list_for_each(node, bucket_of(s, p)) {
		struct entry *e = container_of(node, struct entry, in_bucket);

		if (publication_equal(&e->claim.publication, p))
			return e;
	}
	return NULL;
}

static void entry_free(struct source *s, struct entry *e)
{
	outlets_remove(&e->claim);
	list_unlink(&e->node);
	list_unlink(&e->in_bucket);
	s->n_entries--;
	free(e);
}

static int entry_new(struct publisher *publisher, struct source *s, const struct publication *p)
{
	struct entry *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return -ENOMEM;
	e->claim.publication = *p;
	e->is_wanted = true;
	r = outlets_add(publisher->outlets, &e->claim);
	if (r < 0) {
		free(e);
		return r;
	}
	list_append(&s->entries, &e->node);
	list_append(bucket_of(s, p), &e->in_bucket);
	s->n_entries++;
	return 0;
}

static void keep_wanted(struct source *s, const struct publication *items, unsigned int n)
{
	struct publication p;

	list_for_each(node, &s->entries)
		container_of(node, struct entry, node)->is_wanted = false;
	for (unsigned int i = 0; i < n; i++) {
		struct entry *e;

		publication_copy(&p, &items[i]);
		e = entry_find(s, &p);
		if (e)
			e->is_wanted = true;
	}
	list_for_each(node, &s->entries) {
		struct entry *e = container_of(node, struct entry, node);

		if (!e->is_wanted)
			entry_free(s, e);
	}
}

static void say_left_out(struct source *s, unsigned int before, unsigned int n)
{
	if (s->n_left_out > 0 && before == 0)
		log_warn("%s: %u ports are too many; %u of them are not forwarded", s->name, n,
			 s->n_left_out);
}

static int add_new(struct publisher *publisher, struct source *s, const struct publication *items,
		   unsigned int n)
{
	unsigned int before = s->n_left_out;
	int result = 0;

	s->n_left_out = 0;
	for (unsigned int i = 0; i < n; i++) {
		struct publication p;
		int r = 0;

		publication_copy(&p, &items[i]);
		if (entry_find(s, &p))
			continue;
		if (s->n_entries < PUBLISHER_MAX_PER_SOURCE)
			r = entry_new(publisher, s, &p);
		else
			s->n_left_out++;
		if (r < 0)
			result = r;
	}
	say_left_out(s, before, n);
	return result;
}

int publisher_set(struct publisher *publisher, const char *source, const struct publication *items,
		  unsigned int n)
{
	struct source *s = source_find(publisher, source);
	int r = s || n == 0 ? 0 : source_new(publisher, source, &s);

	if (r < 0 || !s)
		return r;
	keep_wanted(s, items, n);
	r = add_new(publisher, s, items, n);
	outlets_settle(publisher->outlets);
	if (list_empty(&s->entries)) {
		list_unlink(&s->node);
		free(s);
	}
	return r;
}

void publisher_each(struct publisher *publisher, publisher_each_fn *fn, void *arg)
{
	list_for_each(source_node, &publisher->sources) {
		const struct source *s = container_of(source_node, struct source, node);

		list_for_each(node, &s->entries) {
			struct publication_status status;

			outlets_status(&container_of(node, struct entry, node)->claim, &status);
			fn(arg, s->name, &status);
		}
	}
}

unsigned int publisher_left_out(const struct publisher *publisher, const char *source)
{
	const struct source *s = source_find(publisher, source);

	return s ? s->n_left_out : 0;
}

static void source_free(struct source *s)
{
	list_for_each(node, &s->entries)
		entry_free(s, container_of(node, struct entry, node));
	list_unlink(&s->node);
	free(s);
}

void publisher_free(struct publisher *publisher)
{
	if (!publisher)
		return;
	list_for_each(node, &publisher->sources)
		source_free(container_of(node, struct source, node));
	outlets_free(publisher->outlets);
	free(publisher);
}
