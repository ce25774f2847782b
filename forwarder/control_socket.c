/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/control_socket.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/un.h>

#include "forwarder/control.h"
#include "forwarder/runtime_dir.h"
#include "netstack/base/log.h"

#define NAME "/" RUNTIME_CONTROL_SOCKET

static int default_path(char *path, size_t size)
{
	const struct runtime_env env = runtime_env_get();
	char error[RUNTIME_ERROR_SIZE];
	int r = runtime_dir_make(&env, path, size - sizeof(NAME), error);

	if (r < 0) {
		log_error("%s", error);
		return r;
	}
	memcpy(path + strlen(path), NAME, sizeof(NAME));
	return 0;
}

static const char *reason(int error)
{
	if (error == -EADDRINUSE)
		return "another process serves it";
	if (error == -EEXIST)
		return "there is a file that is no socket";
	return strerror(-error);
}

int control_socket_open(struct loop *loop, const char *path, const struct control_ops *ops,
			struct control **out)
{
	char own[sizeof(((struct sockaddr_un *)0)->sun_path)];
	bool is_default = !path;
	int r = is_default ? default_path(own, sizeof(own)) : 0;

	if (r < 0)
		return r;
	if (is_default)
		path = own;
	*out = NULL;
	r = control_new(loop, path, ops, out);
	if (r == -EADDRINUSE && is_default) {
		log_info("no control socket: another netfwd serves %s; give this one its own "
			 "with --control PATH",
			 path);
		return 0;
	}
	if (r < 0)
		log_error("the control socket %s: %s", path, reason(r));
	return r;
}
