/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The log as the command line and the configuration want it. */
struct config;
struct options;

/* What the command line says goes first. config may be NULL. */
void log_setup(const struct options *options, const struct config *config);
