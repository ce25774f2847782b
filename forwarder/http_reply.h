/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What is answered to a request: a text of JSON, or a stream. */
#include <stddef.h>
#include <sys/types.h>

/* A body that goes on for as long as the client stays. */
struct http_stream {
	/* Fills in up to max bytes: their number, 0 for none at the moment (it is
	 * asked again after http_server_wake()), -1 at the end. */
	ssize_t (*read)(void *arg, char *to, size_t max);
	void (*close)(void *arg); /* once, when the client has gone */
	void *arg;
};

/* What a handler fills in; it is all zeros before. */
struct http_reply {
	unsigned int status;
	const char *type;	   /* of the body; application/json if NULL. Static. */
	char *body;		   /* of malloc(), taken; NULL when out of memory: 500 */
	struct http_stream stream; /* if it has read(): instead of body */
};

/* A text of JSON, taken as reply->body with a line end; NULL when out of memory. */
void http_reply_json(struct http_reply *reply, unsigned int status, char *text);
void http_reply_error(struct http_reply *reply, unsigned int status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
