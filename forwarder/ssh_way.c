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
#include "netstack/base/log.h"
#include "netstack/stack.h"
#include "netstack/stream.h"
#include "netstack/stream_fd.h"

#define SSH_PORT 22
#define KEEPALIVE_S 15
#define KEEPALIVE_COUNT 4

struct ssh_way {
	struct loop *loop;
	struct stack *stack;
	struct endpoint server;		/* by the NIC */
	struct connections connections; /* of it, each a session's */
	struct tunnel *tunnel;
};

struct ssh_way_env ssh_way_env_get(void)
{
	const struct passwd *user = getpwuid(getuid());

	return (struct ssh_way_env){
		.home = user ? user->pw_dir : NULL,
		.state_home = getenv("XDG_STATE_HOME"),
		.user = user ? user->pw_name : NULL,
		.ssh_auth_sock = getenv("SSH_AUTH_SOCK"),
	};
}

/* ---- where the key is kept ---- */

/* FNV-1a: for a name that stays the same, which hash_bytes() does not give. */
static uint32_t name_hash(const char *text)
{
	uint32_t hash = 2166136261U;

	for (; *text; text++)
		hash = (hash ^ (uint8_t)*text) * 16777619U;
	return hash;
}

static int in_state_dir(const struct ssh_way_env *env, const char *name,
			char path[static SSH_WAY_PATH_SIZE])
{
	int n;

	if (env->state_home && env->state_home[0] == '/')
		n = snprintf(path, SSH_WAY_PATH_SIZE, "%s/netfwd/%s", env->state_home, name);
	else
		n = snprintf(path, SSH_WAY_PATH_SIZE, "%s/.local/state/netfwd/%s",
			     env->home ? env->home : "", name);
	return n < SSH_WAY_PATH_SIZE ? 0 : -ENAMETOOLONG;
}

int ssh_way_known_hosts(const struct options *options, const struct ssh_way_env *env,
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
		return in_state_dir(env, "known_hosts", path);
	if (!realpath(config, full))
		snprintf(full, sizeof(full), "%s", config);
	base = strrchr(full, '/') ? strrchr(full, '/') + 1 : full;
	snprintf(name, sizeof(name), "%.64s-%08x.known_hosts", base, name_hash(full));
	return in_state_dir(env, name, path);
}

/* ---- a connection by the NIC ---- */

static int join_guest(struct ssh_way *way, int fd, struct stream *guest)
{
	struct stream *ours;
	int r = stream_fd_new(way->loop, fd, false, &ours);

	if (r == 0)
		return connections_join(&way->connections, ours, guest, &way->server);
	guest->ops->reset(guest);
	return r;
}

/* The session's thread has a socket, the stack has a stream: a pair joins them. */
static int dial_guest(void *arg, int *fd)
{
	struct ssh_way *way = arg;
	struct stream *guest;
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return -errno;
	r = stack_dial_tcp(way->stack, &way->server, &guest);
	if (r == 0)
		r = join_guest(way, pair[0], guest);
	else
		close(pair[0]);
	if (r < 0)
		close(pair[1]);
	else
		*fd = pair[1];
	return r;
}

/* ---- the configuration ---- */

/* localPort is where somebody has put the guest's port on the host. */
static unsigned int server_port(const struct config_ssh *ssh)
{
	if (ssh->port)
		return (unsigned int)ssh->port;
	return ssh->host && ssh->local_port ? (unsigned int)ssh->local_port : SSH_PORT;
}

static void add_vsock(const struct config_ssh *ssh, struct ssh_config *c)
{
	struct ssh_target *t = &c->targets[c->n_targets];

	if (ssh->over_vsock != RULE_SWITCH_ON)
		return;
	if (!ssh->vsock) {
		log_warn("ssh.overVsock: ssh.vsock does not say where the guest's vsock is: "
			 "connections go by TCP");
		return;
	}
	*t = (struct ssh_target){ .kind = SSH_TARGET_UNIX, .path = ssh->vsock, .port = SSH_PORT };
	if (ssh->vsock[0] != '/') {
		t->kind = SSH_TARGET_VSOCK;
		t->cid = (unsigned int)strtoul(ssh->vsock, NULL, 10);
	}
	c->n_targets++;
}

static void add_server(struct ssh_way *way, const struct config_ssh *ssh, struct ssh_config *c)
{
	struct ssh_target *t = &c->targets[c->n_targets++];

	*t = (struct ssh_target){ .kind = SSH_TARGET_HOST,
				  .host = ssh->host,
				  .port = server_port(ssh) };
	if (ssh->host)
		return;
	t->kind = SSH_TARGET_DIAL;
	t->dial = dial_guest;
	t->arg = way;
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

static int make_tunnel(struct ssh_way *way, const struct options *options)
{
	const struct config_ssh *ssh = &options->config->ssh;
	const struct ssh_way_env env = ssh_way_env_get();
	const struct config_keepalive *k = &ssh->keepalive;
	char known_hosts[SSH_WAY_PATH_SIZE], name[KNOWN_HOST_NAME_SIZE] = "guest",
					     key_dir[PATH_MAX];
	struct ssh_config c = {
		.user = ssh->user ? ssh->user : env.user,
		.identity_file = ssh->identity_file,
		.key_dir = env.home ? key_dir : NULL,
		.agent_path = env.ssh_auth_sock,
		.host_keys = host_keys(ssh->host_key_checking),
		.known_hosts = known_hosts,
		.host_name = name,
		.keepalive_s = k->interval ? (unsigned int)k->interval : KEEPALIVE_S,
		.keepalive_count = k->count_max ? (unsigned int)k->count_max : KEEPALIVE_COUNT,
	};

	if (!c.user)
		c.user = "root";
	snprintf(key_dir, sizeof(key_dir), "%s/.ssh", env.home ? env.home : "");
	if (ssh_way_known_hosts(options, &env, known_hosts) < 0)
		return -ENAMETOOLONG;
	if (ssh->host)
		known_host_name(ssh->host, server_port(ssh), name);
	add_vsock(ssh, &c);
	add_server(way, ssh, &c);
	return ssh_tunnel_new(way->loop, &c, &way->tunnel);
}

static bool is_configured(const struct options *options)
{
	const struct config_ssh *ssh = options->config ? &options->config->ssh : NULL;

	return ssh && (ssh->host || ssh->port || ssh->user || ssh->identity_file || ssh->vsock);
}

int ssh_way_new(struct loop *loop, struct stack *stack, const struct stack_config *network,
		const struct options *options, struct ssh_way **out)
{
	struct ssh_way *way;
	int r;

	*out = NULL;
	if (!is_configured(options))
		return 0;
	way = calloc(1, sizeof(*way));
	if (!way)
		return -ENOMEM;
	way->loop = loop;
	way->stack = stack;
	way->server.addr = network->guest4;
	way->server.port = (uint16_t)server_port(&options->config->ssh);
	connections_init(&way->connections, loop, "ssh");
	r = make_tunnel(way, options);
	if (r < 0) {
		log_error("ssh: %s", strerror(-r));
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
