/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/config_check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#include "forwarder/network_spec.h"
#include "forwarder/shared_options.h"

#define SOCKET_PATH_SIZE (sizeof(((struct sockaddr_un *)0)->sun_path))

static void check_range(const char *field, long value, long max, struct problems *problems)
{
	/* 0 is "not given", as everywhere in Lima's files. */
	if (value < 0 || value > max)
		problems_error(problems, field, "must be 1 to %ld, but is %ld", max, value);
}

static void check_network(const struct config_network *n, struct problems *problems)
{
	char error[NETWORK_SPEC_ERROR_SIZE];
	struct ipaddr network;
	unsigned int bits;

	if (n->cidr && network_spec_parse(n->cidr, &network, &bits, error) < 0)
		problems_error(problems, "network.cidr", "is \"%.64s\": %s", n->cidr, error);
	if (n->mtu != 0 && (n->mtu < NETWORK_SPEC_MTU_MIN || n->mtu > NETWORK_SPEC_MTU_MAX))
		problems_error(problems, "network.mtu",
			       "must be %d (the least that IPv6 allows) to %d, but is %d",
			       NETWORK_SPEC_MTU_MIN, NETWORK_SPEC_MTU_MAX, n->mtu);
}

static void check_socket(const char *field, const char *path, struct problems *problems)
{
	if (path && strlen(path) >= SOCKET_PATH_SIZE)
		problems_error(problems, field, "must have less than %zu characters, but has %zu",
			       SOCKET_PATH_SIZE, strlen(path));
}

static bool has_vsock(const struct config_guest *g)
{
	return g->vsock || g->vsock_cid || g->vsock_connect;
}

/* section: "guest." or "", where it is written. */
static void check_vsock(const struct config_guest *g, const char *section,
			struct problems *problems)
{
	char path[32], cid[32], uds[32], peer[32];

	(void)snprintf(path, sizeof(path), "%svsock", section);
	(void)snprintf(cid, sizeof(cid), "%svsockCid", section);
	(void)snprintf(uds, sizeof(uds), "%svsockUds", section);
	(void)snprintf(peer, sizeof(peer), "%svsockConnect", section);
	check_socket(path, g->vsock, problems);
	check_socket(uds, g->vsock_uds, problems);
	check_socket(peer, g->vsock_connect, problems);
	if (g->vsock_connect && (g->vsock || g->vsock_cid || g->vsock_uds))
		problems_error(problems, peer,
			       "is for a vsock that another program has; "
			       "leave vsock, vsockCid and vsockUds out");
	if (g->vsock_cid && (g->vsock_cid < 3 || g->vsock_cid >= UINT32_MAX))
		problems_error(problems, cid, "must be 3 to %u, but is %lld", UINT32_MAX - 1,
			       (long long)g->vsock_cid);
	if (g->vsock_uds && !has_vsock(g))
		problems_error(problems, uds,
			       "offers the guest's vsock to other programs; "
			       "give %svsock or %svsockCid too",
			       section, section);
}

static void check_guest(const struct config_guest *g, struct problems *problems)
{
	char error[NETWORK_SPEC_ERROR_SIZE];

	if (g->busy_poll_us < 0 || g->busy_poll_us > NETWORK_SPEC_BUSY_POLL_MAX)
		problems_error(problems, "guest.busyPoll",
			       "must be 1 to %d, in microseconds, but is %d",
			       NETWORK_SPEC_BUSY_POLL_MAX, g->busy_poll_us);
	check_socket("guest.stream", g->stream, problems);
	check_socket("guest.dgram", g->dgram, problems);
	check_socket("guest.vhostUser", g->vhost_user, problems);
	check_vsock(g, "guest.", problems);
	if (!!g->stream + !!g->dgram + !!g->vhost_user + !!g->netns > 1)
		problems_error(problems, "guest",
			       "must have at most one of stream, dgram, vhostUser and netns: "
			       "one netfwd serves one guest");
	if (g->ifname && !g->netns)
		problems_error(problems, "guest.ifname",
			       "names the interface that netns gets; give guest.netns too");
	if (g->ifname && network_spec_check_ifname(g->ifname, error) < 0)
		problems_error(problems, "guest.ifname", "is \"%.64s\": %s", g->ifname, error);
}

/* They end up in a line of a file, and between blanks. */
static void check_word(const char *where, const char *word, struct problems *problems)
{
	if (word && (!*word || word[strcspn(word, " \t,*?!#|")]))
		problems_error(problems, where,
			       "is \"%.64s\": there is a character in it that "
			       "no host has",
			       word);
}

