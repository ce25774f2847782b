/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/http_server.h"

#include <assert.h>
#include <errno.h>
#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netstack/base/list.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/unix_socket.h"

#define STREAM_BLOCK_SIZE 4096
#define ACCEPT_PAUSE_MS 100 /* when descriptors are short */

struct http_server {
	struct loop *loop;
	struct http_server_config config;
	struct unix_socket socket;
	struct watch *listen_watch;
	struct timer *accept_timer;
	struct MHD_Daemon *daemon;
	struct watch *daemon_watch;
	struct timer *daemon_timer; /* for what the daemon waits */
	struct loop_deferred run;   /* run_daemon() before the next sleep */
	struct list streams;
	unsigned int n_streams, n_connections;
	struct http_counters counters;
};

/* Of one connection, from the head of a request to the end of its reply. */
struct exchange {
	const struct http_route *route;
	char name[HTTP_NAME_MAX + 1];
	char *body;
	size_t body_len, body_size;
	size_t excess; /* bytes beyond what the route takes */
};

struct stream {
	struct list node; /* server.streams */
	struct http_server *server;
	struct MHD_Connection *connection;
	struct http_stream source;
	struct watch *watch; /* for the client's end, while it is suspended */
	bool is_suspended;
	bool is_over;
};

const char *http_query(const struct http_request *request, const char *key)
{
	const char *value = NULL;

	if (MHD_lookup_connection_value_n(request->connection, MHD_GET_ARGUMENT_KIND, key,
					  strlen(key), &value, NULL) != MHD_YES)
		return NULL;
	return value ? value : "";
}

/* ---- the daemon in our loop ---- */

static void run_daemon(void *arg)
{
	struct http_server *s = arg;
	MHD_UNSIGNED_LONG_LONG delay_ms;

	MHD_run(s->daemon);
	timer_stop(s->daemon_timer);
	if (MHD_get_timeout(s->daemon, &delay_ms) != MHD_YES)
		return;
	/* It has read ahead and its descriptor will not tell of that. */
	if (delay_ms == 0)
		loop_defer(s->loop, &s->run);
	else
		timer_start(s->daemon_timer, delay_ms);
}

static void on_daemon_ready(void *arg, unsigned int events)
{
	(void)events;
	run_daemon(arg);
}

/* ---- streams ---- */

static void stream_resume(struct stream *stream)
{
	if (!stream->is_suspended)
		return;
	stream->is_suspended = false;
	watch_want(stream->watch, 0);
	MHD_resume_connection(stream->connection);
	loop_defer(stream->server->loop, &stream->server->run);
}

/* While a connection is suspended, nobody else looks at it. A client has nothing
 * more to say: it has gone, or does not know what it asked for. */
static void on_client_gone(void *arg, unsigned int events)
{
	struct stream *stream = arg;

	(void)events;
	stream->is_over = true;
	stream_resume(stream);
}

static ssize_t stream_read(void *arg, uint64_t position, char *to, size_t max)
{
	struct stream *stream = arg;
	ssize_t n = stream->is_over ? -1 : stream->source.read(stream->source.arg, to, max);

	(void)position;
	if (n > 0)
		return n;
	if (n < 0)
		return MHD_CONTENT_READER_END_OF_STREAM;
	MHD_suspend_connection(stream->connection);
	stream->is_suspended = true;
	watch_want(stream->watch, LOOP_READ);
	return 0;
}

static void stream_free(void *arg)
{
	struct stream *stream = arg;

	watch_free(stream->watch);
	list_unlink(&stream->node);
	stream->server->n_streams--;
	stream->source.close(stream->source.arg);
	free(stream);
}

/* NULL when out of memory; the source is then still open. */
static struct MHD_Response *stream_response(struct http_server *s,
					    struct MHD_Connection *connection,
					    const struct http_stream *source)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct stream *stream = calloc(1, sizeof(*stream));
	struct MHD_Response *response;

	if (!stream)
		return NULL;
	*stream = (struct stream){ .server = s, .connection = connection, .source = *source };
	if (watch_new(s->loop, info->connect_fd, on_client_gone, stream, &stream->watch) < 0) {
		free(stream);
		return NULL;
	}
	response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK_SIZE,
						     stream_read, stream, stream_free);
	if (!response) {
		watch_free(stream->watch);
		free(stream);
		return NULL;
	}
	list_append(&s->streams, &stream->node);
	s->n_streams++;
	return response;
}

