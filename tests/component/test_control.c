/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket: a server on the real loop, what it does replaced by notes
 * of what was asked. The client is a socket that knows no more of HTTP than what
 * each test writes into it. */
#include "forwarder/control.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "tests/support/fake_control.h"
#include "tests/support/http_client.h"
#include "tests/support/run_until.h"

#define CROWD 200

struct fixture {
	char dir[32], path[64];
	struct loop *loop;
	struct control *control;
	struct fake_control fake;
};

/* ---- fixture ---- */

static int setup(void **state)
{
	static struct fixture f;
	struct control_ops ops = fake_control_ops(&f.fake);

	f = (struct fixture){ .dir = "/tmp/netfwd-test-XXXXXX" };
	*state = &f;
	if (!mkdtemp(f.dir) || loop_new(&f.loop) < 0)
		return -1;
	(void)snprintf(f.path, sizeof(f.path), "%s/control.sock", f.dir);
	return control_new(f.loop, f.path, &ops, &f.control);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	control_free(f->control);
	loop_free(f->loop);
	return rmdir(f->dir); /* fails if the socket is still there */
}

/* ---- client ---- */

static char *ask(struct fixture *f, const char *method, const char *path, const char *body)
{
	char *request, *reply;
	int len = asprintf(&request,
			   "%s %s HTTP/1.1\r\nHost: netfwd\r\nConnection: close\r\n"
			   "Content-Length: %zu\r\n\r\n%s",
			   method, path, strlen(body), body);

	assert_true(len > 0);
	reply = http_client_ask(f->loop, f->path, request, (size_t)len);
	free(request);
	return reply;
}

static void check_reply(char *reply, const char *status, const char *contains)
{
	if (strncmp(reply, "HTTP/1.1 ", 9) != 0 || strncmp(reply + 9, status, 3) != 0)
		fail_msg("not %s: %s", status, reply);
	if (!strstr(reply, contains))
		fail_msg("no %s in: %s", contains, reply);
	free(reply);
}

#define FORWARD "{\"proto\":\"tcp\",\"host\":\"8080\",\"guest\":\"80\",\"via\":\"direct\"}"
#define LISTENER "{\"protocol\":\"tcp\",\"ip\":\"::\",\"port\":80}"

/* ---- tests ---- */

static void status_has_guests_forwards_and_counters(void **state)
{
	struct fixture *f = *state;
	char *reply = ask(f, "GET", "/v1/status", "");

	assert_non_null(strstr(reply, "\"guests\":[{\"name\":\"default\",\"link\":\"stream\""));
	assert_non_null(strstr(reply, "\"bytes_to_host\":9223372036854775807"));
	assert_non_null(strstr(reply, "\"error\":\"Address \\\"already\\\" in use\\n\"},{"));
	assert_non_null(strstr(reply, "\"counters\":{\"udp.no_port\":7}"));
	check_reply(reply, "200", "Content-Type: application/json");
}

static void each_action_reaches_its_operation(void **state)
{
	struct fixture *f = *state;

	check_reply(ask(f, "POST", "/v1/forwards", FORWARD), "200", "\r\n\r\n{}\n");
	assert_string_equal(f->fake.asked, "expose tcp 8080->80 direct");
	check_reply(ask(f, "DELETE", "/v1/forwards", FORWARD), "200", "{}");
	assert_string_equal(f->fake.asked, "unexpose tcp 8080->80 direct");
	check_reply(ask(f, "POST", "/v1/guests/my-vm.1/listeners",
			"{\"added\":[" LISTENER "," LISTENER "],\"removed\":[" LISTENER "]}"),
		    "200", "{}");
	assert_string_equal(f->fake.asked, "report my-vm.1 +2 -1");
	check_reply(ask(f, "POST", "/v1/reload", ""), "200", "{}");
	assert_string_equal(f->fake.asked, "reload");
	check_reply(ask(f, "GET", "/v1/version", ""), "200", NETFWD_VERSION);
}

static void an_operations_error_becomes_a_status(void **state)
{
	static const struct {
		int result;
		const char *status;
	} cases[] = {
		{ -EINVAL, "400" },	{ -ENOENT, "404" },	{ -EEXIST, "409" },
		{ -EADDRINUSE, "409" }, { -EOPNOTSUPP, "501" }, { -EACCES, "403" },
		{ -ENOSPC, "507" },	{ -EIO, "500" },
	};
	struct fixture *f = *state;

	f->fake.error = "the \"reason\"";
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		f->fake.result = cases[i].result;
		check_reply(ask(f, "POST", "/v1/reload", ""), cases[i].status,
			    "\r\n\r\n{\"error\":\"the \\\"reason\\\"\"}\n");
	}
	f->fake.error = NULL;
	check_reply(ask(f, "POST", "/v1/reload", ""), "500", "{\"error\":\"Input/output error\"}");
}

