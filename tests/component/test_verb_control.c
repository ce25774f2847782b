/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs of the control socket against a server with fake operations. A verb
 * waits for its answer, so it runs in a process of its own. */
#include "forwarder/verb_control.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "forwarder/control_socket.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/unix_socket.h"
#include "tests/support/fake_control.h"
#include "tests/support/run_until.h"

struct fixture {
	char dir[32], path[64], output_path[64];
	struct loop *loop;
	struct control *control;
	struct fake_control fake;
	char output[16384]; /* of the last verb: stdout and stderr */
	pid_t verb;
	int status;
};

typedef int verb_fn(int argc, char *argv[]);

static int setup(void **state)
{
	static struct fixture f;
	struct control_ops ops = fake_control_ops(&f.fake);

	f = (struct fixture){ .dir = "/tmp/netfwd-test-XXXXXX" };
	*state = &f;
	if (!mkdtemp(f.dir) || loop_new(&f.loop) < 0)
		return -1;
	(void)snprintf(f.path, sizeof(f.path), "%s/control.sock", f.dir);
	(void)snprintf(f.output_path, sizeof(f.output_path), "%s/output", f.dir);
	return control_new(f.loop, f.path, &ops, &f.control);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	control_free(f->control);
	loop_free(f->loop);
	(void)unlink(f->output_path);
	return rmdir(f->dir);
}