void http_server_wake(struct http_server *server)
{
	list_for_each(node, &server->streams)
		stream_resume(container_of(node, struct stream, node));
}

/* ---- requests ---- */

/* Whether the path is the route's; what stands for its "*" goes to name. */
static bool route_takes(const struct http_route *route, const char *path,
			char name[static HTTP_NAME_MAX + 1])
{
	const char *star = strchr(route->path, '*');
	size_t head = star ? (size_t)(star - route->path) : 0, len;

	name[0] = '\0';
	if (!star)
		return strcmp(route->path, path) == 0;
	if (strncmp(route->path, path, head) != 0)
		return false;
	len = strcspn(path + head, "/");
	if (len == 0 || len > HTTP_NAME_MAX || strcmp(path + head + len, star + 1) != 0)
		return false;
	memcpy(name, path + head, len);
	name[len] = '\0';
	return true;
}

static enum MHD_Result send_response(struct MHD_Connection *connection,
				     const struct http_reply *reply, const char *allow,
				     struct MHD_Response *response)
{
	enum MHD_Result result;

	if (!response)
		return MHD_NO; /* out of memory: the connection is closed */
	result = MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
					 reply->type ? reply->type : "application/json");
	if (result == MHD_YES && allow)
		result = MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, allow);
	if (result == MHD_YES)
		result = MHD_queue_response(connection, reply->status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result send_body(struct MHD_Connection *connection, struct http_reply *reply,
				 const char *allow)
{
	struct MHD_Response *response;

	if (!reply->body)
		return MHD_NO;
	response = MHD_create_response_from_buffer(strlen(reply->body), reply->body,
						   MHD_RESPMEM_MUST_FREE);
	if (!response)
		free(reply->body);
	return send_response(connection, reply, allow, response);
}

static enum MHD_Result send_stream(struct http_server *s, struct MHD_Connection *connection,
				   struct http_reply *reply)
{
	struct MHD_Response *response;

	if (s->n_streams >= HTTP_STREAMS_MAX) {
		reply->stream.close(reply->stream.arg);
		http_reply_error(reply, MHD_HTTP_SERVICE_UNAVAILABLE,
				 "%d streams are open already, as many as there may be",
				 HTTP_STREAMS_MAX);
		return send_body(connection, reply, NULL);
	}
	response = stream_response(s, connection, &reply->stream);
	if (!response)
		reply->stream.close(reply->stream.arg);
	return send_response(connection, reply, NULL, response);
}

/* Every method that the path has, "GET, POST"; false if it has none. */
static bool methods_of(const struct http_server *s, const char *path, char *text, size_t size)
{
	char name[HTTP_NAME_MAX + 1];
	size_t len = 0;

	for (unsigned int i = 0; i < s->config.n_routes; i++) {
		const struct http_route *route = &s->config.routes[i];

		if (!route_takes(route, path, name))
			continue;
		(void)snprintf(text + len, size - len, "%s%s", len ? ", " : "", route->method);
		len += strlen(text + len);
	}
	return len > 0;
}

static enum MHD_Result refuse_route(struct http_server *s, struct MHD_Connection *connection,
				    const char *path, const char *method)
{
	struct http_reply reply = { .status = 0 };
	char allow[64];

	s->counters.refused++;
	if (!methods_of(s, path, allow, sizeof(allow))) {
		http_reply_error(&reply, MHD_HTTP_NOT_FOUND, "there is no %.200s", path);
		return send_body(connection, &reply, NULL);
	}
	http_reply_error(&reply, MHD_HTTP_METHOD_NOT_ALLOWED, "%.200s takes %s, not %.20s", path,
			 allow, method);
	return send_body(connection, &reply, allow);
}

static enum MHD_Result refuse_size(struct http_server *s, struct MHD_Connection *connection,
				   const struct http_route *route)
{
	struct http_reply reply = { .status = 0 };

	s->counters.refused++;
	http_reply_error(&reply, MHD_HTTP_CONTENT_TOO_LARGE,
			 "the request's body may have %zu bytes, not more", route->body_max);
	return send_body(connection, &reply, NULL);
}

/* The head of a request is there; its body not yet. */
static enum MHD_Result begin(struct http_server *s, struct MHD_Connection *connection,
			     const char *path, const char *method, void **slot)
{
	const struct http_route *route = NULL;
	char name[HTTP_NAME_MAX + 1];
	const char *length;
	struct exchange *e;

	for (unsigned int i = 0; i < s->config.n_routes && !route; i++) {
		if (strcmp(s->config.routes[i].method, method) == 0 &&
		    route_takes(&s->config.routes[i], path, name))
			route = &s->config.routes[i];
	}
	if (!route)
		return refuse_route(s, connection, path, method);
	length = MHD_lookup_connection_value(connection, MHD_HEADER_KIND,
					     MHD_HTTP_HEADER_CONTENT_LENGTH);
	if (length && strtoull(length, NULL, 10) > route->body_max)
		return refuse_size(s, connection, route);
	e = calloc(1, sizeof(*e));
	if (!e)
		return MHD_NO;
	e->route = route;
	memcpy(e->name, name, sizeof(e->name));
	*slot = e;
	return MHD_YES;
}

/* A body of unknown length may turn out too long only here. It is read a little
 * further, so that the client has a chance to see the answer. */
static enum MHD_Result take_body(struct exchange *e, const char *data, size_t *len)
{
	size_t max = e->route->body_max;

	if (e->excess || *len > max - e->body_len) {
		e->excess += *len;
		*len = 0;
		return e->excess > max + STREAM_BLOCK_SIZE ? MHD_NO : MHD_YES;
	}
	if (e->body_len + *len >= e->body_size) {
		size_t size = 2 * (e->body_len + *len) + 1;
		char *body = realloc(e->body, size);

		if (!body)
			return MHD_NO;
		e->body = body;
		e->body_size = size;
	}
	memcpy(e->body + e->body_len, data, *len);
	e->body_len += *len;
	*len = 0;
	return MHD_YES;
}

static enum MHD_Result answer(struct http_server *s, struct MHD_Connection *connection,
			      struct exchange *e)
{
	struct http_request request = {
		.name = e->name,
		.body = "",
		.body_len = e->body_len,
		.connection = connection,
	};
	struct http_reply reply = { .status = 0 };

	if (e->excess)
		return refuse_size(s, connection, e->route);
	if (e->body) {
		e->body[e->body_len] = '\0';
		request.body = e->body;
	}
	s->counters.requests++;
	e->route->handler(s->config.arg, &request, &reply);
	assert(reply.status != 0);
	if (reply.stream.read)
		return send_stream(s, connection, &reply);
	return send_body(connection, &reply, NULL);
}

/* Called for the head, for every piece of the body, and at its end.
 * NOLINTNEXTLINE(readability-function-size): its parameters are the library's */
static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *path,
				  const char *method, const char *version, const char *data,
				  size_t *len, void **slot)
{
	(void)version;
	if (!*slot)
		return begin(arg, connection, path, method, slot);
	if (*len > 0)
		return take_body(*slot, data, len);
	return answer(arg, connection, *slot);
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **slot,
			 enum MHD_RequestTerminationCode how)
{
	struct exchange *e = *slot;