static void bad_requests_do_nothing(void **state)
{
	struct fixture *f = *state;
	char long_name[200];

	check_reply(ask(f, "POST", "/v1/forwards", "{"), "400", "{\"error\":\"not JSON");
	check_reply(ask(f, "POST", "/v1/guests/x/listeners", "{\"added\":[" LISTENER ",{}]}"),
		    "400", "added[1]");
	check_reply(ask(f, "GET", "/v1/forwards", ""), "405", "Allow: POST, DELETE\r\n");
	check_reply(ask(f, "PUT", "/v1/forwards", FORWARD), "405", "takes POST, DELETE, not PUT");
	check_reply(ask(f, "GET", "/v1/nothing", ""), "404", "there is no /v1/nothing");
	check_reply(ask(f, "GET", "/v1/status/", ""), "404", "{\"error\":");
	check_reply(ask(f, "GET", "/v1/%1b%5b2J", ""), "404", "\\u001B[2J");
	check_reply(ask(f, "POST", "/v1/guests//listeners", "{}"), "404", "{\"error\":");
	check_reply(ask(f, "POST", "/v1/guests/a%2fb/listeners", "{}"), "404", "{\"error\":");
	(void)snprintf(long_name, sizeof(long_name), "/v1/guests/%0100d/listeners", 1);
	check_reply(ask(f, "POST", long_name, "{}"), "404", "{\"error\":");
	check_reply(ask(f, "GET", "/v1/events?follow=yes", ""), "400", "follow is 0 or 1");
	check_reply(ask(f, "GET", "/v1/status", "{}"), "413", "0 bytes");
	assert_string_equal(f->fake.asked, "");
}

static void a_body_over_the_limit_is_refused(void **state)
{
	static const char chunked[] = "POST /v1/forwards HTTP/1.1\r\nHost: x\r\n"
				      "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
	struct fixture *f = *state;
	size_t size = CONTROL_REPORT_SIZE_MAX + 2;
	char *body = malloc(size), *text;

	assert_non_null(body);
	memset(body, ' ', size - 1);
	body[size - 1] = '\0';
	check_reply(ask(f, "POST", "/v1/guests/x/listeners", body), "413", "{\"error\":");

	body[size - 2] = '\0'; /* just as much as there may be: all blanks */
	check_reply(ask(f, "POST", "/v1/guests/x/listeners", body), "400", "not JSON");

	assert_true(asprintf(&text, "%s1800\r\n%.6144s\r\n0\r\n\r\n", chunked, body) > 0);
	check_reply(http_client_ask(f->loop, f->path, text, strlen(text)), "413", "4096 bytes");
	free(text);
	free(body);
	assert_string_equal(f->fake.asked, "");
}

static void a_hundred_thousand_listeners_are_taken_and_one_more_is_not(void **state)
{
	struct fixture *f = *state;
	char *body = malloc(CONTROL_REPORT_SIZE_MAX), *at = body, *end;

	assert_non_null(body);
	at += sprintf(at, "{\"added\":[" LISTENER);
	for (unsigned int i = 1; i < CONTROL_LISTENERS_MAX; i++)
		at += sprintf(at, "," LISTENER);
	end = at;
	(void)sprintf(end, "]}");
	check_reply(ask(f, "POST", "/v1/guests/x/listeners", body), "200", "{}");
	assert_string_equal(f->fake.asked, "report x +100000 -0");
	(void)sprintf(end, "," LISTENER "]}");
	check_reply(ask(f, "POST", "/v1/guests/x/listeners", body), "413", "100001 entries");
	free(body);
}

static void what_is_no_http_is_refused(void **state)
{
	static const char *const requests[] = {
		"\r\n\r\nhello\r\n\r\n",
		"GET /v1/status\r\n\r\n",
		"GET /v1/status HTTP/9.9\r\nHost: x\r\n\r\n",
		"POST /v1/reload HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		char *reply = http_client_ask(f->loop, f->path, requests[i], strlen(requests[i]));

		assert_null(strstr(reply, " 200 "));
		free(reply);
	}
	assert_string_equal(f->fake.asked, "");
}

