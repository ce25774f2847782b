/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/guest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "forwarder/agent_link.h"
#include "forwarder/options.h"
#include "forwarder/policy.h"
#include "forwarder/port_watch.h"
#include "forwarder/ssh/ssh_tunnel.h"
#include "forwarder/ssh_way.h"
#include "forwarder/tunnel_netns.h"
#include "forwarder/tunnel_nic.h"
#include "forwarder/ways.h"
#include "netstack/base/log.h"
#include "netstack/stack.h"

struct guest {
	struct loop *loop;
	struct guest_setup setup;
	struct ways *ways;
	struct ssh_way *ssh;	  /* NULL: there is no SSH to it */
	struct agent_link *agent; /* NULL: there is none */
	struct policy *policy;
	struct port_watch *watch; /* NULL: the agent tells, or nobody follows them */
};

static bool is_namespace(const struct options *o)
{
	return o->link == OPTIONS_LINK_NETNS;
}

/* A namespace needs nobody who tells. */
const struct config_agent *guest_agent(const struct options *o)
{
	static const struct config_agent by_ssh = { .transport = CONFIG_AGENT_SSH };

	if (!o->config || o->config->agent.transport == CONFIG_AGENT_NONE)
		return NULL;
	if (o->config->agent.transport != CONFIG_AGENT_DEFAULT)
		return &o->config->agent;
	if (is_namespace(o) || o->link == OPTIONS_LINK_SHARED || o->config->plain == RULE_SWITCH_ON)
		return NULL;
	return config_uses_ssh(&o->config->ssh) ? &by_ssh : NULL;
}

/* --- what it listens on -------------------------------------------------- */

static void on_listeners(void *arg, const struct port_listener *all, unsigned int n)
{
	struct guest *guest = arg;
	struct rule_listener *listeners = calloc(n + 1U, sizeof(*listeners));

	if (!listeners) {
		log_error("no memory for what the guest listens on");
		return;
	}
	for (unsigned int i = 0; i < n; i++)
		listeners[i] = (struct rule_listener){ all[i].proto, all[i].guest };
	policy_set_listeners(guest->policy, listeners, n);
	free(listeners);
	if (guest->setup.listeners)
		guest->setup.listeners(guest->setup.arg, all, n);
}

static void on_agent_listeners(void *arg, const struct port_listener *all, unsigned int n)
{
	struct guest *guest = arg;
	struct port_range clients = agent_link_ephemeral(guest->agent);

	policy_set_client_ports(guest->policy, clients.first, clients.last);
	on_listeners(guest, all, n);
}

void guest_reloaded(struct guest *guest)
{
	if (guest->watch)
		port_watch_set_client_age(guest->watch, policy_wants_client_ports(guest->policy) ?
								0 :
								PORT_WATCH_NO_CLIENTS);
}

/* A namespace's ports are followed when there are rules for them, and no agent that
 * tells. */
static int start_watch(struct guest *guest)
{
	const struct options *o = guest->setup.options;
	const struct port_watch_config config = {
		.netns = o->netns,
		.client_age_ms = PORT_WATCH_NO_CLIENTS, /* but see guest_reloaded() */
		.changed = on_listeners,
		.arg = guest,
	};

	struct port_range clients;
	int r;

	if (!is_namespace(o) || !o->config || guest->agent)
		return 0;
	r = port_watch_new(guest->loop, &config, &guest->watch);
	if (r < 0)
		return r;
	clients = port_watch_ephemeral(guest->watch);
	policy_set_client_ports(guest->policy, clients.first, clients.last);
	guest_reloaded(guest);
	return 0;
}

int guest_start(struct guest *guest)
{
	int r = policy_start(guest->policy);

	return r < 0 ? r : start_watch(guest);
}

/* --- the ways into it ---------------------------------------------------- */

static int add_nic(struct guest *guest)
{
	const struct guest_setup *setup = &guest->setup;
	struct tunnel *tunnel;
	int r = tunnel_nic_new(setup->stack, setup->network, is_namespace(setup->options), &tunnel);

	if (r == 0)
		ways_add(guest->ways, RULE_VIA_DIRECT, tunnel);
	return r;
}

