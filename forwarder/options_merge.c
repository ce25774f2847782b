/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/options_merge.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

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

int options_merge(struct options *options, const struct config *config,
		  char error[static OPTIONS_ERROR_SIZE])
{
	merge_guest(options, &config->guest);
	if (options->is_ifname_given && options->link != OPTIONS_LINK_NETNS) {
		(void)snprintf(error, OPTIONS_ERROR_SIZE,
			       "--ifname names the interface of a guest that is a namespace; "
			       "give --netns or guest.netns too, or leave it out");
		return -EINVAL;
	}
	merge_logging(options, &config->logging);
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
