/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/link_listener.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/link.h"
#include "netstack/link_stream.h"
#include "netstack/unix_socket.h"

#define RETRY_MS 100

struct link_listener {
	struct loop *loop;
	struct link_listener_config config;
	struct unix_socket socket;
	struct watch *watch;
	struct timer *retry;   /* after running out of descriptors or memory */
	unsigned int n_guests; /* so far: names them */
};

static int peer_pid(int fd)
{
	struct ucred cred = { .pid = 0 };
	socklen_t len = sizeof(cred);

	(void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len);
	return (int)cred.pid;
}

static void accept_failed(struct link_listener *l)
{
	if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
		return;
	log_limited(LOG_LEVEL_WARN, "%s: cannot accept a guest: %s", l->socket.path,
		    strerror(errno));
	watch_want(l->watch, 0);
	timer_start(l->retry, RETRY_MS);
}

static void on_retry(void *arg)
{
	struct link_listener *l = arg;

	watch_want(l->watch, LOOP_READ);
}

static void on_connection(void *arg, unsigned int events)
{
	struct link_listener *l = arg;
	int fd = accept4(l->socket.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct link *link;
	int pid, r;

	(void)events;
	if (fd < 0) {
		accept_failed(l);
		return;
	}
	pid = peer_pid(fd);
	r = link_stream_from_fd(l->loop, fd, l->config.mtu, &link);
	if (r < 0) {
		log_limited(LOG_LEVEL_WARN, "%s: cannot serve a guest: %s", l->socket.path,
			    strerror(-r));
		return;
	}
	(void)snprintf(link->name, sizeof(link->name), "stream:%u", ++l->n_guests);
	log_info("%s: guest connected (process %d)", link->name, pid);
	l->config.guest(l->config.arg, link);
}

int link_listener_new(struct loop *loop, const struct link_listener_config *config,
		      struct link_listener **out)
{
	struct link_listener *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return -ENOMEM;
	l->loop = loop;
	l->config = *config;
	r = unix_socket_listen(config->path, &l->socket);
	if (r == 0)
		r = watch_new(loop, l->socket.fd, on_connection, l, &l->watch);
	if (r == 0)
		r = timer_new(loop, on_retry, l, &l->retry);
	if (r < 0) {
		link_listener_free(l);
		return r;
	}
	watch_want(l->watch, LOOP_READ);
	*out = l;
	return 0;
}

void link_listener_free(struct link_listener *l)
{
	if (!l)
		return;
	timer_free(l->retry);
	watch_free(l->watch);
	unix_socket_close(&l->socket);
	free(l);
}
