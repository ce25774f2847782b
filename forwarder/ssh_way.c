/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/ssh_way.h"

#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "forwarder/config.h"
#include "forwarder/connections.h"
#include "forwarder/ssh/known_hosts.h"
#include "forwarder/ssh/ssh_tunnel.h"
#include "forwarder/state_dir.h"
#include "netstack/base/log.h"
#include "netstack/stack.h"
#include "netstack/stream.h"
#include "netstack/stream_fd.h"
#include "netstack/vsock/vsock.h"

#define SSH_PORT 22
#define KEEPALIVE_S 15
#define KEEPALIVE_COUNT 4

struct ssh_way {
	struct loop *loop;
	struct ssh_way_setup setup;
	struct endpoint server; /* by the NIC */
	char server_name[ADDR_TEXT_SIZE + 16];
	struct connections connections; /* by NIC or vsock, each a session's */
	struct tunnel *tunnel;
};

/* ---- where the key is kept ---- */

/* FNV-1a: for a name that stays the same, which hash_bytes() does not give. */
static uint32_t name_hash(const char *text)
{
	uint32_t hash = 2166136261U;

	for (; *text; text++)
		hash = (hash ^ (uint8_t)*text) * 16777619U;
	return hash;
}

int ssh_way_known_hosts(const struct options *options, const struct state_env *env,
			char path[static SSH_WAY_PATH_SIZE])
{
	const char *given = options->config->ssh.known_hosts, *config = options->config_path;
	char full[PATH_MAX], name[128];
	const char *base;

	if (given) {
		int n = snprintf(path, SSH_WAY_PATH_SIZE, "%s", given);

		return n < SSH_WAY_PATH_SIZE ? 0 : -ENAMETOOLONG;
	}
	if (!config)
		return state_dir_file(env, "known_hosts", path, SSH_WAY_PATH_SIZE);
	if (!realpath(config, full))
		snprintf(full, sizeof(full), "%s", config);
	base = strrchr(full, '/') ? strrchr(full, '/') + 1 : full;
	snprintf(name, sizeof(name), "%.64s-%08x.known_hosts", base, name_hash(full));
	return state_dir_file(env, name, path, SSH_WAY_PATH_SIZE);
}

/* ---- a connection that is a stream ---- */

/* The session's thread needs a socket: a pair joins them. Takes the stream. */
static int lead_to(struct ssh_way *way, struct stream *guest, int *fd)
{
	struct stream *ours;
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
		guest->ops->reset(guest);
		return -errno;
	}
	r = stream_fd_new(way->loop, pair[0], false, &ours);
	if (r == 0)
		r = connections_join(&way->connections, ours, guest, &way->server);
	else
		guest->ops->reset(guest);
	if (r == 0)
		*fd = pair[1];
	else
		close(pair[1]);
	return r;
}

static int dial_nic(void *arg, int *fd)
{
	struct ssh_way *way = arg;
	struct stream *guest;
	int r;

	way->server.addr = *way->setup.guest; /* it may have another now */
	r = stack_dial_tcp(way->setup.stack, &way->server, &guest);
	return r < 0 ? r : lead_to(way, guest, fd);
}

static int dial_vsock(void *arg, int *fd)
{
	struct ssh_way *way = arg;
	struct stream *guest;
	uint32_t host_port;
	int r = vsock_dial(way->setup.vsock, SSH_PORT, &host_port, &guest);

	return r < 0 ? r : lead_to(way, guest, fd);
}

/* ---- the configuration ---- */

/* localPort is where somebody has put the guest's port on the host. */
static unsigned int server_port(const struct config_ssh *ssh)
{
	if (ssh->port)
		return (unsigned int)ssh->port;
	return ssh->host && ssh->local_port ? (unsigned int)ssh->local_port : SSH_PORT;
}

uint16_t ssh_way_port(const struct config *config)
{
	return (uint16_t)server_port(&config->ssh);
}