static bool has_answer(void *arg)
{
	struct client *c = arg;

	(void)client_step(c);
	return c->in_len > 0;
}

/* One that sends a letter now and then, and one that never goes on. */
static void a_half_request_holds_up_nobody(void **state)
{
	static const char half[] =
		"POST /v1/forwards HTTP/1.1\r\nHost: x\r\nContent-Length: 57\r\n";
	struct fixture *f = *state;
	struct client *head = client_new(f->path, half, sizeof(half) - 1), *body;

	assert_int_equal(strlen(FORWARD), 57);
	assert_false(client_step(head));
	check_reply(ask(f, "GET", "/v1/version", ""), "200", "version");

	body = client_new(f->path, half, sizeof(half) - 1);
	for (const char *at = "\r\n" FORWARD; *at; at++) {
		(void)client_step(body);
		run_a_little(f->loop);
		body->out = at;
		body->out_len = 1;
		body->out_done = 0;
	}
	run_until(f->loop, has_answer, body);
	assert_non_null(strstr(body->in, " 200 "));
	assert_string_equal(f->fake.asked, "expose tcp 8080->80 direct");
	assert_false(client_step(head));
	client_free(head);
	client_free(body);
}

struct crowd {
	struct client *clients[CROWD];
};

static bool crowd_step(void *arg)
{
	struct crowd *crowd = arg;
	bool is_over = true;

	for (int i = 0; i < CROWD; i++) {
		if (crowd->clients[i]->fd < 0)
			crowd->clients[i]->fd =
				http_client_dial((const char *)crowd->clients[i]->in);
		is_over &= crowd->clients[i]->fd >= 0 && client_step(crowd->clients[i]);
	}
	return is_over;
}

static void two_hundred_at_a_time_are_all_answered(void **state)
{
	static const char request[] =
		"GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
	struct fixture *f = *state;
	struct crowd crowd;

	for (int i = 0; i < CROWD; i++) {
		crowd.clients[i] = calloc(1, sizeof(struct client));
		assert_non_null(crowd.clients[i]);
		crowd.clients[i]->fd = -1; /* until the backlog has room */
		crowd.clients[i]->out = request;
		crowd.clients[i]->out_len = sizeof(request) - 1;
		memcpy(crowd.clients[i]->in, f->path, sizeof(f->path));
	}
	run_until(f->loop, crowd_step, &crowd);
	for (int i = 0; i < CROWD; i++) {
		assert_non_null(strstr(crowd.clients[i]->in, " 200 "));
		client_free(crowd.clients[i]);
	}
}

static void the_last_events_are_listed(void **state)
{
	struct fixture *f = *state;

	check_reply(ask(f, "GET", "/v1/events", ""), "200", "Content-Length: 0");
	log_event("forwarding", "host", "127.0.0.1:1", NULL);
	log_event("stopping", "host", "127.0.0.1:1", NULL);
	check_reply(ask(f, "GET", "/v1/events?follow=0", ""), "200",
		    "\"event\":\"stopping\",\"host\":\"127.0.0.1:1\"}\n");
	check_reply(ask(f, "GET", "/v1/events", ""), "200", "\"event\":\"forwarding\"");
}

static bool has_missed_line(void *arg)
{
	struct client *c = arg;

	(void)client_step(c);
	return strstr(c->in, "\"last\"") != NULL;
}

static const char follow[] = "GET /v1/events?follow=1 HTTP/1.1\r\nHost: x\r\n\r\n";

static struct client *follower_new(struct fixture *f)
{
	struct client *c = client_new(f->path, follow, sizeof(follow) - 1);

	run_until(f->loop, has_answer, c); /* the head, before any event */
	assert_non_null(strstr(c->in, " 200 "));
	return c;
}

static void followers_get_events_as_they_happen(void **state)
{
	struct fixture *f = *state;
	struct client *a = follower_new(f), *b = follower_new(f);

	log_event("first", NULL);
	log_event("last", NULL);
	run_until(f->loop, has_missed_line, a);
	run_until(f->loop, has_missed_line, b);
	assert_non_null(strstr(a->in, "\"event\":\"first\"}\n{"));
	assert_false(a->is_over);

	/* both go on beside other requests */
	check_reply(ask(f, "GET", "/v1/version", ""), "200", "version");
	client_free(a); /* and one goes */
	a = follower_new(f);
	run_until(f->loop, has_missed_line, a); /* what was before it came */
	client_free(a);
	client_free(b);
}

