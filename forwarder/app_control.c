/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/app_control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/config_changes.h"
#include "forwarder/config_env.h"
#include "forwarder/control.h"
#include "forwarder/control_socket.h"
#include "forwarder/exposed.h"
#include "forwarder/guest.h"
#include "forwarder/guest_set.h"
#include "forwarder/log_setup.h"
#include "forwarder/loopbacks.h"
#include "forwarder/options.h"
#include "forwarder/options_merge.h"
#include "forwarder/policy.h"
#include "forwarder/reverse.h"
#include "forwarder/ways.h"
#include "netstack/base/log.h"
#include "netstack/link.h"
#include "netstack/stack.h"
#include "netstack/vsock/vsock.h"

#define GUEST_NAME "default" /* of the only one */

struct app_control {
	struct app_control_setup setup;
	struct control *control; /* NULL: another netfwd has the default socket */
	struct exposed *exposed;
	struct config *reloaded; /* in force since the last reload, or NULL */
};

static const char *link_name(const struct options *o)
{
	static const char *const names[] = {
		[OPTIONS_LINK_USER] = "stream",		  [OPTIONS_LINK_STREAM] = "stream",
		[OPTIONS_LINK_DGRAM] = "dgram",		  [OPTIONS_LINK_FD] = "fd",
		[OPTIONS_LINK_NETNS] = "netns",		  [OPTIONS_LINK_QEMU] = "qemu",
		[OPTIONS_LINK_VHOST_USER] = "vhost-user", [OPTIONS_LINK_SHARED] = "shared",
	};

	return names[o->link];
}

static void list_only_guest(const struct app_control *c, struct control_status *s)
{
	const struct options *o = c->setup.options;
	struct stack_traffic traffic = stack_traffic(c->setup.stack);
	const struct control_guest guest = {
		.name = GUEST_NAME,
		.link = link_name(o),
		.path = o->link == OPTIONS_LINK_NETNS ? o->netns : o->link_path,
		.is_connected = traffic.is_connected,
		.bytes_to_guest = traffic.to_guest_bytes,
		.bytes_to_host = traffic.to_host_bytes,
	};

	control_status_guest(s, &guest);
}

static void put_addresses(char *text, size_t size, const struct guest_entry *guest)
{
	char address[ADDR_TEXT_SIZE];
	size_t len = 0;

	text[0] = '\0';
	for (unsigned int i = 0; i < guest->n_addresses && len < size; i++)
		len += (size_t)snprintf(text + len, size - len, "%s%s", i ? " " : "",
					ipaddr_format(&guest->addresses[i], address));
}

/* One of a shared network: named by itself, or by its MAC. */
static void list_shared_guest(void *arg, const struct guest_entry *guest, const struct link *link)
{
	char addresses[GUESTS_MAX_ADDRESSES * ADDR_TEXT_SIZE], mac[MAC_TEXT_SIZE];
	const struct control_guest entry = {
		.name = *guest->name ? guest->name : mac,
		.link = link ? link->name : NULL,
		.addresses = addresses,
		.mac = mac,
		.lease_until = guest->lease_until_s,
		.is_connected = link != NULL,
		.bytes_to_guest = link ? link->counters.tx_bytes : 0,
		.bytes_to_host = link ? link->counters.rx_bytes : 0,
	};

	(void)mac_format(&guest->mac, mac);
	put_addresses(addresses, sizeof(addresses), guest);
	control_status_guest(arg, &entry);
}

static void list_guests(void *arg, struct control_status *s)
{
	const struct app_control *c = arg;

	if (c->setup.options->is_shared)
		stack_guests(c->setup.stack, list_shared_guest, s);
	else
		list_only_guest(c, s);
}

struct guest_listing {
	const char *guest_name;
	struct control_status *s;
};

static void list_reverse(void *arg, const struct reverse_status *status)
{
	const struct guest_listing *listing = arg;
	const struct reverse_forward *f = status->forward;
	char host[ADDR_TEXT_SIZE], guest[ADDR_TEXT_SIZE], rule[16];
	const struct control_published published = {
		.guest_name = listing->guest_name,
		.proto = f->proto,
		.is_reverse = true,
		.host = f->host_socket[0] ? f->host_socket : endpoint_format(&f->host, host),
		.guest = f->guest_socket[0] ? f->guest_socket : endpoint_format(&f->guest, guest),
		.via = status->via,
		.state = publication_state_name(status->state),
		.rule = rule,
		.error = status->error,
		.connections = status->counters.open,
		.connections_total = status->counters.total,
		.bytes_to_guest = status->counters.to_guest_bytes,
		.bytes_to_host = status->counters.to_host_bytes,
	};

	(void)snprintf(rule, sizeof(rule), "%u", f->rule_index);
	control_status_forward(listing->s, &published);
}

static void list_reverses(void *arg, const char *name, struct guest *guest)
{
	struct guest_listing listing = { *name ? name : NULL, arg };

	reverses_each(policy_reverses(guest_policy(guest)), list_reverse, &listing);
}

static void list_forwards(void *arg, struct control_status *s)
{
	const struct app_control *c = arg;

	exposed_list(c->exposed, guest_set_find_ways, c->setup.guests, s);
	guest_set_each(c->setup.guests, list_reverses, s);
}

static void add_counter(void *arg, const char *name, uint64_t value)
{
	control_status_counter(arg, name, value);
}

