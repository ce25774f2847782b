/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/config_changes.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

enum kind { TEXT, NUMBER };

#define TEXT_KEY(name, member)                                              \
	{                                                                   \
		name, TEXT, offsetof(struct config, member), sizeof(char *) \
	}
#define KEY(name, member)                                       \
	{                                                       \
		name, NUMBER, offsetof(struct config, member),  \
			sizeof(((struct config *)NULL)->member) \
	}

static const struct {
	const char *name;
	enum kind kind;
	size_t at, size;
} keys[] = {
	TEXT_KEY("network.cidr", network.cidr),
	KEY("network.mtu", network.mtu),
	KEY("network.hostLoopback", network.host_loopback),
	TEXT_KEY("guest.stream", guest.stream),
	TEXT_KEY("guest.dgram", guest.dgram),
	TEXT_KEY("guest.vhostUser", guest.vhost_user),
	TEXT_KEY("guest.netns", guest.netns),
	TEXT_KEY("guest.ifname", guest.ifname),
	TEXT_KEY("ssh.host", ssh.host),
	KEY("ssh.port", ssh.port),
	TEXT_KEY("ssh.user", ssh.user),
	TEXT_KEY("ssh.identityFile", ssh.identity_file),
	KEY("ssh.hostKeyChecking", ssh.host_key_checking),
	KEY("ssh.overVsock", ssh.over_vsock),
	KEY("ssh.keepalive.interval", ssh.keepalive.interval),
	KEY("ssh.keepalive.countMax", ssh.keepalive.count_max),
	KEY("agent.transport", agent.transport),
	TEXT_KEY("agent.path", agent.path),
	KEY("agent.port", agent.port),
	KEY("agent.cid", agent.cid),
	TEXT_KEY("agent.tokenFile", agent.token_file),
	TEXT_KEY("logging.pcap", logging.pcap),
};

static const char *text_at(const struct config *config, size_t at)
{
	const char *text;

	memcpy(&text, (const char *)config + at, sizeof(text));
	return text ? text : "";
}

static bool is_same_text(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") == 0;
}

static bool are_same_texts(char *const *a, unsigned int n_a, char *const *b, unsigned int n_b)
{
	for (unsigned int i = 0; i < n_a && n_a == n_b; i++) {
		if (!is_same_text(a[i], b[i]))
			return false;
	}
	return n_a == n_b;
}

static bool are_same_guests(const struct config_shared *a, const struct config_shared *b)
{
	for (unsigned int i = 0; i < a->n_guests && a->n_guests == b->n_guests; i++) {
		if (!is_same_text(a->guests[i].name, b->guests[i].name) ||
		    !is_same_text(a->guests[i].mac, b->guests[i].mac) ||
		    !is_same_text(a->guests[i].address, b->guests[i].address))
			return false;
	}
	return a->n_guests == b->n_guests;
}

static bool has_same_links(const struct config_shared *a, const struct config_shared *b)
{
	return is_same_text(a->stream, b->stream) &&
	       are_same_texts(a->dgram, a->n_dgram, b->dgram, b->n_dgram) &&
	       are_same_texts(a->vhost_user, a->n_vhost_user, b->vhost_user, b->n_vhost_user) &&
	       are_same_texts(a->netns, a->n_netns, b->netns, b->n_netns) &&
	       is_same_text(a->host_interface, b->host_interface) &&
	       is_same_text(a->uplink, b->uplink);
}

static bool is_same_shared(const struct config_shared *a, const struct config_shared *b)
{
	if (!a || !b)
		return a == b;
	return has_same_links(a, b) && is_same_text(a->leases, b->leases) &&
	       a->isolate == b->isolate && a->port_security == b->port_security &&
	       is_same_text(a->range, b->range) && is_same_text(a->loopback, b->loopback) &&
	       a->n_loopback_ports == b->n_loopback_ports &&
	       (a->n_loopback_ports == 0 ||
		memcmp(a->loopback_ports, b->loopback_ports,
		       a->n_loopback_ports * sizeof(*a->loopback_ports)) == 0) &&
	       a->lease_time == b->lease_time &&
	       are_same_texts(a->ntp, a->n_ntp, b->ntp, b->n_ntp) &&
	       are_same_texts(a->search, a->n_search, b->search, b->n_search) &&
	       are_same_guests(a, b);
}

void config_changes(const struct config *before, const struct config *after, config_change_fn *fn,
		    void *arg)
{
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		size_t at = keys[i].at;
		int differ;

		if (keys[i].kind == TEXT)
			differ = strcmp(text_at(before, at), text_at(after, at));
		else
			differ = memcmp((const char *)before + at, (const char *)after + at,
					keys[i].size);
		if (differ)
			fn(arg, keys[i].name);
	}
	if (!is_same_shared(before->shared, after->shared))
		fn(arg, "shared");
}
