/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The configuration as this process sees it: the file, the environment, and the
 * user's runtime directory. */
#include "forwarder/config.h"

/* Reads path, or takes the defaults if it is NULL. Warnings and errors go to the
 * log. 0, -EINVAL or -ENOMEM. */
int config_env_read(const char *path, enum config_guest_kind guest, struct config **out);
/* Makes the directory of relative hostSockets if a rule has one that netfwd is to make
 * there. What is wrong with it is logged. */
void config_env_make_socket_dir(const struct config *config);
