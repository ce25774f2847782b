/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The guest link that the options ask for, except QEMU's (qemu.h). */
#include <stddef.h>

struct link;
struct loop;
struct options;
struct stack_config;

/* Opens it. -errno, after one line that says why. */
int guest_link_open(struct loop *loop, const struct options *options,
		    const struct stack_config *config, struct link **out);

/* Where a guest's QEMU finds us with OPTIONS_LINK_USER: the socket of this
 * user. 0, or -errno after one line that says why. */
int guest_link_user_path(char *path, size_t size);
/* The arguments to paste behind QEMU's command: printed for the user's socket,
 * logged for one that was named. path is the socket's. */
void guest_link_print_qemu_arguments(const struct options *options, const char *path);
