/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Where the control socket is, and what becomes of a netfwd that cannot have
 * it. */

struct control;
struct control_ops;
struct loop;

/* Opens it at path; without one (NULL) in the user's runtime directory. There
 * another netfwd of the user may have been first: that is a warning, 0, and
 * *out is NULL. Other errors are logged; -errno. */
int control_socket_open(struct loop *loop, const char *path, const struct control_ops *ops,
			struct control **out);
