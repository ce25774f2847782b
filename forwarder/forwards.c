/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/forwards.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "forwarder/events.h"
#include "forwarder/listen_socket.h"
#include "forwarder/options.h"
#include "forwarder/publication.h"
#include "forwarder/publisher.h"
#include "forwarder/rule.h"
#include "netstack/base/log.h"
#include "netstack/stack_config.h"

#define SOURCE "option"
/* A range can fail as a whole, for one reason. */
#define MAX_ERRORS 10

struct forwards {
	const struct options *options;
	const struct stack_config *config;
	struct publication_list list;
	bool *has_failed; /* of each in the list */
	bool is_published;
};

static void add_spec(struct forwards *f, unsigned int index)
{
	const struct forward_spec *spec = &f->options->forwards[index];
	struct publication item = {
		.proto = spec->proto,
		.host = spec->host,
		.guest = spec->guest,
		.is_static = true,
		.keeps_port = true,
		.via = RULE_VIA_DIRECT,
		.rule_origin = RULE_ORIGIN_OPTION,
		.rule_index = index,
	};

	if (ipaddr_is_any(&spec->guest.addr))
		item.guest.addr = f->config->guest4;
	for (unsigned int i = 0; i < spec->n_ports; i++) {
		item.host.port = (uint16_t)(spec->host.port + i);
		item.guest.port = (uint16_t)(spec->guest.port + i);
		publication_list_add(&f->list, &item);
	}
}

int forwards_new(const struct options *options, const struct stack_config *config,
		 struct forwards **out)
{
	struct forwards *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return -ENOMEM;
	f->options = options;
	f->config = config;
	f->is_published = true; /* nothing to tell of */
	r = publication_list_init(&f->list, PUBLISHER_MAX_PER_SOURCE);
	for (unsigned int i = 0; r == 0 && i < options->n_forwards; i++)
		add_spec(f, i);
	if (r == 0 && f->list.n_left_out > 0) {
		log_error("--forward names %u ports, %u is the most; give fewer of them",
			  f->list.n + f->list.n_left_out, f->list.max);
		r = -ENOSPC;
	}
	f->has_failed = calloc((size_t)f->list.n + 1, sizeof(*f->has_failed));
	if (r == 0 && !f->has_failed)
		r = -ENOMEM;
	if (r < 0) {
		forwards_free(f);
		return r;
	}
	f->is_published = false;
	*out = f;
	return 0;
}

static struct forward_route route_of(const struct publication *p)
{
	return (struct forward_route){ .proto = p->proto, .host = p->host, .guest = p->guest };
}

static int check_guest(const struct stack_config *config, const struct forward_spec *spec)
{
	char guest_text[ADDR_TEXT_SIZE], text4[ADDR_TEXT_SIZE], text6[ADDR_TEXT_SIZE];
	const struct ipaddr *guest = &spec->guest.addr;

	if (ipaddr_is_any(guest))
		return 0;
	if (ipaddr_is_v4(guest)) {
		if (ipaddr_in_prefix(guest, &config->network4, 96 + config->prefix4_bits))
			return 0;
	} else if (ipaddr_in_prefix(guest, &config->prefix6, 64)) {
		return 0;
	}
	log_error("%s port %u of the host is to lead to %s, which is outside the guest's "
		  "networks, %s/%u and %s/64",
		  forward_proto_name(spec->proto), spec->host.port,
		  ipaddr_format(guest, guest_text), ipaddr_format(&config->network4, text4),
		  config->prefix4_bits, ipaddr_format(&config->prefix6, text6));
	return -EINVAL;
}

static void fail(struct forwards *f, unsigned int i, unsigned int n_before, const char *why)
{
	struct forward_route route = route_of(&f->list.items[i]);

	f->has_failed[i] = true;
	if (n_before < MAX_ERRORS)
		log_error("%s", why);
	event_failed(&route, why);
}

static void say_how_many(unsigned int n_failed)
{
	if (n_failed > MAX_ERRORS)
		log_error("%u more host ports cannot be had", n_failed - MAX_ERRORS);
}

/* Whether it can be bound now. */
static int probe(struct forwards *f, unsigned int i, unsigned int n_before)
{
	const struct publication *p = &f->list.items[i];
	int fd = listen_socket_bind(p->proto, &p->host);
	char why[LISTEN_ERROR_SIZE];

	if (fd >= 0) {
		close(fd);
		return 0;
	}
	/* who has the port is looked up, which takes a while */
	if (n_before < MAX_ERRORS)
		(void)listen_socket_explain(p->proto, &p->host, fd, why);
	fail(f, i, n_before, n_before < MAX_ERRORS ? why : strerror(-fd));
	return fd;
}

int forwards_check(struct forwards *f)
{
	unsigned int n_failed = 0;
	int result = 0;

	for (unsigned int i = 0; i < f->options->n_forwards; i++) {
		if (check_guest(f->config, &f->options->forwards[i]) < 0)
			result = -EINVAL;
	}
	for (unsigned int i = 0; i < f->list.n; i++) {
		int r = probe(f, i, n_failed);

		if (r < 0) {
			result = r;
			n_failed++;
		}
	}
	say_how_many(n_failed);
	return result;
}

struct verdict {
	unsigned int n_failed;
};

static void on_publication(void *arg, const char *source, const struct publication_status *status)
{
	struct verdict *v = arg;

	if (strcmp(source, SOURCE) != 0 || status->state == PUBLICATION_FORWARDING)
		return;
	if (v->n_failed++ < MAX_ERRORS)
		log_error("%s", status->error);
}

int forwards_publish(struct forwards *f, struct publisher *publisher)
{
	struct verdict v = { .n_failed = 0 };
	int r = publisher_set(publisher, SOURCE, f->list.items, f->list.n);

	if (r < 0)
		return r;
	f->is_published = true;
	publisher_each(publisher, on_publication, &v);
	say_how_many(v.n_failed);
	return v.n_failed > 0 ? -EADDRINUSE : 0;
}

void forwards_free(struct forwards *f)
{
	if (!f)
		return;
	for (unsigned int i = 0; !f->is_published && f->has_failed && i < f->list.n; i++) {
		struct forward_route route = route_of(&f->list.items[i]);

		if (!f->has_failed[i])
			event_not_forwarding(&route, "netfwd did not start");
	}
	publication_list_deinit(&f->list);
	free(f->has_failed);
	free(f);
}
