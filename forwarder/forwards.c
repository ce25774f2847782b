/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/forwards.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/events.h"
#include "forwarder/listen_socket.h"
#include "forwarder/tcp_forward.h"
#include "forwarder/udp_forward.h"
#include "netstack/base/list.h"
#include "netstack/base/log.h"
#include "netstack/stack.h"

/* A range can fail as a whole, for one reason. */
#define MAX_ERRORS_PER_SPEC 10

struct forwards {
	struct loop *loop;
	struct stack *stack;
	const struct stack_config *config;
	struct udp_hub *udp_hub;
	struct list all; /* forward.node */
};

/* One port of the host. */
struct forward {
	struct list node; /* forwards.all */
	struct forwards *owner;
	struct forward_route route;
	struct tcp_forward *tcp; /* or */
	struct udp_forward *udp;
	bool is_open, has_failed;
};

int forwards_new(struct loop *loop, struct stack *stack, const struct stack_config *config,
		 struct forwards **out)
{
	struct forwards *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return -ENOMEM;
	f->loop = loop;
	f->stack = stack;
	f->config = config;
	list_init(&f->all);
	r = udp_hub_new(loop, &f->udp_hub);
	if (r < 0) {
		free(f);
		return r;
	}
	*out = f;
	return 0;
}

static int dial_tcp(void *arg, struct stream **out)
{
	const struct forward *forward = arg;

	return stack_dial_tcp(forward->owner->stack, &forward->route.guest, out);
}

static int dial_udp(void *arg, const struct udp_flow_owner *owner, void *owner_arg,
		    struct udp_flow **out)
{
	const struct forward *forward = arg;

	return stack_udp_open(forward->owner->stack, &forward->route.guest, owner, owner_arg, out);
}

static int forward_bind(struct forward *forward)
{
	struct forwards *f = forward->owner;
	const struct tcp_dialer tcp_dialer = { .dial = dial_tcp, .arg = forward };
	const struct udp_dialer udp_dialer = { .dial = dial_udp, .arg = forward };

	switch (forward->route.proto) {
	case FORWARD_TCP:
		return tcp_forward_new(f->loop, &forward->route.host, &tcp_dialer, &forward->tcp);
	case FORWARD_UDP:
		return udp_forward_new(f->udp_hub, &forward->route.host, &udp_dialer,
				       &forward->udp);
	}
	return -EINVAL;
}

static int forward_start(struct forward *forward)
{
	if (forward->tcp)
		return tcp_forward_start(forward->tcp);
	udp_forward_start(forward->udp);
	return 0;
}

static void forward_free(struct forward *forward)
{
	list_unlink(&forward->node);
	tcp_forward_free(forward->tcp);
	udp_forward_free(forward->udp);
	if (forward->is_open)
		event_stopping(&forward->route);
	else if (!forward->has_failed)
		event_not_forwarding(&forward->route, "netfwd did not start");
	free(forward);
}

static void forward_fail(struct forward *forward, int error)
{
	char text[LISTEN_ERROR_SIZE];

	forward->has_failed = true;
	log_error("%s",
		  listen_socket_explain(forward->route.proto, &forward->route.host, error, text));
	event_failed(&forward->route, text);
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

static int add_port(struct forwards *f, const struct forward_spec *spec, unsigned int i,
		    bool is_quiet)
{
	struct forward *forward = calloc(1, sizeof(*forward));
	int r;

	if (!forward) {
		log_error("out of memory");
		return -ENOMEM;
	}
	forward->owner = f;
	forward->route = (struct forward_route){ .proto = spec->proto,
						 .host = spec->host,
						 .guest = spec->guest };
	forward->route.host.port = (uint16_t)(spec->host.port + i);
	forward->route.guest.port = (uint16_t)(spec->guest.port + i);
	if (ipaddr_is_any(&spec->guest.addr))
		forward->route.guest.addr = f->config->guest4;
	list_append(&f->all, &forward->node);
	r = forward_bind(forward);
	if (r < 0 && is_quiet) {
		forward->has_failed = true;
		event_failed(&forward->route, strerror(-r));
	} else if (r < 0) {
		forward_fail(forward, r);
	}
	return r;
}

int forwards_add(struct forwards *f, const struct forward_spec *spec)
{
	int result = check_guest(f->config, spec);
	unsigned int n_failed = 0;

	if (result < 0)
		return result;
	for (unsigned int i = 0; i < spec->n_ports; i++) {
		int r = add_port(f, spec, i, n_failed >= MAX_ERRORS_PER_SPEC);

		if (r < 0) {
			n_failed++;
			result = r;
		}
	}
	if (n_failed > MAX_ERRORS_PER_SPEC)
		log_error("%u more ports of the range %u-%u cannot be had",
			  n_failed - MAX_ERRORS_PER_SPEC, spec->host.port,
			  spec->host.port + spec->n_ports - 1);
	return result;
}

int forwards_start(struct forwards *f)
{
	int result = 0;

	list_for_each(node, &f->all) {
		struct forward *forward = container_of(node, struct forward, node);
		int r = forward_start(forward);

		if (r < 0) {
			forward_fail(forward, r);
			result = r;
		}
	}
	if (result < 0)
		return result;
	list_for_each(node, &f->all) {
		struct forward *forward = container_of(node, struct forward, node);

		forward->is_open = true;
		event_forwarding(&forward->route);
	}
	return 0;
}

void forwards_free(struct forwards *f)
{
	if (!f)
		return;
	list_for_each(node, &f->all)
		forward_free(container_of(node, struct forward, node));
	udp_hub_free(f->udp_hub);
	free(f);
}
