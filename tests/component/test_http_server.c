/* SPDX-License-Identifier: Apache-2.0 */
/* What the server does to clients that do nothing; test_control.c has the rest. */
#include "forwarder/http_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "netstack/base/loop.h"
#include "tests/support/http_client.h"
#include "tests/support/run_until.h"

struct fixture {
	char dir[32], path[64];
	struct loop *loop;
	struct http_server *server;
};

static void get_hello(void *arg, const struct http_request *request, struct http_reply *reply)
{
	(void)arg;
	(void)request;
	http_reply_json(reply, 200, strdup("\"hello\""));
}

static const struct http_route routes[] = { { "GET", "/", 0, get_hello } };

static int setup(void **state)
{
	static struct fixture f;
	struct http_server_config config = { .routes = routes, .n_routes = 1, .idle_timeout_s = 1 };

	f = (struct fixture){ .dir = "/tmp/netfwd-test-XXXXXX" };
	*state = &f;
	if (!mkdtemp(f.dir) || loop_new(&f.loop) < 0)
		return -1;
	(void)snprintf(f.path, sizeof(f.path), "%s/sock", f.dir);
	config.path = f.path;
	return http_server_new(f.loop, &config, &f.server);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	http_server_free(f->server);
	loop_free(f->loop);
	return rmdir(f->dir);
}

static const char request[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/* Nothing but the server's own timer wakes the loop here. */
static void a_client_that_does_nothing_is_dropped(void **state)
{
	static const char *const beginnings[] = { "", "GET", "GET / HTTP/1.1\r\nHost: x\r\n" };
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(beginnings) / sizeof(beginnings[0]); i++)
		free(http_client_ask(f->loop, f->path, beginnings[i], strlen(beginnings[i])));
}

static void an_answered_client_may_stay_for_a_while(void **state)
{
	struct fixture *f = *state;
	char *reply = http_client_ask(f->loop, f->path, request, sizeof(request) - 1);

	assert_non_null(strstr(reply, "\r\n\r\n\"hello\"\n"));
	assert_null(strstr(reply, "Connection: close"));
	free(reply);
}

/* More than may be open at a time: they wait for their turn in the kernel. */
static void idle_clients_delay_others_no_longer_than_the_timeout(void **state)
{
	struct client *idle[HTTP_CONNECTIONS_MAX];
	struct fixture *f = *state;
	char *reply;

	for (size_t i = 0; i < HTTP_CONNECTIONS_MAX; i++) {
		idle[i] = client_new(f->path, "", 0);
		run_a_little(f->loop);
	}
	assert_int_equal(http_server_counters(f->server)->accepted, HTTP_CONNECTIONS_MAX);
	reply = http_client_ask(f->loop, f->path, request, sizeof(request) - 1);
	assert_non_null(strstr(reply, "hello"));
	free(reply);
	for (size_t i = 0; i < HTTP_CONNECTIONS_MAX; i++)
		client_free(idle[i]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_client_that_does_nothing_is_dropped),
		TEST(an_answered_client_may_stay_for_a_while),
		TEST(idle_clients_delay_others_no_longer_than_the_timeout),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
