/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* `netfwd agent install` where the guest's SSH server is known: connects to it, has the
 * agent installed (agent_install.h), and prints what was done. */

struct config;

/* config's ssh.host and agent.transport are set. 0 or -errno, told. */
int ssh_install(const struct config *config, const char *config_path, const char *options);
