/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/config_changes.h"

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
}