	(void)arg;
	(void)connection;
	(void)how;
	if (e)
		free(e->body);
	free(e);
	*slot = NULL;
}

/* ---- connections ---- */

static void want_connections(struct http_server *s)
{
	bool has_room = s->n_connections < HTTP_CONNECTIONS_MAX;

	watch_want(s->listen_watch, has_room ? LOOP_READ : 0);
}

static void on_accept_timer(void *arg)
{
	want_connections(arg);
}

static void on_connection(void *arg, struct MHD_Connection *connection, void **slot,
			  enum MHD_ConnectionNotificationCode what)
{
	struct http_server *s = arg;

	(void)connection;
	(void)slot;
	if (what == MHD_CONNECTION_NOTIFY_STARTED)
		s->n_connections++;
	else
		s->n_connections--;
	/* not while it ends, nor while it makes up for a lack of descriptors */
	if (s->listen_watch && !timer_is_running(s->accept_timer))
		want_connections(s);
}

static bool is_own_user(struct http_server *s, int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	    (peer.uid == geteuid() || peer.uid == 0))
		return true;
	s->counters.foreign_users++;
	log_limited(LOG_LEVEL_WARN, "%s: refused process %d of user id %u", s->socket.path,
		    (int)peer.pid, (unsigned int)peer.uid);
	return false;
}