static void list_ways_of(void *arg, const char *name, struct guest *guest)
{
	static const enum rule_via kinds[] = { RULE_VIA_NETNS, RULE_VIA_DIRECT, RULE_VIA_VSOCK,
					       RULE_VIA_GRPC, RULE_VIA_SSH };

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		const struct tunnel *t = ways_tunnel(guest_ways(guest), kinds[i]);
		const struct control_way way = {
			.guest_name = *name ? name : NULL,
			.name = t ? t->name : NULL,
			.state = t ? tunnel_state_name(t->state) : NULL,
			.error = t ? t->error : NULL,
		};

		if (t)
			control_status_way(arg, &way);
	}
}

static void list_ways(void *arg, struct control_status *s)
{
	const struct app_control *c = arg;

	guest_set_each(c->setup.guests, list_ways_of, s);
}

static void list_counters(void *arg, struct control_status *s)
{
	const struct app_control *c = arg;

	stack_counters(c->setup.stack, add_counter, s);
	vsock_counters(c->setup.vsock, add_counter, s);
}

static int expose(void *arg, const struct control_forward *forward, char *error)
{
	const struct app_control *c = arg;

	if (c->setup.options->is_shared && ipaddr_is_any(&forward->spec.guest.addr)) {
		(void)snprintf(error, CONTROL_ERROR_SIZE,
			       "which guest? Name its address, as in %s:%u:192.168.105.16:%u",
			       forward_proto_name(forward->spec.proto), forward->spec.host.port,
			       forward->spec.guest.port);
		return -EINVAL;
	}
	return exposed_add(c->exposed, forward, error);
}

static int unexpose(void *arg, const struct control_forward *forward, char *error)
{
	const struct app_control *c = arg;

	return exposed_remove(c->exposed, forward, error);
}

static int no_guest(const char *name, char *error)
{
	(void)snprintf(error, CONTROL_ERROR_SIZE,
		       "no guest \"%s\"; `netfwd ip` shows those there are", name);
	return -ENOENT;
}

/* To its rules, and to its loopback address. */
static int report_shared(const struct app_control *c, const char *guest,
			 const struct control_report *r, char *error)
{
	struct loopbacks *loopbacks = c->setup.loopbacks;
	int by_rules = guest_set_report(c->setup.guests, guest, r), by_address = -ENOENT;

	if (loopbacks)
		by_address = loopbacks_report(loopbacks, guest, r, error);
	if (by_rules != -ENOENT && by_rules < 0)
		(void)snprintf(error, CONTROL_ERROR_SIZE, "%s", strerror(-by_rules));
	if (by_rules == 0 && by_address == -ENOENT)
		return 0; /* it has no address yet */
	if (by_rules == -ENOENT && !loopbacks)
		return no_guest(guest, error);
	return by_rules == -ENOENT ? by_address : by_rules < 0 ? by_rules : by_address;
}

static int report(void *arg, const char *guest, const struct control_report *r, char *error)
{
	const struct app_control *c = arg;
	int result;

	if (c->setup.options->is_shared)
		return report_shared(c, guest, r, error);
	if (strcmp(guest, GUEST_NAME) != 0) {
		(void)snprintf(error, CONTROL_ERROR_SIZE, "no guest \"%s\"; there is \"%s\"", guest,
			       GUEST_NAME);
		return -ENOENT;
	}
	result = guest_set_report(c->setup.guests, "", r);
	if (result < 0)
		(void)snprintf(error, CONTROL_ERROR_SIZE, "%s", strerror(-result));
	return result;
}

static void on_unchangeable(void *arg, const char *key)
{
	const struct app_control *c = arg;

	log_warn("%s: %s has changed, which takes effect when netfwd is started again",
		 c->setup.options->config_path, key);
}

static int reload(void *arg, char *error)
{
	struct app_control *c = arg;
	const char *path = c->setup.options->config_path;
	const struct config *in_force;
	struct config *config = NULL;
	int r;

	if (!path) {
		(void)snprintf(error, CONTROL_ERROR_SIZE,
			       "this netfwd was started without --config");
		return -EINVAL;
	}
	r = config_env_read(path, options_guest_kind(c->setup.options), &config);
	if (r == 0) {
		config_env_make_socket_dir(config);
		r = guest_set_use(c->setup.guests, config);
	}
	if (r < 0) {
		config_free(config);
		(void)snprintf(error, CONTROL_ERROR_SIZE,
			       "%s: not loaded, the old rules stay; `netfwd check --config %s` "
			       "says what is wrong",
			       path, path);
		return -EINVAL;
	}
	in_force = c->reloaded ? c->reloaded : c->setup.options->config;
	config_changes(in_force, config, on_unchangeable, c);
	log_setup(c->setup.options, config);
	config_free(c->reloaded);
	c->reloaded = config;
	log_info("%s was loaded again", path);
	return 0;
}

int app_control_new(struct loop *loop, const struct app_control_setup *setup,
		    struct app_control **out)
{
	struct app_control *c = calloc(1, sizeof(*c));
	const struct control_ops ops = {
		.list_guests = list_guests,
		.list_forwards = list_forwards,
		.list_ways = list_ways,
		.list_counters = list_counters,
		.expose = expose,
		.unexpose = unexpose,
		.report = report,
		.reload = reload,
		.arg = c,
	};
	int r;

	if (!c)
		return -ENOMEM;
	c->setup = *setup;
	r = exposed_new(guest_set_publisher(setup->guests), guest_set_find_ways(setup->guests, ""),
			&c->exposed);
	if (r == 0)
		r = control_socket_open(loop, setup->options->control_path, &ops, &c->control);
	if (r < 0) {
		app_control_free(c);
		return r;
	}
	*out = c;
	return 0;
}

void app_control_free(struct app_control *c)
{
	if (!c)
		return;
	control_free(c->control);
	exposed_free(c->exposed);
	config_free(c->reloaded);
	free(c);
}