/* Nothing happens, so nothing is sent that could fail. */
static void silent_followers_that_went_make_room(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 100; i++) {
		client_free(follower_new(f));
		run_a_little(f->loop);
	}
}

static void streams_are_limited(void **state)
{
	struct fixture *f = *state;
	struct client *followers[32];

	for (size_t i = 0; i < 32; i++)
		followers[i] = follower_new(f);
	check_reply(ask(f, "GET", "/v1/events?follow=1", ""), "503", "32 streams");
	check_reply(ask(f, "GET", "/v1/version", ""), "200", "version");
	for (size_t i = 0; i < 32; i++)
		client_free(followers[i]);
}

/* It does not read, and far more happens than fits into its socket. */
static void a_follower_that_does_not_read_misses_events_and_is_told(void **state)
{
	struct fixture *f = *state;
	struct client *slow = follower_new(f);
	char filling[1000];
	size_t seen = 0;

	memset(filling, 'x', sizeof(filling) - 1);
	filling[sizeof(filling) - 1] = '\0';
	for (int i = 0; i < 3000; i++) {
		log_event("many", "text", filling, NULL);
		if (i % 100 == 0)
			run_a_little(f->loop);
	}
	log_event("last", NULL);
	while (!has_missed_line(slow)) {
		seen |= strstr(slow->in, "\"event\":\"missed\"") != NULL;
		if (slow->in_len > sizeof(slow->in) / 2)
			slow->in_len = 0;
		run_a_little(f->loop);
	}
	assert_true(seen);
	client_free(slow);
}

static void followers_end_with_the_server(void **state)
{
	struct fixture *f = *state;
	struct client *c = follower_new(f);

	control_free(f->control);
	f->control = NULL;
	assert_true(client_step(c));
	client_free(c);
}

struct stranger {
	struct loop *loop;
	pid_t pid;
	int status;
};

static bool has_ended(void *arg)
{
	struct stranger *s = arg;

	loop_do_not_sleep(s->loop); /* nobody would wake it */
	usleep(1000);
	return waitpid(s->pid, &s->status, WNOHANG) == s->pid;
}

/* Exits with 0 if it is shut out without a word. */
static void be_a_stranger(const char *path)
{
	static const char request[] = "GET /v1/status HTTP/1.0\r\n\r\n";
	char byte;
	int fd, flags = 0;

	if (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0)
		_exit(2);
	fd = http_client_dial(path);
	if (fd < 0)
		_exit(3);
	(void)send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL);
	for (;;) {
		ssize_t n = recv(fd, &byte, 1, flags);

		if (n == 0 || (n < 0 && errno == ECONNRESET))
			_exit(0);
		if (n > 0)
			_exit(4);
		usleep(1000);
	}
}

/* The file's mode keeps others out; if it were open, their user would. */
static void another_user_is_refused(void **state)
{
	struct fixture *f = *state;
	struct stranger s = { .loop = f->loop };

	if (geteuid() != 0)
		skip();
	assert_int_equal(chmod(f->dir, 0755), 0);
	assert_int_equal(chmod(f->path, 0666), 0);
	s.pid = fork();
	if (s.pid == 0)
		be_a_stranger(f->path);
	assert_true(s.pid > 0);
	run_until(f->loop, has_ended, &s);
	assert_true(WIFEXITED(s.status));
	assert_int_equal(WEXITSTATUS(s.status), 0);
	check_reply(ask(f, "GET", "/v1/status", ""), "200", "\"foreign_users\":1");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(status_has_guests_forwards_and_counters),
		TEST(each_action_reaches_its_operation),
		TEST(an_operations_error_becomes_a_status),
		TEST(bad_requests_do_nothing),
		TEST(a_body_over_the_limit_is_refused),
		TEST(a_hundred_thousand_listeners_are_taken_and_one_more_is_not),
		TEST(what_is_no_http_is_refused),
		TEST(a_half_request_holds_up_nobody),
		TEST(two_hundred_at_a_time_are_all_answered),
		TEST(the_last_events_are_listed),
		TEST(followers_get_events_as_they_happen),
		TEST(silent_followers_that_went_make_room),
		TEST(streams_are_limited),
		TEST(a_follower_that_does_not_read_misses_events_and_is_told),
		TEST(followers_end_with_the_server),
		TEST(another_user_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
