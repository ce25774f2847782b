/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The way into the guest by SSH, as the section `ssh` of the configuration says
 * (netfwd.yaml(5)): where the server is, who we are, where its key is kept. */
#include "forwarder/options.h"

struct loop;
struct ssh_way;
struct stack;
struct stack_config;
struct tunnel;

/* What the environment says. */
struct ssh_way_env {
	const char *home;	   /* NULL: none */
	const char *state_home;	   /* $XDG_STATE_HOME */
	const char *user;	   /* ours */
	const char *ssh_auth_sock; /* $SSH_AUTH_SOCK */
};

struct ssh_way_env ssh_way_env_get(void);

#define SSH_WAY_PATH_SIZE 1024

/* Where the guest's key is kept: knownHosts, else a file of this configuration alone
 * in $XDG_STATE_HOME/netfwd (~/.local/state/netfwd), as the same address is another
 * guest's with another configuration. 0 or -ENAMETOOLONG. */
int ssh_way_known_hosts(const struct options *options, const struct ssh_way_env *env,
			char path[static SSH_WAY_PATH_SIZE]);

/* *out is NULL where no SSH is configured. network and options outlive it. */
int ssh_way_new(struct loop *loop, struct stack *stack, const struct stack_config *network,
		const struct options *options, struct ssh_way **out);
/* To be freed by whoever it is given to, before the way. */
struct tunnel *ssh_way_tunnel(struct ssh_way *way);
void ssh_way_free(struct ssh_way *way); /* accepts NULL */
