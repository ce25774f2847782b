/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The guest link that the options ask for; QEMU's own is qemu.h's. */

struct link;
struct loop;
struct options;
struct stack_config;

/* Opens it: link_path is listened on, link_fd is taken. -errno, after one line
 * that says why. */
int guest_link_open(struct loop *loop, const struct options *options,
		    const struct stack_config *config, struct link **out);
/* What to say to an error of a socket file. */
const char *guest_link_explain(int error);
