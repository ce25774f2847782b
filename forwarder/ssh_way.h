/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The way into the guest by SSH, as the section `ssh` of the configuration says
 * (netfwd.yaml(5)): where the server is, who we are, where its key is kept. */
#include "forwarder/options.h"

struct config;
struct loop;
struct ssh_way;
struct stack;
struct state_env;
struct tunnel;
struct vsock;

#define SSH_WAY_PATH_SIZE 1024

/* Where the guest's key is kept: knownHosts, else a file of this configuration alone
 * in the state directory, as the same address is another guest's with another
 * configuration. 0 or -errno of state_dir_file(). */
int ssh_way_known_hosts(const struct options *options, const struct state_env *env,
			char path[static SSH_WAY_PATH_SIZE]);

/* All of it outlives the way. */
struct ssh_way_setup {
	struct stack *stack;
	struct vsock *vsock;	    /* of the guest, or NULL */
	const struct ipaddr *guest; /* behind the NIC, as it is at each connection */
	const char *guest_name;	    /* of a shared network; "": the only one */
	/* Not 0: of the host's loopback, which leads to the guest's; instead of all that
	 * the options say of where the server is. Without stack, vsock and guest. */
	uint16_t borrowed_port;
	const struct options *options;
};

/* Of the server in the guest, where ssh.host is not set. */
uint16_t ssh_way_port(const struct config *config);

/* *out is NULL where no SSH is configured, and no port was borrowed. -errno, logged. */
int ssh_way_new(struct loop *loop, const struct ssh_way_setup *setup, struct ssh_way **out);
/* To be freed by whoever it is given to, before the way. */
struct tunnel *ssh_way_tunnel(struct ssh_way *way);
void ssh_way_free(struct ssh_way *way); /* accepts NULL */