static void check_ifname(const char *field, const char *name, struct problems *problems)
{
	char error[NETWORK_SPEC_ERROR_SIZE];

	if (name && network_spec_check_ifname(name, error) < 0)
		problems_error(problems, field, "is \"%.64s\": %s", name, error);
}

static bool has_ssh(const struct config_ssh *s)
{
	return s->host || s->port || s->local_port || s->user || s->identity_file ||
	       s->host_key_checking != CONFIG_HOST_KEYS_DEFAULT ||
	       s->over_vsock != RULE_SWITCH_DEFAULT || s->keepalive.interval ||
	       s->keepalive.count_max;
}

static bool has_agent(const struct config_agent *a)
{
	return a->transport != CONFIG_AGENT_DEFAULT && a->transport != CONFIG_AGENT_NONE;
}

#define LEASE_TIME_MIN 60
#define LEASE_TIME_MAX 31536000 /* a year */

static void check_shared(const struct config *c, struct problems *problems)
{
	const struct config_shared *s = c->shared;
	struct shared_options options = { .guests = NULL };
	char error[SHARED_OPTIONS_ERROR_SIZE];

	if (!s)
		return;
	check_socket("shared.stream", s->stream, problems);
	for (unsigned int i = 0; i < s->n_dgram; i++)
		check_socket("shared.dgram", s->dgram[i], problems);
	for (unsigned int i = 0; i < s->n_vhost_user; i++)
		check_socket("shared.vhostUser", s->vhost_user[i], problems);
	check_ifname("shared.hostInterface", s->host_interface, problems);
	check_ifname("shared.uplink", s->uplink, problems);
	if (s->lease_time != 0 &&
	    (s->lease_time < LEASE_TIME_MIN || s->lease_time > LEASE_TIME_MAX))
		problems_error(problems, "shared.leaseTime", "must be %d to %d seconds, but is %d",
			       LEASE_TIME_MIN, LEASE_TIME_MAX, s->lease_time);
	if (c->guest.stream || c->guest.dgram || c->guest.vhost_user || c->guest.netns)
		problems_error(problems, "guest",
			       "is for a single guest; with shared, write it there");
	if (c->n_port_forwards)
		problems_error(problems, "portForwards",
			       "are rules for a single guest; with shared, write them under the "
			       "guest in shared.guests");
	if (has_ssh(&c->ssh))
		problems_error(problems, "ssh",
			       "is for a single guest; with shared, write it "
			       "under the guest in shared.guests");
	if (has_agent(&c->agent))
		problems_error(problems, "agent",
			       "is for a single guest; with shared, write it "
			       "under the guest in shared.guests");
	/* the same that the program does with it: "FIELD is ..." */
	if (shared_options_merge(&options, s, error) == -EINVAL) {
		size_t len = strcspn(error, " ");

		error[len] = '\0';
		problems_error(problems, error, "%s", error + len + 1);
	}
	shared_options_deinit(&options);
}

static void check_ssh(const struct config_ssh *s, struct problems *problems)
{
	check_word("ssh.host", s->host, problems);
	if (s->known_hosts && s->known_hosts[0] != '/')
		problems_error(problems, "ssh.knownHosts",
			       "is \"%.64s\": it must be an absolute path", s->known_hosts);
	check_range("ssh.port", s->port, UINT16_MAX, problems);
	check_range("ssh.localPort", s->local_port, UINT16_MAX, problems);
	if (s->local_port == 22)
		problems_error(problems, "ssh.localPort", "must not be 22");
	check_range("ssh.keepalive.interval", s->keepalive.interval, 86400, problems);
	check_range("ssh.keepalive.countMax", s->keepalive.count_max, 1000, problems);
}

static void check_agent_token(const struct config_agent *a, struct problems *problems)
{
	if (a->transport == CONFIG_AGENT_TCP && !a->token_file)
		problems_error(problems, "agent.tokenFile",
			       "must be set when agent.transport is tcp");
	if (a->transport != CONFIG_AGENT_TCP && a->token_file)
		problems_error(problems, "agent.tokenFile", "needs agent.transport to be tcp");
}

