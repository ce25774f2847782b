/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* HTTP/1.1 (RFC 9112) on a UNIX socket, for this user and root. The adapter of
 * libmicrohttpd: no other file knows it. Everything runs on the loop thread;
 * libmicrohttpd's epoll descriptor is a watch of our loop, and connections are
 * accepted by us, so that the peer's user is known before a byte is read.
 *
 * A request is handled once its body is complete. Bounded: the body (per
 * route), the connections (further ones wait in the kernel), the streams, and
 * the time for which a connection may do nothing. Errors, the server's own too,
 * are {"error":"..."} with a status that fits. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "forwarder/http_reply.h"

struct loop;
struct http_server;

#define HTTP_NAME_MAX 64	/* characters of a name in a path */
#define HTTP_CONNECTIONS_MAX 96 /* at a time */
#define HTTP_STREAMS_MAX 32	/* of those, streams */

struct http_request {
	const char *name; /* what stands where the route's path has "*", or "" */
	const char *body; /* ends with NUL, which body_len does not count */
	size_t body_len;
	void *connection; /* for http_query() */
};

/* The value of ?key=value, "" for a key alone; NULL if it is not there. */
const char *http_query(const struct http_request *request, const char *key);

typedef void http_handler_fn(void *arg, const struct http_request *request,
			     struct http_reply *reply);

struct http_route {
	const char *method;
	const char *path; /* may have one "*" between slashes: a name */
	size_t body_max;  /* bytes; 0: a body is refused */
	http_handler_fn *handler;
};

struct http_server_config {
	const char *path; /* of the socket */
	const struct http_route *routes;
	unsigned int n_routes;
	void *arg;		     /* of the handlers */
	unsigned int idle_timeout_s; /* of a connection, streams excepted */
};

/* What happened since the start. */
struct http_counters {
	uint64_t accepted;
	uint64_t foreign_users; /* refused: another user's process */
	uint64_t requests;	/* answered by a handler */
	uint64_t refused;	/* answered with an error before that */
};

/* 0, or -errno: those of unix_socket_listen(), -ENOMEM. config->routes stays the
 * caller's and in place. */
int http_server_new(struct loop *loop, const struct http_server_config *config,
		    struct http_server **out);
/* Ends every stream and removes the socket's file. Not to be called by a
 * handler. Accepts NULL. */
void http_server_free(struct http_server *server);
/* Streams that had nothing to say may have now. */
void http_server_wake(struct http_server *server);
const struct http_counters *http_server_counters(const struct http_server *server);
