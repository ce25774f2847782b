/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/config_changes.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

enum kind { TEXT, NUMBER };

/* A member of a struct: of the configuration, or of its section of many guests. */
struct key {
	const char *name;
	enum kind kind;
	size_t at, size;
};

#define TEXT_KEY(name, type, member)                                               \
	{                                                                          \
		name, TEXT, offsetof(type, member), sizeof(((type *)NULL)->member) \
	}
#define KEY(name, type, member)                                                      \
	{                                                                            \
		name, NUMBER, offsetof(type, member), sizeof(((type *)NULL)->member) \
	}
#define N_KEYS(keys) (sizeof(keys) / sizeof((keys)[0]))

static const struct key keys[] = {
	TEXT_KEY("network.cidr", struct config, network.cidr),
	KEY("network.mtu", struct config, network.mtu),
	KEY("network.hostLoopback", struct config, network.host_loopback),
	TEXT_KEY("guest.stream", struct config, guest.stream),
	TEXT_KEY("guest.dgram", struct config, guest.dgram),
	TEXT_KEY("guest.vhostUser", struct config, guest.vhost_user),
	TEXT_KEY("guest.netns", struct config, guest.netns),
	TEXT_KEY("guest.ifname", struct config, guest.ifname),
	TEXT_KEY("guest.vsock", struct config, guest.vsock),
	KEY("guest.vsockCid", struct config, guest.vsock_cid),
	KEY("guest.busyPoll", struct config, guest.busy_poll_us),
	TEXT_KEY("guest.vsockUds", struct config, guest.vsock_uds),
	TEXT_KEY("guest.vsockConnect", struct config, guest.vsock_connect),
	TEXT_KEY("ssh.host", struct config, ssh.host),
	KEY("ssh.port", struct config, ssh.port),
	TEXT_KEY("ssh.user", struct config, ssh.user),
	TEXT_KEY("ssh.identityFile", struct config, ssh.identity_file),
	KEY("ssh.hostKeyChecking", struct config, ssh.host_key_checking),
	TEXT_KEY("ssh.knownHosts", struct config, ssh.known_hosts),
	KEY("ssh.overVsock", struct config, ssh.over_vsock),
	KEY("ssh.keepalive.interval", struct config, ssh.keepalive.interval),
	KEY("ssh.keepalive.countMax", struct config, ssh.keepalive.count_max),
	KEY("agent.transport", struct config, agent.transport),
	TEXT_KEY("agent.path", struct config, agent.path),
	KEY("agent.port", struct config, agent.port),
	TEXT_KEY("agent.host", struct config, agent.host),
	TEXT_KEY("agent.tokenFile", struct config, agent.token_file),
	TEXT_KEY("logging.pcap", struct config, logging.pcap),
};

static const struct key shared_keys[] = {
	TEXT_KEY("shared.stream", struct config_shared, stream),
	TEXT_KEY("shared.hostInterface", struct config_shared, host_interface),
	TEXT_KEY("shared.uplink", struct config_shared, uplink),
	KEY("shared.isolate", struct config_shared, isolate),
	KEY("shared.portSecurity", struct config_shared, port_security),
	TEXT_KEY("shared.leases", struct config_shared, leases),
	TEXT_KEY("shared.range", struct config_shared, range),
	TEXT_KEY("shared.loopback", struct config_shared, loopback),
	KEY("shared.leaseTime", struct config_shared, lease_time),
};

#define LIST(name, member)                                         \
	{                                                          \
		name, offsetof(struct config_shared, member),      \
			offsetof(struct config_shared, n_##member) \
	}

static const struct list_key {
	const char *name;
	size_t at, n_at;
} shared_lists[] = {
	LIST("shared.dgram", dgram),   LIST("shared.vhostUser", vhost_user),
	LIST("shared.netns", netns),   LIST("shared.ntp", ntp),
	LIST("shared.search", search),
};

/* NULL is as "" is: not given. */
static bool text_differs(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") != 0;
}

static bool key_differs(const struct key *key, const void *before, const void *after)
{
	const char *a = (const char *)before + key->at, *b = (const char *)after + key->at;
	const char *texts[2];

	if (key->kind == NUMBER)
		return memcmp(a, b, key->size) != 0;
	memcpy(&texts[0], a, sizeof(texts[0]));
	memcpy(&texts[1], b, sizeof(texts[1]));
	return text_differs(texts[0], texts[1]);
}

struct texts {
	char **all;
	unsigned int n;
};

static bool texts_differ(struct texts a, struct texts b)
{
	if (a.n != b.n)
		return true;
	for (unsigned int i = 0; i < a.n; i++) {
		if (text_differs(a.all[i], b.all[i]))
			return true;
	}
	return false;
}

static bool list_differs(const struct list_key *key, const struct config_shared *before,
			 const struct config_shared *after)
{
	const struct config_shared *both[] = { before, after };
	struct texts texts[2];

	for (int i = 0; i < 2; i++) {
		memcpy(&texts[i].all, (const char *)both[i] + key->at, sizeof(texts[i].all));
		memcpy(&texts[i].n, (const char *)both[i] + key->n_at, sizeof(texts[i].n));
	}
	return texts_differ(texts[0], texts[1]);
}

static bool commands_differ(const struct config_agent *a, const struct config_agent *b)
{
	return texts_differ((struct texts){ a->command, a->n_command },
			    (struct texts){ b->command, b->n_command });
}

static bool guests_differ(const struct config_shared *a, const struct config_shared *b)
{
	if (a->n_guests != b->n_guests)
		return true;
	for (unsigned int i = 0; i < a->n_guests; i++) {
		for (size_t k = 0; k < N_KEYS(keys); k++) {
			if (key_differs(&keys[k], &a->guests[i].own, &b->guests[i].own))
				return true;
		}
		if (text_differs(a->guests[i].name, b->guests[i].name) ||
		    text_differs(a->guests[i].mac, b->guests[i].mac) ||
		    text_differs(a->guests[i].address, b->guests[i].address))
			return true;
	}
	return false;
}

static bool ports_differ(const struct config_shared *a, const struct config_shared *b)
{
	return a->n_loopback_ports != b->n_loopback_ports ||
	       (a->n_loopback_ports > 0 &&
		memcmp(a->loopback_ports, b->loopback_ports,
		       a->n_loopback_ports * sizeof(*a->loopback_ports)) != 0);
}

void config_changes(const struct config *before, const struct config *after, config_change_fn *fn,
		    void *arg)
{
	static const struct config_shared none;
	const struct config_shared *shared_before = before->shared ? before->shared : &none;
	const struct config_shared *shared_after = after->shared ? after->shared : &none;

	for (size_t i = 0; i < N_KEYS(keys); i++) {
		if (key_differs(&keys[i], before, after))
			fn(arg, keys[i].name);
	}
	for (size_t i = 0; i < N_KEYS(shared_keys); i++) {
		if (key_differs(&shared_keys[i], shared_before, shared_after))
			fn(arg, shared_keys[i].name);
	}
	for (size_t i = 0; i < N_KEYS(shared_lists); i++) {
		if (list_differs(&shared_lists[i], shared_before, shared_after))
			fn(arg, shared_lists[i].name);
	}
	if (commands_differ(&before->agent, &after->agent))
		fn(arg, "agent.command");
	if (guests_differ(shared_before, shared_after))
		fn(arg, "shared.guests");
	if (ports_differ(shared_before, shared_after))
		fn(arg, "shared.loopbackPorts");
}