static void check_agent_host(const struct config_agent *a, struct problems *problems)
{
	struct ipaddr addr;

	if (!a->host)
		return;
	if (a->transport != CONFIG_AGENT_TCP)
		problems_error(problems, "agent.host", "needs agent.transport to be tcp");
	else if (ipaddr_parse(a->host, &addr) < 0 || ipaddr_is_any(&addr) ||
		 ipaddr_is_multicast(&addr))
		problems_error(problems, "agent.host",
			       "is \"%.64s\": must be an address to connect to", a->host);
}

static void check_agent_command(const struct config_agent *a, struct problems *problems)
{
	if (a->transport == CONFIG_AGENT_COMMAND && a->n_command == 0)
		problems_error(problems, "agent.command",
			       "must be set when agent.transport is command");
	if (a->transport != CONFIG_AGENT_COMMAND && a->n_command > 0)
		problems_error(problems, "agent.command", "needs agent.transport to be command");
	if (a->n_command > 0 && a->command[0][0] == '\0')
		problems_error(problems, "agent.command", "must begin with a program");
}

static void check_agent(const struct config_agent *a, const struct config_ssh *ssh,
			struct problems *problems)
{
	bool has_path = a->transport == CONFIG_AGENT_UNIX || a->transport == CONFIG_AGENT_SERIAL;
	bool has_port = a->transport == CONFIG_AGENT_VSOCK || a->transport == CONFIG_AGENT_TCP;

	check_range("agent.port", a->port,
		    has_port && a->transport == CONFIG_AGENT_VSOCK ? INT32_MAX : UINT16_MAX,
		    problems);
	check_socket("agent.path", a->path, problems);
	if (a->transport == CONFIG_AGENT_UNIX && !a->path)
		problems_error(problems, "agent.path", "must be set when agent.transport is unix");
	if (!has_path && a->path)
		problems_error(problems, "agent.path",
			       "needs agent.transport to be unix or serial");
	if (!has_port && a->port != 0)
		problems_error(problems, "agent.port", "needs agent.transport to be vsock or tcp");
	if (a->transport == CONFIG_AGENT_SSH && !config_uses_ssh(ssh))
		problems_error(problems, "agent.transport",
			       "is ssh, but nothing in ssh says how to log in: give ssh.user");
	check_agent_token(a, problems);
	check_agent_host(a, problems);
	check_agent_command(a, problems);
}

/* Lima's warning: a guest that cannot be asked gets all these ports at once. */
static void warn_of_wide_rules(const struct config *c, struct problems *problems)
{
	for (unsigned int i = 0; c->plain == RULE_SWITCH_ON && i < c->n_port_forwards; i++) {
		const struct rule *rule = &c->rules[i];

		if (rule->is_static && rule->guest_last - rule->guest_first >= 10)
			problems_warn(problems, "plain", "with portForwards[%u] opens %d ports", i,
				      rule->guest_last - rule->guest_first + 1);
		else if (!rule->is_static && !rule->is_ignore)
			problems_warn(problems, "plain",
				      "leaves portForwards[%u] without effect: it is not static",
				      i);
	}
}

static int make_rules(struct config *c, const struct config_context *context,
		      struct problems *problems)
{
	unsigned int errors_before = problems->n_errors;

	c->rules = calloc((size_t)c->n_port_forwards + 1, sizeof(*c->rules));
	if (!c->rules)
		return -ENOMEM;
	for (unsigned int i = 0; i < c->n_port_forwards; i++) {
		const struct rule_context rule_context = {
			.index = i,
			.socket_dir = context->socket_dir,
			.guest_variables = context->guest_variables,
			.host_variables = context->host_variables,
		};
		int r = rule_from_source(&c->port_forwards[i], &rule_context, &c->rules[i],
					 problems);

		if (r < 0 && r != -EINVAL)
			return r;
	}
	return problems->n_errors != errors_before ? -EINVAL : 0;
}

/* What reaches the guest is what its ports go by, if nothing else was said: they are
 * meant to appear without anyone doing anything. A namespace needs no tunnel. */
static struct rule_types_source types_source(const struct config *c,
					     const struct config_context *context)
{
	struct rule_types_source types = c->port_forward_types;
	bool is_namespace = context->guest == CONFIG_GUEST_NAMESPACE ||
			    (context->guest == CONFIG_GUEST_OF_FILE && c->guest.netns);

	if ((is_namespace || has_agent(&c->agent)) && types.tcp == RULE_VIA_DEFAULT &&
	    types.udp == RULE_VIA_DEFAULT && types.any == RULE_VIA_DEFAULT && !has_ssh(&c->ssh)) {
		types.tcp = RULE_TYPES_NAMESPACE.tcp;
		types.udp = RULE_TYPES_NAMESPACE.udp;
	}
	return types;
}

