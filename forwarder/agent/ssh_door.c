/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/agent/ssh_door.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/agent/acceptor.h"
#include "forwarder/agent/guest_dial.h"
#include "forwarder/connections.h"
#include "forwarder/rpc/messages.h"
#include "netstack/base/log.h"
#include "netstack/stream.h"
#include "netstack/stream_fd.h"

#define SSH_PORT 22

struct ssh_door {
	struct loop *loop;
	struct acceptor *acceptor;
	struct connections connections;
	struct rpc_place server;
};

static int dial(struct ssh_door *door, struct stream **out)
{
	bool is_connecting;
	int fd = guest_dial_stream(&door->server, &is_connecting);

	return fd < 0 ? fd : stream_fd_new(door->loop, fd, is_connecting, out);
}

static void on_host(void *arg, struct stream *host)
{
	struct ssh_door *door = arg;
	struct stream *server;
	int r = dial(door, &server);

	if (r == 0) {
		r = connections_join(&door->connections, host, server, &door->server.endpoint);
	} else {
		host->ops->reset(host);
	}
	if (r < 0)
		log_limited(LOG_LEVEL_WARN, "the SSH server here, port %d, is not reached: %s",
			    SSH_PORT, strerror(-r));
}

int ssh_door_open(struct loop *loop, struct ssh_door **out)
{
	struct ssh_door *door = calloc(1, sizeof(*door));
	const struct acceptor_owner owner = { on_host, door };
	int r;

	if (!door)
		return -ENOMEM;
	door->loop = loop;
	door->server.endpoint.port = SSH_PORT;
	(void)ipaddr_parse("127.0.0.1", &door->server.endpoint.addr);
	connections_init(&door->connections, loop, "vsock port 22");
	r = acceptor_listen_vsock(loop, SSH_PORT, &owner, &door->acceptor);
	if (r < 0) {
		free(door);
		return r;
	}
	*out = door;
	return 0;
}

void ssh_door_close(struct ssh_door *door)
{
	if (!door)
		return;
	acceptor_free(door->acceptor);
	connections_reset(&door->connections);
	free(door);
}
