/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/options_merge.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* A vsock of the command line replaces the file's. */
static void merge_vsock(struct options *o, const struct config_guest *guest)
{
	if (!o->vsock_peer && !o->vsock_path && !o->vsock_cid && !o->vsock_uds)
		o->vsock_peer = guest->vsock_connect;
	if (o->vsock_peer)
		return;
	if (!o->vsock_path)
		o->vsock_path = guest->vsock;
	if (!o->vsock_cid)
		o->vsock_cid = (uint32_t)guest->vsock_cid;
	if (!o->vsock_uds)
		o->vsock_uds = guest->vsock_uds;
}

static void merge_guest(struct options *o, const struct config_guest *guest)
{
	if (o->link == OPTIONS_LINK_USER && guest->stream) {
		o->link = OPTIONS_LINK_STREAM;
		o->link_path = guest->stream;
	} else if (o->link == OPTIONS_LINK_USER && guest->dgram) {
		o->link = OPTIONS_LINK_DGRAM;
		o->link_path = guest->dgram;
	} else if (o->link == OPTIONS_LINK_USER && guest->vhost_user) {
		o->link = OPTIONS_LINK_VHOST_USER;
		o->link_path = guest->vhost_user;
	} else if (o->link == OPTIONS_LINK_USER && guest->netns) {
		o->link = OPTIONS_LINK_NETNS;
		o->netns = guest->netns;
	}
	if (o->link == OPTIONS_LINK_NETNS && !o->is_ifname_given && guest->ifname)
		o->ifname = guest->ifname;
	if (!o->busy_poll_us)
		o->busy_poll_us = (unsigned int)guest->busy_poll_us;
	merge_vsock(o, guest);
}

static void add_link(struct options *o, enum options_link link, const char *where)
{
	o->links[o->n_links++] =
		(struct options_link_spec){ .link = link, .where = where, .fd = -1 };
}

/* Guests on the command line replace the file's. */
static int merge_shared(struct options *o, const struct config_shared *shared, char *error)
{
	size_t n =
		(size_t)o->n_links + 1 + shared->n_dgram + shared->n_vhost_user + shared->n_netns;
	struct options_link_spec *links = reallocarray(o->links, n, sizeof(*links));
	bool has_guests = o->n_links > 0;
	int r;

	if (!links) {
		(void)snprintf(error, OPTIONS_ERROR_SIZE, "out of memory");
		return -ENOMEM;
	}
	o->links = links;
	o->is_shared = true;
	o->link = OPTIONS_LINK_SHARED;
	if (!has_guests && shared->stream)
		add_link(o, OPTIONS_LINK_STREAM, shared->stream);
	for (unsigned int i = 0; !has_guests && i < shared->n_dgram; i++)
		add_link(o, OPTIONS_LINK_DGRAM, shared->dgram[i]);
	for (unsigned int i = 0; !has_guests && i < shared->n_vhost_user; i++)
		add_link(o, OPTIONS_LINK_VHOST_USER, shared->vhost_user[i]);
	for (unsigned int i = 0; !has_guests && i < shared->n_netns; i++)
		add_link(o, OPTIONS_LINK_NETNS, shared->netns[i]);
	r = shared_options_merge(&o->shared, shared, error);
	if (r == -ENOMEM)
		(void)snprintf(error, OPTIONS_ERROR_SIZE, "out of memory");
	return r;
}

static bool wants_shared(const struct options *o)
{
	return o->shared.host_interface || o->shared.host_fd || o->shared.uplink ||
	       o->shared.isolate || o->shared.leases || !ipaddr_is_any(&o->shared.loopback);
}

static int merge_network(struct options *o, const struct config_network *network, char *error)
{
	char why[NETWORK_SPEC_ERROR_SIZE];

	if (!o->is_mtu_given && network->mtu)
		o->mtu = (uint16_t)network->mtu;
	if (network->host_loopback == RULE_SWITCH_OFF)
		o->host_loopback = false;
	if (o->prefix4_bits > 0 || !network->cidr)
		return 0;
	if (network_spec_parse(network->cidr, &o->network4, &o->prefix4_bits, why) == 0)
		return 0;
	(void)snprintf(error, OPTIONS_ERROR_SIZE, "network.cidr %.64s: %s", network->cidr, why);
	return -EINVAL;
}

static void merge_logging(struct options *o, const struct config_logging *logging)
{
	/* level and json are log_setup()'s: they may change */
	if (!o->pcap_path)
		o->pcap_path = logging->pcap;
}