/* In the child: the verb with its own copy of the words. */
static void be_the_verb(const struct fixture *f, verb_fn *verb, const char *const argv[])
{
	int fd = open(f->output_path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
	char *words[12] = { NULL };
	int argc = 0, status;

	if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
		_exit(99);
	for (; argv[argc]; argc++)
		words[argc] = strdup(argv[argc]);
	status = verb(argc, words);
	(void)fflush(stdout);
	_exit(status);
}

static void start(struct fixture *f, verb_fn *verb, const char *const argv[])
{
	f->verb = fork();
	assert_true(f->verb >= 0);
	if (f->verb == 0)
		be_the_verb(f, verb, argv);
}

static void read_output(struct fixture *f)
{
	int fd = open(f->output_path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, f->output, sizeof(f->output) - 1);

	assert_true(n >= 0);
	f->output[n] = '\0';
	if (fd >= 0)
		close(fd);
}

static bool has_ended(void *arg)
{
	struct fixture *f = arg;

	loop_do_not_sleep(f->loop); /* nobody would wake it */
	usleep(500);
	return waitpid(f->verb, &f->status, WNOHANG) == f->verb;
}

/* Its exit status. */
static int run(struct fixture *f, verb_fn *verb, const char *const argv[])
{
	start(f, verb, argv);
	run_until(f->loop, has_ended, f);
	read_output(f);
	assert_true(WIFEXITED(f->status));
	return WEXITSTATUS(f->status);
}

/* run(f, verb_x, "x", "--control", f->path, ...) */
#define RUN(f, verb, ...) run(f, verb, (const char *const[]){ __VA_ARGS__, NULL })

static void says(const struct fixture *f, const char *text)
{
	if (!strstr(f->output, text))
		fail_msg("no \"%s\" in: %s", text, f->output);
}

static void status_is_a_table(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(RUN(f, verb_status, "status", "--control", f->path), 0);
	says(f, "netfwd " NETFWD_VERSION ", process ");
	says(f, "\nGUEST    LINK    STATE      ADDRESSES  TO GUEST  TO HOST  PATH\n"
		"default  stream  connected  -          1         8.0 EiB  /run/x.sock\n");
	says(f, "\nudp    127.0.0.1:53  default  192.168.5.15:53  direct  failed  0     0      "
		"0         0        Address \"already\" in use?\n");
}

static void status_is_json_on_request(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(RUN(f, verb_status, "status", "--json", "--control", f->path), 0);
	assert_int_equal(f->output[0], '{');
	says(f, "\"counters\":{\"udp.no_port\":7}");
	says(f, "}}\n");
}

static void a_forward_reaches_the_server_as_written(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(RUN(f, verb_expose, "expose", "--control", f->path, "tcp:8080:80"), 0);
	assert_string_equal(f->fake.asked, "expose tcp 8080->80 -");
	assert_string_equal(f->output, "");
	assert_int_equal(RUN(f, verb_expose, "expose", "--control", f->path, "--via", "auto",
			     "udp:[::1]:9000-9010:[fd00::1]:53-63"),
			 0);
	assert_string_equal(f->fake.asked, "expose udp 9000->53 auto");
	assert_int_equal(RUN(f, verb_unexpose, "unexpose", "--control", f->path, "tcp:8080:80"), 0);
	assert_string_equal(f->fake.asked, "unexpose tcp 8080->80 -");
	assert_int_equal(RUN(f, verb_reload, "reload", "--control", f->path), 0);
	assert_string_equal(f->fake.asked, "reload");
}

static void a_refusal_is_told_and_fails(void **state)
{
	struct fixture *f = *state;

	f->fake.result = -EADDRINUSE;
	f->fake.error = "127.0.0.1:8080 is taken\033[2J";
	assert_int_equal(RUN(f, verb_expose, "expose", "--control", f->path, "tcp:8080:80"), 1);
	assert_string_equal(f->output, "netfwd: error: 127.0.0.1:8080 is taken\\x1b[2J\n");
	f->fake.result = -EINVAL;
	f->fake.error = "netfwd.yaml:3:1: what is that?";
	assert_int_equal(RUN(f, verb_reload, "reload", "--control", f->path), 1);
	says(f, "netfwd.yaml:3:1: what is that?");
}

static void a_wrong_command_line_asks_nobody(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(RUN(f, verb_expose, "expose", "--control", f->path), 1);
	says(f, "the forward is missing; see netfwd expose --help");
	assert_int_equal(RUN(f, verb_expose, "expose", "--control", f->path, "tcp:80"), 1);
	says(f, "tcp:80: ");
	assert_int_equal(RUN(f, verb_expose, "expose", "--via", "ftp", "tcp:1:1"), 1);
	says(f, "--via ftp: must be");
	assert_int_equal(RUN(f, verb_status, "status", "--control"), 1);
	says(f, "--control: a value is missing");
	assert_int_equal(RUN(f, verb_status, "status", "--follow"), 1);
	says(f, "--follow: unknown option; see netfwd status --help");
	assert_int_equal(RUN(f, verb_reload, "reload", "now"), 1);
	says(f, "unexpected argument \"now\"");
	assert_string_equal(f->fake.asked, "");
}

static void without_a_server_the_verbs_say_so(void **state)
{
	struct fixture *f = *state;
	char missing[128], long_path[200];

	(void)snprintf(missing, sizeof(missing), "%s/no.sock", f->dir);
	assert_int_equal(RUN(f, verb_status, "status", "--control", missing), 1);
	says(f, "no netfwd serves /tmp/netfwd-test-");
	memset(long_path, 'x', sizeof(long_path) - 1);
	long_path[sizeof(long_path) - 1] = '\0';
	assert_int_equal(RUN(f, verb_status, "status", "--control", long_path), 1);
	says(f, "1 to 107 characters");

	setenv("XDG_RUNTIME_DIR", f->dir, 1); /* the user's, without netfwd */
	assert_int_equal(RUN(f, verb_status, "status"), 1);
	says(f, "no netfwd serves");
	unsetenv("XDG_RUNTIME_DIR");
}

static void events_are_lines(void **state)
{
	struct fixture *f = *state;

	log_event("forwarding", "host", "127.0.0.1:1", NULL);
	log_event("stopping", NULL);
	assert_int_equal(RUN(f, verb_events, "events", "--control", f->path), 0);
	says(f, "\"event\":\"forwarding\",\"host\":\"127.0.0.1:1\"}\n{\"time\"");
}

static bool has_followed(void *arg)
{
	struct fixture *f = arg;

	loop_do_not_sleep(f->loop);
	usleep(500);
	read_output(f);
	return strstr(f->output, "\"second\"") != NULL;
}

static bool has_begun(void *arg)
{
	struct fixture *f = arg;

	loop_do_not_sleep(f->loop);
	usleep(500);
	read_output(f);
	return strstr(f->output, "\"first\"") != NULL;
}

static void followed_events_come_at_once_until_the_server_ends(void **state)
{
	struct fixture *f = *state;
	const char *const argv[] = { "events", "--follow", "--control", f->path, NULL };

	log_event("first", NULL);
	start(f, verb_events, argv);
	run_until(f->loop, has_begun, f);
	log_event("second", NULL);
	run_until(f->loop, has_followed, f);
	control_free(f->control);
	f->control = NULL;
	run_until(f->loop, has_ended, f);
	assert_true(WIFEXITED(f->status));
	assert_int_equal(WEXITSTATUS(f->status), 0);
}

static int be_curl(int argc, char *argv[])
{
	(void)argc;
	(void)execvp("curl", argv);
	return errno == ENOENT ? 77 : 78;
}

/* A client that is not ours. */
static void curl_understands_the_server(void **state)
{
	struct fixture *f = *state;
	int status = RUN(f, be_curl, "curl", "--version");

	if (status == 77)
		skip();
	assert_int_equal(RUN(f, be_curl, "curl", "-sSf", "--max-time", "20", "--unix-socket",
			     f->path, "http://localhost/v1/status"),
			 0);
	says(f, "\"udp.no_port\":7}");
	assert_int_equal(RUN(f, be_curl, "curl", "-sS", "--max-time", "20", "--unix-socket",
			     f->path, "-d",
			     "{\"proto\":\"tcp\",\"host\":\"8080\",\"guest\":\"80\"}",
			     "http://localhost/v1/forwards"),
			 0);
	assert_string_equal(f->output, "{}\n");
	assert_string_equal(f->fake.asked, "expose tcp 8080->80 -");
	assert_int_equal(RUN(f, be_curl, "curl", "-sSf", "--max-time", "20", "--unix-socket",
			     f->path, "http://localhost/v1/nothing"),
			 22);
	says(f, "404");
}

struct liar {
	struct fixture *f;
	struct unix_socket socket;
	const char *answer;
};

static bool has_been_lied_to(void *arg)
{
	struct liar *liar = arg;
	char request[4096];
	int fd = accept(liar->socket.fd, NULL, NULL);

	if (fd >= 0) {
		assert_true(read(fd, request, sizeof(request)) > 0);
		assert_int_equal(write(fd, liar->answer, strlen(liar->answer)),
				 strlen(liar->answer));
		close(fd);
	}
	return has_ended(liar->f);
}

/* Some other program serves the socket. */
static void what_is_no_answer_is_refused(void **state)
{
	static const struct {
		const char *answer, *says;
	} cases[] = {
		{ "SSH-2.0-OpenSSH_9.2\r\n", "this is no netfwd" },
		{ "HTTP/1.1 200 OK\r\n\r\n{}", "this is no netfwd" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{}", "ended the connection" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{]", "netfwd's answer is not JSON" },
		{ "HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno", "status 404" },
	};
	struct fixture *f = *state;
	struct liar liar = { .f = f };
	char path[128];
	const char *const argv[] = { "status", "--control", path, NULL };

	(void)snprintf(path, sizeof(path), "%s/liar.sock", f->dir);
	assert_int_equal(unix_socket_listen(path, &liar.socket), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		liar.answer = cases[i].answer;
		start(f, verb_status, argv);
		run_until(f->loop, has_been_lied_to, &liar);
		read_output(f);
		assert_int_equal(WEXITSTATUS(f->status), 1);
		says(f, cases[i].says);
	}
	unix_socket_close(&liar.socket);
}

/* XDG_RUNTIME_DIR is the fixture's directory, in this process and the verbs'. */
static void the_users_own_socket_is_found_by_both_sides(void **state)
{
	struct fixture *f = *state;
	struct control_ops ops = fake_control_ops(&f->fake);
	char dir[64];

	setenv("XDG_RUNTIME_DIR", f->dir, 1);
	control_free(f->control);
	f->control = NULL;
	assert_int_equal(control_socket_open(f->loop, NULL, &ops, &f->control), 0);
	assert_non_null(f->control);
	assert_int_equal(RUN(f, verb_reload, "reload"), 0);
	assert_string_equal(f->fake.asked, "reload");
	unsetenv("XDG_RUNTIME_DIR");
	control_free(f->control);
	f->control = NULL;
	(void)snprintf(dir, sizeof(dir), "%s/netfwd", f->dir);
	assert_int_equal(rmdir(dir), 0);
}

static void a_second_server_does_without_the_users_own_socket(void **state)
{
	struct fixture *f = *state;
	struct control_ops ops = fake_control_ops(&f->fake);
	struct control *first = NULL, *second = f->control;
	char dir[64];

	setenv("XDG_RUNTIME_DIR", f->dir, 1);
	assert_int_equal(control_socket_open(f->loop, NULL, &ops, &first), 0);
	assert_non_null(first);
	assert_int_equal(control_socket_open(f->loop, NULL, &ops, &second), 0);
	assert_null(second);
	assert_int_equal(control_socket_open(f->loop, f->path, &ops, &second), -EADDRINUSE);
	unsetenv("XDG_RUNTIME_DIR");
	control_free(first);
	(void)snprintf(dir, sizeof(dir), "%s/netfwd", f->dir);
	assert_int_equal(rmdir(dir), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(status_is_a_table),
		TEST(status_is_json_on_request),
		TEST(a_forward_reaches_the_server_as_written),
		TEST(a_refusal_is_told_and_fails),
		TEST(a_wrong_command_line_asks_nobody),
		TEST(without_a_server_the_verbs_say_so),
		TEST(events_are_lines),
		TEST(followed_events_come_at_once_until_the_server_ends),
		TEST(curl_understands_the_server),
		TEST(what_is_no_answer_is_refused),
		TEST(the_users_own_socket_is_found_by_both_sides),
		TEST(a_second_server_does_without_the_users_own_socket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
