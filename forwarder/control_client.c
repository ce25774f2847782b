/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/control_client.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "forwarder/http_response.h"
#include "forwarder/json.h"
#include "forwarder/runtime_dir.h"

#define TIMEOUT_S 30
#define ERROR_BODY_MAX 4096

struct conversation {
	const struct control_call *call;
	struct sockaddr_un address;
	int fd;
	struct http_response response;
	char refusal[ERROR_BODY_MAX]; /* the body of an error */
	size_t refusal_len;
	char *error; /* the caller's */
};

__attribute__((format(printf, 3, 4))) static int failed(struct conversation *c, int result,
							const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(c->error, CONTROL_CLIENT_ERROR_SIZE, fmt, ap);
	va_end(ap);
	return result;
}

static int no_server(struct conversation *c, const char *path)
{
	return failed(c, -ENOENT,
		      "no netfwd serves %s; start one, or name the socket of one that runs "
		      "with --control PATH",
		      path);
}

static int put_default_path(struct conversation *c)
{
	const struct runtime_env env = runtime_env_get();
	size_t size = sizeof(c->address.sun_path), tail = sizeof("/" RUNTIME_CONTROL_SOCKET);
	char why[RUNTIME_ERROR_SIZE];
	int r = runtime_dir_find(&env, c->address.sun_path, size - tail, why);

	if (r == -ENOENT)
		return no_server(c, c->address.sun_path);
	if (r < 0)
		return failed(c, r, "%s", why);
	memcpy(c->address.sun_path + strlen(c->address.sun_path), "/" RUNTIME_CONTROL_SOCKET, tail);
	return 0;
}

static int put_path(struct conversation *c)
{
	const char *path = c->call->socket;
	size_t max = sizeof(c->address.sun_path) - 1;

	c->address.sun_family = AF_UNIX;
	if (!path)
		return put_default_path(c);
	if (!*path || strlen(path) > max)
		return failed(c, -EINVAL,
			      "--control: the path of a UNIX socket has 1 to %zu characters, "
			      "this one %zu",
			      max, strlen(path));
	memcpy(c->address.sun_path, path, strlen(path) + 1);
	return 0;
}

static int dial(struct conversation *c)
{
	const struct timeval patience = { .tv_sec = TIMEOUT_S };
	const char *path = c->address.sun_path;

	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return failed(c, -errno, "%s: %s", path, strerror(errno));
	(void)setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (!c->call->is_endless)
		(void)setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (connect(c->fd, (const struct sockaddr *)&c->address, sizeof(c->address)) == 0)
		return 0;
	if (errno == ENOENT || errno == ECONNREFUSED)
		return no_server(c, path);
	return failed(c, -errno, "%s: %s", path, strerror(errno));
}

/* A server that refuses a request may close before it has read it: what it said
 * is there to be read nevertheless. */
static int send_request(struct conversation *c)
{
	const struct control_call *call = c->call;
	const char *body = call->body ? call->body : "";
	char *text;
	int len = asprintf(&text,
			   "%s %s HTTP/1.1\r\nHost: netfwd\r\nConnection: close\r\n"
			   "Content-Length: %zu\r\n\r\n%s",
			   call->method, call->path, strlen(body), body);
	ssize_t n;

	if (len < 0)
		return failed(c, -ENOMEM, "out of memory");
	for (ssize_t done = 0; done < len; done += n) {
		n = send(c->fd, text + done, (size_t)(len - done), MSG_NOSIGNAL);
		if (n < 0)
			break;
	}
	free(text);
	return 0;
}

static void on_body(void *arg, const char *data, size_t len)
{
	struct conversation *c = arg;
	size_t room = sizeof(c->refusal) - c->refusal_len;

	if (c->response.status == 200) {
		c->call->on_body(c->call->arg, data, len);
		return;
	}
	if (len > room)
		len = room;
	memcpy(c->refusal + c->refusal_len, data, len);
	c->refusal_len += len;
}

static int receive_answer(struct conversation *c)
{
	const char *path = c->address.sun_path;
	char buffer[16384];

	while (!http_response_is_complete(&c->response)) {
		ssize_t n = recv(c->fd, buffer, sizeof(buffer), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return failed(c, -ETIMEDOUT, "%s: no answer within %d seconds", path,
				      TIMEOUT_S);
		if (n <= 0)
			return failed(c, -ECONNRESET, "%s: netfwd ended the connection", path);
		if (http_response_feed(&c->response, buffer, (size_t)n) < 0)
			return failed(c, -EPROTO, "%s: this is no netfwd that answers", path);
	}
	return 0;
}

static int judge(struct conversation *c)
{
	char why[JSON_ERROR_SIZE];
	struct json *json;
	const char *text;

	if (c->response.status == 200)
		return 0;
	json = json_parse(c->refusal, c->refusal_len, why);
	text = json_as_string(json_member(json, "error"));
	if (text)
		(void)failed(c, 0, "%s", text);
	else
		(void)failed(c, 0, "%s: status %u", c->address.sun_path, c->response.status);
	json_free(json);
	return -EREMOTEIO;
}

int control_client_call(const struct control_call *call,
			char error[static CONTROL_CLIENT_ERROR_SIZE])
{
	struct conversation c = { .call = call, .fd = -1 };
	int r;

	c.error = error;
	c.response.on_body = on_body;
	c.response.arg = &c;
	r = put_path(&c);
	if (r == 0)
		r = dial(&c);
	if (r == 0)
		r = send_request(&c);
	if (r == 0)
		r = receive_answer(&c);
	if (r == 0)
		r = judge(&c);
	if (c.fd >= 0)
		close(c.fd);
	return r;
}
