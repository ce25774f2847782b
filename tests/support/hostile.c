/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/hostile.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "forwarder/agent/server.h"
#include "forwarder/agent_client.h"
#include "netstack/base/loop.h"
#include "netstack/stream.h"
#include "netstack/stream_fd.h"
#include "tests/support/fake_loop.h"

static void open_pair(struct hostile *t, struct stream **theirs)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
	if (t->peer >= 0)
		close(t->peer);
	t->peer = fds[0];
	t->has_ended = false;
	t->n_heard = 0;
	assert_int_equal(stream_fd_new(t->loop, fds[1], false, theirs), 0);
}

void hostile_connect(struct hostile *t)
{
	struct stream *s;

	open_pair(t, &s);
	agent_server_accept(t->server, s);
	h2_hello(&t->out);
}

static int on_connect(void *arg, struct stream **out)
{
	struct hostile *t = arg;

	t->n_connects++;
	open_pair(t, out);
	return 0;
}

static void on_listeners(void *arg, const struct port_listener *all, unsigned int n)
{
	struct hostile *t = arg;

	(void)all;
	t->n_told++;
	t->n_listeners = n;
}

void hostile_hear(struct hostile *t)
{
	ssize_t n = recv(t->peer, t->heard, sizeof(t->heard), 0);

	if (n > 0)
		t->n_heard += (size_t)n;
	else if (n == 0 || errno != EAGAIN)
		t->has_ended = true;
}

void hostile_flush(struct hostile *t)
{
	size_t at = 0;

	for (int quiet = 0; at < t->out.len && quiet < 10; quiet++) {
		ssize_t n = send(t->peer, t->out.data + at, t->out.len - at, MSG_NOSIGNAL);

		if (n > 0) {
			at += (size_t)n;
			quiet = 0;
		} else if (errno != EAGAIN) {
			break;
		}
		fake_loop_settle(t->loop);
	}
	t->out.len = 0;
	fake_loop_settle(t->loop);
	hostile_hear(t);
}

bool hostile_is_closed(struct hostile *t)
{
	while (!t->has_ended) {
		size_t before = t->n_heard;

		hostile_hear(t);
		if (t->n_heard == before)
			break;
	}
	return t->has_ended;
}

int hostile_setup_host(void **state)
{
	struct hostile *t = calloc(1, sizeof(*t));
	struct agent_server_config config = { .max_flows = 100 };

	assert_int_equal(loop_new(&t->loop), 0);
	assert_int_equal(agent_server_new(t->loop, &config, &t->server), 0);
	h2_init(&t->out);
	t->peer = -1;
	*state = t;
	return 0;
}

int hostile_setup_agent(void **state)
{
	struct hostile *t;
	struct agent_client_config config = { .connect = on_connect, .listeners = on_listeners };

	(void)hostile_setup_host(state);
	t = *state;
	config.arg = t;
	assert_int_equal(agent_client_new(t->loop, &config, &t->client), 0);
	fake_loop_settle(t->loop);
	fake_loop_advance(t->loop, 1);
	assert_int_equal(t->n_connects, 1);
	h2_settings(&t->out);
	return 0;
}

int hostile_teardown(void **state)
{
	struct hostile *t = *state;

	agent_client_free(t->client);
	agent_server_free(t->server);
	if (t->peer >= 0)
		close(t->peer);
	h2_deinit(&t->out);
	loop_free(t->loop);
	free(t);
	return 0;
}