static void add_targets(struct ssh_way *way, const struct config_ssh *ssh, struct ssh_config *c)
{
	struct ssh_target *t;

	if (way->setup.borrowed_port) {
		c->targets[c->n_targets++] =
			(struct ssh_target){ .host = "127.0.0.1",
					     .port = way->setup.borrowed_port };
		return;
	}
	if (ssh->over_vsock == RULE_SWITCH_ON && way->setup.vsock)
		c->targets[c->n_targets++] = (struct ssh_target){
			.dial = dial_vsock, .arg = way, .name = "port 22 of the guest's vsock"
		};
	else if (ssh->over_vsock == RULE_SWITCH_ON)
		log_warn("ssh.overVsock: the guest has no vsock (guest.vsock, vsockCid, "
			 "vsockConnect): "
			 "connections go by TCP");
	t = &c->targets[c->n_targets++];
	if (ssh->host)
		*t = (struct ssh_target){ .host = ssh->host, .port = server_port(ssh) };
	else
		*t = (struct ssh_target){ .dial = dial_nic, .arg = way, .name = way->server_name };
}

static enum ssh_host_keys host_keys(enum config_host_keys configured)
{
	switch (configured) {
	case CONFIG_HOST_KEYS_YES:
		return SSH_HOST_KEYS_YES;
	case CONFIG_HOST_KEYS_NO:
		return SSH_HOST_KEYS_NO;
	case CONFIG_HOST_KEYS_DEFAULT:
	case CONFIG_HOST_KEYS_ACCEPT_NEW:
		break;
	}
	return SSH_HOST_KEYS_ACCEPT_NEW;
}

static int make_tunnel(struct ssh_way *way)
{
	const struct config_ssh *ssh = &way->setup.options->config->ssh;
	const struct config_keepalive *k = &ssh->keepalive;
	const struct passwd *user = getpwuid(getuid());
	const struct state_env env = state_env_get();
	char known_hosts[SSH_WAY_PATH_SIZE], name[KNOWN_HOST_NAME_SIZE] = "guest", keys[PATH_MAX];
	const char *guest_name = way->setup.guest_name;
	struct ssh_config c = {
		.user = ssh->user ? ssh->user :
			user	  ? user->pw_name :
				    "root",
		.identity_file = ssh->identity_file,
		.key_dir = env.home ? keys : NULL,
		.agent_path = getenv("SSH_AUTH_SOCK"),
		.host_keys = host_keys(ssh->host_key_checking),
		.known_hosts = known_hosts,
		.host_name = name,
		.keepalive_s = k->interval ? (unsigned int)k->interval : KEEPALIVE_S,
		.keepalive_count = k->count_max ? (unsigned int)k->count_max : KEEPALIVE_COUNT,
	};
	int r = ssh_way_known_hosts(way->setup.options, &env, known_hosts);

	if (r < 0) {
		log_error("ssh: there is no place to keep the guest's key: %s; see ssh.knownHosts",
			  strerror(-r));
		return r;
	}
	snprintf(keys, sizeof(keys), "%s/.ssh", env.home ? env.home : "");
	if (*guest_name)
		snprintf(name, sizeof(name), "guest-%s", guest_name);
	if (ssh->host)
		known_host_name(ssh->host, server_port(ssh), name);
	add_targets(way, ssh, &c);
	return ssh_tunnel_new(way->loop, &c, &way->tunnel);
}

int ssh_way_new(struct loop *loop, const struct ssh_way_setup *setup, struct ssh_way **out)
{
	char text[ADDR_TEXT_SIZE];
	struct ssh_way *way;
	int r;

	*out = NULL;
	if (!setup->options->config ||
	    (!setup->borrowed_port && !config_uses_ssh(&setup->options->config->ssh)))
		return 0;
	way = calloc(1, sizeof(*way));
	if (!way)
		return -ENOMEM;
	way->loop = loop;
	way->setup = *setup;
	way->server.addr = *setup->guest;
	way->server.port = ssh_way_port(setup->options->config);
	if (ipaddr_is_any(setup->guest)) /* not known yet */
		snprintf(way->server_name, sizeof(way->server_name), "the guest's port %u",
			 way->server.port);
	else
		snprintf(way->server_name, sizeof(way->server_name), "the guest's %s",
			 endpoint_format(&way->server, text));
	connections_init(&way->connections, loop, "ssh");
	r = make_tunnel(way);
	if (r < 0) {
		free(way);
		return r;
	}
	*out = way;
	return 0;
}

struct tunnel *ssh_way_tunnel(struct ssh_way *way)
{
	return way->tunnel;
}

void ssh_way_free(struct ssh_way *way)
{
	if (!way)
		return;
	connections_reset(&way->connections);
	free(way);
}
