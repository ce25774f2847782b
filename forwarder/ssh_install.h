/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* `netfwd agent install` by the guest's SSH server: connects to it, has the agent
 * installed (agent_install.h), and prints what was done. */

struct config;

struct ssh_install_setup {
	const struct config *config; /* agent.transport is set */
	const char *config_path;
	const char *options; /* of the agent in the guest */
	/* Of the netfwd that has the guest, where ssh.host is not set: as in struct
	 * control_call. */
	const char *control;
};

/* 0 or -errno, told. */
int ssh_install(const struct ssh_install_setup *setup);