static void take_connection(struct http_server *s, int fd)
{
	static const struct sockaddr peer = { .sa_family = AF_UNIX };

	if (!is_own_user(s, fd)) {
		close(fd);
		return;
	}
	s->counters.accepted++;
	/* closes fd also when it fails */
	if (MHD_add_connection(s->daemon, fd, &peer, sizeof(peer)) != MHD_YES)
		log_limited(LOG_LEVEL_WARN, "%s: a connection is dropped: %s", s->socket.path,
			    strerror(errno));
	loop_defer(s->loop, &s->run);
}

static void on_acceptable(void *arg, unsigned int events)
{
	struct http_server *s = arg;

	(void)events;
	while (s->n_connections < HTTP_CONNECTIONS_MAX) {
		int fd = accept4(s->socket.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			take_connection(s, fd);
			continue;
		}
		if (errno == EAGAIN)
			return;
		if (errno == ECONNABORTED || errno == EINTR)
			continue;
		log_limited(LOG_LEVEL_WARN, "%s: connections have to wait: %s", s->socket.path,
			    strerror(errno));
		watch_want(s->listen_watch, 0);
		timer_start(s->accept_timer, ACCEPT_PAUSE_MS);
		return;
	}
}

/* ---- life ---- */

__attribute__((format(printf, 2, 0))) static void on_daemon_log(void *arg, const char *fmt,
								va_list ap)
{
	char text[256];

	(void)arg;
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	text[strcspn(text, "\n")] = '\0';
	log_debug("control: %s", text);
}

static int start_daemon(struct http_server *s)
{
	unsigned int flags = MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME |
			     MHD_USE_ERROR_LOG;
	const union MHD_DaemonInfo *info;

	s->daemon = MHD_start_daemon(
		flags, 0, NULL, NULL, on_request, s,		       /**/
		MHD_OPTION_EXTERNAL_LOGGER, on_daemon_log, NULL,       /* must be first */
		MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,       /**/
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, s,	       /**/
		MHD_OPTION_CONNECTION_LIMIT, HTTP_CONNECTIONS_MAX + 1, /* ours is the limit */
		MHD_OPTION_CONNECTION_TIMEOUT, s->config.idle_timeout_s, MHD_OPTION_END);
	if (!s->daemon)
		return -ENOMEM;
	info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	return watch_new(s->loop, info->epoll_fd, on_daemon_ready, s, &s->daemon_watch);
}

static int start(struct http_server *s)
{
	int r = timer_new(s->loop, run_daemon, s, &s->daemon_timer);

	if (r == 0)
		r = timer_new(s->loop, on_accept_timer, s, &s->accept_timer);
	if (r == 0)
		r = start_daemon(s);
	if (r == 0)
		r = unix_socket_listen(s->config.path, &s->socket);
	if (r == 0)
		r = watch_new(s->loop, s->socket.fd, on_acceptable, s, &s->listen_watch);
	if (r < 0)
		return r;
	watch_want(s->daemon_watch, LOOP_READ);
	watch_want(s->listen_watch, LOOP_READ);
	return 0;
}

int http_server_new(struct loop *loop, const struct http_server_config *config,
		    struct http_server **out)
{
	struct http_server *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->loop = loop;
	s->config = *config;
	s->socket.fd = -1;
	list_init(&s->streams);
	loop_deferred_init(&s->run, run_daemon, s);
	r = start(s);
	if (r < 0)
		http_server_free(s);
	else
		*out = s;
	return r;
}

/* libmicrohttpd may not be stopped while a connection is suspended. */
static void stop_daemon(struct http_server *s)
{
	list_for_each(node, &s->streams) {
		struct stream *stream = container_of(node, struct stream, node);

		stream->is_over = true;
		stream_resume(stream);
	}
	MHD_run(s->daemon);
	MHD_stop_daemon(s->daemon);
}

void http_server_free(struct http_server *server)
{
	if (!server)
		return;
	watch_free(server->listen_watch);
	server->listen_watch = NULL;
	watch_free(server->daemon_watch);
	unix_socket_close(&server->socket);
	if (server->daemon)
		stop_daemon(server);
	loop_cancel_deferred(&server->run);
	timer_free(server->daemon_timer);
	timer_free(server->accept_timer);
	free(server);
}

const struct http_counters *http_server_counters(const struct http_server *server)
{
	return &server->counters;
}
