/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The configuration file, netfwd.yaml(5), as plain data. A struct config that
 * came out of these functions is valid. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "forwarder/problems.h"
#include "forwarder/rule.h"
#include "forwarder/rule_source.h"
#include "forwarder/rule_types.h"

/* A larger file is no configuration: 1 MiB holds thousands of rules. */
#define CONFIG_SIZE_MAX (1024UL * 1024)

enum config_level { /* as -v has them */
		    CONFIG_LEVEL_DEFAULT,
		    CONFIG_LEVEL_WARN,
		    CONFIG_LEVEL_INFO,
		    CONFIG_LEVEL_DEBUG,
		    CONFIG_LEVEL_TRACE,
};

enum config_host_keys {
	CONFIG_HOST_KEYS_DEFAULT,
	CONFIG_HOST_KEYS_YES,
	CONFIG_HOST_KEYS_ACCEPT_NEW,
	CONFIG_HOST_KEYS_NO,
};

enum config_agent_transport {
	CONFIG_AGENT_DEFAULT,
	CONFIG_AGENT_NONE,
	CONFIG_AGENT_VSOCK,
	CONFIG_AGENT_SERIAL,
	CONFIG_AGENT_UNIX,
	CONFIG_AGENT_TCP,
	CONFIG_AGENT_SSH,     /* brought along at each connection */
	CONFIG_AGENT_COMMAND, /* started by one of the user's */
};

/* In each section 0 and NULL mean: not given. */
struct config_network {
	char *cidr; /* as network_spec_parse() has it */
	int mtu;
	enum rule_switch host_loopback;
};

struct config_guest {			   /* at most one of stream, dgram, vhost_user and netns */
	char *stream, *dgram, *vhost_user; /* paths of sockets */
	char *netns, *ifname;
	char *vsock, *vsock_uds, *vsock_connect; /* paths of sockets */
	int64_t vsock_cid;
	int busy_poll_us;
};

struct config_keepalive {
	int interval; /* seconds */
	int count_max;
};

struct config_ssh {
	char *host;
	int port;
	int local_port; /* never forwarded */
	char *user, *identity_file;
	enum config_host_keys host_key_checking;
	char *known_hosts;
	enum rule_switch over_vsock;
	struct config_keepalive keepalive;
};

struct config_agent {
	enum config_agent_transport transport;
	char *path; /* of serial and unix; of serial NULL if netfwd starts QEMU */
	int port;   /* of vsock and tcp */
	char *host; /* of tcp: an address, by the host's network; NULL: by the NIC */
	char *token_file;
	char **command; /* n_command words */
	unsigned int n_command;
};

struct config_logging {
	enum config_level level;
	enum rule_switch json;
	char *pcap;
};

struct config_shared;

struct config {
	struct config_network network;
	struct config_guest guest;
	struct config_shared *shared; /* NULL: one guest */
	struct config_ssh ssh;
	struct config_agent agent;
	struct config_logging logging;
	enum rule_switch plain;	       /* static forwards only */
	enum rule_switch auto_correct; /* a host port that is taken: the next free one */
	struct rule_types_source port_forward_types;
	struct rule_source *port_forwards; /* n_port_forwards of them */
	unsigned int n_port_forwards;

	/* Made of the above. */
	struct rule *rules;  /* n_port_forwards of them, or NULL */
	struct rule_set set; /* of rules */
};

/* A guest of a shared network, found by its MAC or else by its name. */
struct config_shared_guest {
	char *name, *mac, *address;
	/* As of a single guest, and nothing else of it: plain, portForwardTypes,
	 * portForwards, ssh, agent, and the vsock of guest. */
	struct config own;
};

struct config_shared { /* of many guests */
	char *stream;
	char **dgram, **vhost_user, **netns; /* n_dgram, n_vhost_user, n_netns of them */
	unsigned int n_dgram, n_vhost_user, n_netns;
	char *host_interface, *uplink, *leases;
	enum rule_switch isolate, port_security;
	char *range, *loopback;
	int *loopback_ports; /* n_loopback_ports of them */
	unsigned int n_loopback_ports;
	int lease_time; /* seconds */
	char **ntp, **search;
	unsigned int n_ntp, n_search;
	struct config_shared_guest *guests;
	unsigned int n_guests;
};

/* Whether the guest's SSH server is a way into it. */
bool config_uses_ssh(const struct config_ssh *ssh);
/* A guest of a shared network by its name, or its MAC if it has none; NULL. */
struct config_shared_guest *config_find_guest(const struct config *config, const char *name);
/* What it is called: its name or else its MAC. */
const char *config_guest_name(const struct config_shared_guest *guest);

/* What is not in the file. */
enum config_guest_kind {
	CONFIG_GUEST_OF_FILE, /* as its section guest says */
	CONFIG_GUEST_NAMESPACE,
	CONFIG_GUEST_OTHER,
};

struct config_context {
	struct rule_types_env env;
	enum config_guest_kind guest; /* as the command line says */
	/* As struct rule_context has them. */
	const char *socket_dir;
	const struct rule_variable *guest_variables, *host_variables;
};

/* 0, with *out to be freed by config_free(); -EINVAL after everything that is
 * wrong was added to problems; -ENOMEM. Warnings come with success, too. */
int config_read(const char *path, const struct config_context *context, struct config **out,
		struct problems *problems);
/* The same of text in memory. */
int config_parse(const char *text, size_t len, const struct config_context *context,
		 struct config **out, struct problems *problems);
void config_free(struct config *config); /* accepts NULL */
