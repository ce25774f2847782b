/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/vhost_user/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/unix_socket.h"

/* Messages per round. */
#define BUDGET 16
#define RETRY_MS 100

struct vhost_server {
	struct loop *loop;
	const char *name;
	struct vhost_backend *backend;
	struct unix_socket socket;
	struct watch *listener;
	struct timer *retry; /* after running out of descriptors */
	int fd;		     /* the front end's, -1 while there is none */
	struct watch *watch;
	struct vhost_receiver receiver;
};

static void drop_front_end(struct vhost_server *s)
{
	watch_free(s->watch);
	s->watch = NULL;
	close(s->fd);
	s->fd = -1;
	vhost_receiver_next(&s->receiver);
	vhost_backend_reset(s->backend);
}

static void front_end_left(struct vhost_server *s, int error)
{
	if (error == -ECONNRESET)
		log_info("%s: guest disconnected", s->name);
	else
		log_limited(LOG_LEVEL_WARN, "%s: guest disconnected: %s", s->name,
			    strerror(-error));
	drop_front_end(s);
}

/* One message, answered. */
static int serve_message(struct vhost_server *s)
{
	struct vhost_answer answer;
	struct vhost_message *m = &s->receiver.message;
	int r = vhost_receive(&s->receiver, s->fd);

	if (r < 0)
		return r;
	log_debug("%s: vhost-user message %u, flags %#x, %u bytes, %u descriptors", s->name,
		  m->request, m->flags, m->size, m->n_fds);
	r = vhost_backend_handle(s->backend, m, &answer);
	if (r == 0 && answer.is_needed)
		r = vhost_reply(s->fd, m->request, answer.payload, answer.size);
	if (r == -EAGAIN)
		r = -ENOBUFS; /* an answer that the front end had no room for */
	vhost_receiver_next(&s->receiver);
	return r;
}

static void on_message(void *arg, unsigned int events)
{
	struct vhost_server *s = arg;
	int r = 0;

	(void)events;
	for (int i = 0; r == 0 && i < BUDGET; i++)
		r = serve_message(s);
	if (r < 0 && r != -EAGAIN)
		front_end_left(s, r);
}

/* Takes fd, also on error. */
static int take_front_end(struct vhost_server *s, int fd)
{
	int r = watch_new(s->loop, fd, on_message, s, &s->watch);

	if (r < 0) {
		close(fd);
		return r;
	}
	s->fd = fd;
	return 0;
}

static bool has_hung_up(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static void accept_failed(struct vhost_server *s)
{
	if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
		return;
	log_limited(LOG_LEVEL_WARN, "%s: cannot accept a guest: %s", s->name, strerror(errno));
	watch_want(s->listener, 0);
	timer_start(s->retry, RETRY_MS);
}

static void on_connection(void *arg, unsigned int events)
{
	struct vhost_server *s = arg;
	int fd = accept4(s->socket.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	int r;

	(void)events;
	if (fd < 0) {
		accept_failed(s);
		return;
	}
	if (s->fd >= 0 && has_hung_up(s->fd))
		front_end_left(s, -ECONNRESET); /* both events came in one round */
	if (s->fd >= 0) {
		log_limited(LOG_LEVEL_WARN, "%s: a second guest was disconnected", s->name);
		close(fd);
		return;
	}
	r = take_front_end(s, fd);
	if (r < 0) {
		log_limited(LOG_LEVEL_WARN, "%s: cannot serve a guest: %s", s->name, strerror(-r));
		return;
	}
	log_info("%s: guest connected", s->name);
	watch_want(s->watch, LOOP_READ);
}

static void on_retry(void *arg)
{
	struct vhost_server *s = arg;

	watch_want(s->listener, LOOP_READ);
}

/* ---- life ---- */

static int server_new(struct loop *loop, const struct vhost_device *device,
		      struct vhost_server **out)
{
	struct vhost_server *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->loop = loop;
	s->name = device->name;
	s->fd = s->socket.fd = -1;
	r = vhost_backend_new(loop, device, &s->backend);
	if (r == 0)
		r = timer_new(loop, on_retry, s, &s->retry);
	if (r < 0) {
		vhost_server_free(s);
		return r;
	}
	*out = s;
	return 0;
}

int vhost_server_listen(struct loop *loop, const char *path, const struct vhost_device *device,
			struct vhost_server **out)
{
	struct vhost_server *s;
	int r = server_new(loop, device, &s);

	if (r < 0)
		return r;
	r = unix_socket_listen(path, &s->socket);
	if (r == 0)
		r = watch_new(loop, s->socket.fd, on_connection, s, &s->listener);
	if (r < 0) {
		vhost_server_free(s);
		return r;
	}
	*out = s;
	return 0;
}

void vhost_server_start(struct vhost_server *s)
{
	watch_want(s->listener, LOOP_READ);
}

void vhost_server_free(struct vhost_server *s)
{
	if (!s)
		return;
	watch_free(s->watch);
	watch_free(s->listener);
	timer_free(s->retry);
	vhost_receiver_next(&s->receiver);
	vhost_backend_free(s->backend);
	if (s->fd >= 0)
		close(s->fd);
	unix_socket_close(&s->socket);
	free(s);
}

struct vhost_backend *vhost_server_backend(struct vhost_server *s)
{
	return s->backend;
}