/* What is the same of a single guest and of one of a shared network. */
static int check_ways(struct config *config, const struct config_context *context,
		      struct problems *problems)
{
	unsigned int errors_before = problems->n_errors;
	struct rule_types_source types;
	int r;

	check_ssh(&config->ssh, problems);
	check_agent(&config->agent, &config->ssh, problems);
	r = make_rules(config, context, problems);
	if (r < 0 && r != -EINVAL)
		return r;
	types = types_source(config, context);
	/* With rules that are none, the types are still worth checking. */
	if (r == 0) {
		config->set.rules = config->rules;
		config->set.n_rules = config->n_port_forwards;
	}
	(void)rule_types_resolve(&types, &context->env, &config->set, problems);
	if (problems->n_errors != errors_before)
		return -EINVAL;
	config->set.is_plain = config->plain == RULE_SWITCH_ON;
	config->set.ssh_port = (uint16_t)config->ssh.local_port;
	config->ssh.over_vsock =
		rule_types_over_vsock(config->ssh.over_vsock, &context->env, problems);
	warn_of_wide_rules(config, problems);
	return 0;
}

/* A label (RFC 1035, section 2.3.1), as DNS has it. */
static bool is_label(const char *name)
{
	size_t len = strlen(name);

	return len > 0 && len < 64 && name[0] != '-' && name[len - 1] != '-' &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

static void check_guest_name(const struct config_shared_guest *g, struct problems *problems)
{
	if (!g->name && !g->mac)
		problems_error(problems, "mac", "must be given, or name: which guest is it?");
	else if (g->address && !g->mac)
		problems_error(problems, "address", "needs mac: whose is it?");
	if (g->name && !is_label(g->name))
		problems_error(
			problems, "name",
			"is \"%.64s\": must be 1 to 63 of a-z, 0-9 and -, no - at either end",
			g->name);
}

/* One of a shared network: its NIC's address is known, so it takes no tunnel. */
static int check_shared_guest(struct config_shared_guest *g, const struct config_context *context,
			      struct problems *problems)
{
	struct config_context own = *context;

	own.guest = CONFIG_GUEST_NAMESPACE;
	check_guest_name(g, problems);
	check_vsock(&g->own.guest, "", problems);
	if (g->own.agent.transport == CONFIG_AGENT_VSOCK && !has_vsock(&g->own.guest))
		problems_error(problems, "agent.transport",
			       "is vsock, but the guest has none: give vsock or vsockCid too");
	if (g->own.agent.transport == CONFIG_AGENT_SERIAL && !g->own.agent.path)
		problems_error(problems, "agent.path",
			       "must be set when agent.transport is serial, to the socket of "
			       "QEMU's port");
	return check_ways(&g->own, &own, problems);
}

static bool is_same_guest(const struct config_shared_guest *a, const struct config_shared_guest *b)
{
	return (a->name && b->name && strcmp(a->name, b->name) == 0) ||
	       (a->mac && b->mac && strcasecmp(a->mac, b->mac) == 0);
}

static int check_shared_guests(struct config *config, const struct config_context *context,
			       struct problems *problems)
{
	struct config_shared *s = config->shared;
	int result = 0;

	for (unsigned int i = 0; s && i < s->n_guests; i++) {
		int r;

		(void)snprintf(problems->prefix, sizeof(problems->prefix), "shared.guests[%u].", i);
		r = check_shared_guest(&s->guests[i], context, problems);
		for (unsigned int j = 0; j < i; j++) {
			if (is_same_guest(&s->guests[i], &s->guests[j]))
				problems_error(problems, s->guests[i].name ? "name" : "mac",
					       "is that of shared.guests[%u], too", j);
		}
		problems->prefix[0] = '\0';
		if (r < 0 && result != -ENOMEM)
			result = r;
	}
	return result;
}

int config_check(struct config *config, const struct config_context *context,
		 struct problems *problems)
{
	unsigned int errors_before = problems->n_errors;
	int r;

	check_network(&config->network, problems);
	check_guest(&config->guest, problems);
	check_shared(config, problems);
	r = check_ways(config, context, problems);
	if (r == 0 || r == -EINVAL)
		r = check_shared_guests(config, context, problems);
	if (r == -ENOMEM)
		return r;
	return problems->n_errors != errors_before ? -EINVAL : 0;
}
