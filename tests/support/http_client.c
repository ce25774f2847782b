/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/http_client.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/run_until.h"

int http_client_dial(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	memcpy(sa.sun_path, path, strlen(path) + 1);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

struct client *client_new(const char *path, const char *out, size_t len)
{
	struct client *c = calloc(1, sizeof(*c));

	assert_non_null(c);
	c->out = out;
	c->out_len = len;
	c->fd = http_client_dial(path);
	assert_true(c->fd >= 0);
	return c;
}

void client_free(struct client *c)
{
	close(c->fd);
	free(c);
}

bool client_step(void *arg)
{
	struct client *c = arg;
	ssize_t n;

	while (c->out_done < c->out_len) {
		n = send(c->fd, c->out + c->out_done, c->out_len - c->out_done, MSG_NOSIGNAL);
		if (n <= 0)
			break;
		c->out_done += (size_t)n;
	}
	do {
		n = recv(c->fd, c->in + c->in_len, sizeof(c->in) - 1 - c->in_len, 0);
		c->in_len += n > 0 ? (size_t)n : 0;
	} while (n > 0);
	c->in[c->in_len] = '\0';
	c->is_over |= n == 0 || (n < 0 && errno != EAGAIN);
	return c->is_over;
}

char *http_client_ask(struct loop *loop, const char *path, const char *request, size_t len)
{
	struct client *c = client_new(path, request, len);
	char *reply;

	run_until(loop, client_step, c);
	reply = strdup(c->in);
	assert_non_null(reply);
	client_free(c);
	return reply;
}