/* Only for its own QEMU netfwd makes a serial port. */
static int check_agent(const struct options *o, const struct config_agent *agent, char *error)
{
	if (agent->transport == CONFIG_AGENT_VSOCK && !o->vsock_path && !o->vsock_cid &&
	    !o->vsock_peer) {
		(void)snprintf(error, OPTIONS_ERROR_SIZE,
			       "agent.transport is vsock, but the guest has none: give --vsock, "
			       "--vsock-cid or --vsock-connect, or guest.vsock, guest.vsockCid or "
			       "guest.vsockConnect, too");
		return -EINVAL;
	}
	if (agent->transport != CONFIG_AGENT_SERIAL || agent->path || o->link == OPTIONS_LINK_QEMU)
		return 0;
	(void)snprintf(error, OPTIONS_ERROR_SIZE,
		       "agent.path must be set when agent.transport is serial, to the socket of "
		       "QEMU's port; only netfwd qemu makes one by itself");
	return -EINVAL;
}

/* QEMU gets the device from us: the CID is one of that guest's and ours alone. */
static bool needs_vsock_of_qemu(const struct options *o, const struct config *config)
{
	return o->link == OPTIONS_LINK_QEMU && !o->vsock_cid && !o->vsock_peer &&
	       (o->vsock_uds || config->agent.transport == CONFIG_AGENT_VSOCK);
}

int options_merge(struct options *options, const struct config *config,
		  char error[static OPTIONS_ERROR_SIZE])
{
	if (config->shared && options->link == OPTIONS_LINK_QEMU) {
		(void)snprintf(error, OPTIONS_ERROR_SIZE,
			       "netfwd qemu has one guest, but the file has a shared network");
		return -EINVAL;
	}
	if (config->shared) {
		int r = merge_shared(options, config->shared, error);

		if (r < 0)
			return r;
	} else if (options->link != OPTIONS_LINK_SHARED) {
		merge_guest(options, &config->guest);
	}
	if (wants_shared(options) && !options->is_shared) {
		(void)snprintf(error, OPTIONS_ERROR_SIZE,
			       "--host-interface, --host-interface-fd, --uplink, --isolate, "
			       "--loopback and --leases are of a "
			       "network of many guests; add --shared");
		return -EINVAL;
	}
	if (options->shared.host_fd && options->shared.host_interface) {
		(void)snprintf(error, OPTIONS_ERROR_SIZE,
			       "--host-interface-fd and --host-interface %.15s (or "
			       "shared.hostInterface) are both the host's interface: give one",
			       options->shared.host_interface);
		return -EINVAL;
	}
	if (needs_vsock_of_qemu(options, config))
		options->vsock_cid = OPTIONS_CID_DEFAULT;
	if (options->vsock_uds && !options->vsock_path && !options->vsock_cid) {
		(void)snprintf(error, OPTIONS_ERROR_SIZE,
			       "--vsock-uds offers the guest's vsock to other programs; "
			       "give --vsock or guest.vsock too, or a CID");
		return -EINVAL;
	}
	if (options_check_polling(options, error) < 0)
		return -EINVAL;
	if (options->is_ifname_given && options->link != OPTIONS_LINK_NETNS &&
	    options->link != OPTIONS_LINK_SHARED) {
		(void)snprintf(error, OPTIONS_ERROR_SIZE,
			       "--ifname names the interface of a guest that is a namespace; "
			       "give --netns or guest.netns too, or leave it out");
		return -EINVAL;
	}
	merge_logging(options, &config->logging);
	if (check_agent(options, &config->agent, error) < 0)
		return -EINVAL;
	options->config = config;
	return merge_network(options, &config->network, error);
}

enum config_guest_kind options_guest_kind(const struct options *options)
{
	switch (options->link) {
	case OPTIONS_LINK_NETNS:
		return CONFIG_GUEST_NAMESPACE;
	case OPTIONS_LINK_USER:
		return options->config ? CONFIG_GUEST_OTHER : CONFIG_GUEST_OF_FILE;
	case OPTIONS_LINK_STREAM:
	case OPTIONS_LINK_DGRAM:
	case OPTIONS_LINK_FD:
	case OPTIONS_LINK_QEMU:
	case OPTIONS_LINK_VHOST_USER:
	case OPTIONS_LINK_SHARED:
		break;
	}
	return CONFIG_GUEST_OTHER;
}

static struct rule_set set_without_config(const struct options *options)
{
	return (struct rule_set){ .types = options->link == OPTIONS_LINK_NETNS ?
						   RULE_TYPES_NAMESPACE :
						   RULE_TYPES_DEFAULT };
}

int options_rules(const struct options *options, const struct config *config, struct rule **rules,
		  struct rule_set *set)
{
	unsigned int n_from_file = config ? config->set.n_rules : 0, n = 0;
	struct rule *all = calloc((size_t)options->n_forwards + n_from_file + 1, sizeof(*all));

	if (!all)
		return -ENOMEM;
	for (unsigned int i = 0; i < options->n_forwards; i++)
		all[n++] = rule_from_forward(&options->forwards[i], i);
	for (unsigned int i = 0; i < n_from_file; i++)
		all[n++] = config->set.rules[i];
	*set = config ? config->set : set_without_config(options);
	set->rules = all;
	set->n_rules = n;
	*rules = all;
	return 0;
}