static int add_netns(struct guest *guest)
{
	const struct options *o = guest->setup.options;
	struct tunnel *tunnel;
	int r;

	if (!is_namespace(o))
		return 0;
	r = tunnel_netns_new(guest->loop, o->netns, &tunnel);
	if (r == 0)
		ways_add(guest->ways, RULE_VIA_NETNS, tunnel);
	return r;
}

static int add_ssh(struct guest *guest)
{
	const struct ssh_way_setup setup = {
		.stack = guest->setup.stack,
		.vsock = guest->setup.vsock,
		.guest = &guest->setup.network->guest4,
		.guest_name = guest->setup.name,
		.options = guest->setup.options,
	};
	int r = ssh_way_new(guest->loop, &setup, &guest->ssh);

	if (r == 0 && guest->ssh)
		ways_add(guest->ways, RULE_VIA_SSH, ssh_way_tunnel(guest->ssh));
	return r;
}

static int run_by_ssh(void *arg, const char *command, struct stream **out)
{
	struct guest *guest = arg;

	return ssh_tunnel_run(ssh_way_tunnel(guest->ssh), command, out);
}

static int add_agent(struct guest *guest)
{
	const struct agent_link_setup setup = {
		.transport = {
			.config = guest_agent(guest->setup.options),
			.vsock = guest->setup.vsock,
			.stack = guest->setup.stack,
			.guest = &guest->setup.network->guest4,
			.run = run_by_ssh,
			.run_arg = guest,
			.serial_fd = guest->setup.agent_fd,
		},
		.listeners = on_agent_listeners,
		.arg = guest,
	};
	int r;

	if (!setup.transport.config)
		return 0;
	guest->setup.agent_fd = -1; /* the agent's from here on */
	r = agent_link_new(guest->loop, &setup, &guest->agent);
	if (r == 0)
		ways_add(guest->ways, RULE_VIA_GRPC, agent_link_tunnel(guest->agent));
	if (r == 0 && agent_link_raw_tunnel(guest->agent))
		ways_add(guest->ways, RULE_VIA_VSOCK, agent_link_raw_tunnel(guest->agent));
	return r;
}

static int open_ways(struct guest *guest)
{
	int r = add_nic(guest);

	if (r == 0)
		r = add_netns(guest);
	if (r == 0)
		r = add_ssh(guest);
	return r < 0 ? r : add_agent(guest); /* which may come by SSH */
}

int guest_new(struct loop *loop, const struct guest_setup *setup, struct guest **out)
{
	struct guest *guest = calloc(1, sizeof(*guest));
	struct policy_setup policy = { .publisher = setup->publisher,
				       .options = setup->options,
				       .guest_name = setup->name };
	int r;

	if (!guest)
		return -ENOMEM;
	guest->loop = loop;
	guest->setup = *setup;
	r = ways_new(loop, &guest->ways);
	policy.ways = guest->ways;
	if (r == 0)
		r = policy_new(loop, &policy, &guest->policy);
	if (r < 0)
		log_error("cannot start: %s", strerror(-r));
	else
		r = open_ways(guest);
	if (r < 0)
		guest_free(guest);
	else
		*out = guest;
	return r;
}

void guest_free(struct guest *guest)
{
	if (!guest)
		return;
	port_watch_free(guest->watch);
	policy_free(guest->policy);
	if (guest->agent) { /* its tunnels are its own */
		ways_remove(guest->ways, RULE_VIA_VSOCK);
		ways_remove(guest->ways, RULE_VIA_GRPC);
	}
	agent_link_free(guest->agent);
	ways_free(guest->ways);
	ssh_way_free(guest->ssh);
	if (guest->setup.agent_fd >= 0)
		close(guest->setup.agent_fd);
	free(guest);
}

struct policy *guest_policy(const struct guest *guest)
{
	return guest->policy;
}

struct ways *guest_ways(const struct guest *guest)
{
	return guest->ways;
}
