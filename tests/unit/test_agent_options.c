/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/agent/agent_options.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define MAX_ARGS 16

/* Splits a command line at blanks; the words stay in the buffer. */
struct command {
	char buffer[512];
	char *argv[MAX_ARGS + 1];
	int argc;
	char error[AGENT_OPTIONS_ERROR_SIZE];
};

static int parse(struct command *c, const char *line, struct agent_options *o)
{
	char *save = NULL;

	*c = (struct command){ .argc = 0 };
	(void)snprintf(c->buffer, sizeof(c->buffer), "netfwd-agent %s", line);
	for (char *word = strtok_r(c->buffer, " ", &save); word; word = strtok_r(NULL, " ", &save))
		c->argv[c->argc++] = word;
	return agent_options_parse(c->argc, c->argv, o, c->error);
}

static void every_option_reaches_its_field(void **state)
{
	char text[ADDR_TEXT_SIZE];
	struct agent_options o;
	struct command c;

	(void)state;
	assert_int_equal(parse(&c,
			       "--vsock=77 --unix /run/a --tcp 10.0.0.2:99 --token-file /t "
			       "--serial port.0 --vsock-ssh --stdio -vv --ready-fd 9",
			       &o),
			 0);
	assert_int_equal(o.action, AGENT_RUN);
	assert_int_equal(o.vsock_port, 77);
	assert_string_equal(o.unix_path, "/run/a");
	assert_string_equal(endpoint_format(&o.tcp, text), "10.0.0.2:99");
	assert_string_equal(o.token_path, "/t");
	assert_string_equal(o.serial_path, "port.0");
	assert_true(o.with_stdio);
	assert_true(o.offers_ssh);
	assert_int_equal(o.verbosity, 2);
	assert_int_equal(o.ready_fd, 9);
}

static void what_is_not_given_is_not_asked_for(void **state)
{
	struct agent_options o;
	struct command c;

	(void)state;
	assert_int_equal(parse(&c, "--vsock", &o), 0);
	assert_int_equal(o.vsock_port, 2222);
	assert_null(o.unix_path);
	assert_null(o.serial_path);
	assert_int_equal(o.tcp.port, 0);
	assert_false(o.with_stdio);
	assert_false(o.offers_ssh);
	assert_int_equal(o.ready_fd, -1);
	assert_int_equal(parse(&c, "--help", &o), 0);
	assert_int_equal(o.action, AGENT_HELP);
	assert_int_equal(parse(&c, "--version --nonsense", &o), 0);
	assert_int_equal(o.action, AGENT_VERSION);
}

struct mistake {
	const char *line;
	const char *error; /* a part of it */
};

static void mistakes_are_told_with_what_is_wrong(void **state)
{
	static const struct mistake mistakes[] = {
		{ "", "where should the host come from" },
		{ "--vsock-ssh", "where should the host come from" },
		{ "--vsock=0", "--vsock=0" },
		{ "--vsock=99999999999", "--vsock=99999999999" },
		{ "--vsock=-1", "--vsock=-1" },
		{ "--tcp 10.0.0.2:99", "--token-file" },
		{ "--stdio --token-file /t", "--tcp" },
		{ "--tcp 10.0.0.2 --token-file /t", "ADDRESS:PORT" },
		{ "--tcp :99 --token-file /t", "ADDRESS:PORT" },
		{ "--tcp 10.0.0.2:0 --token-file /t", "ADDRESS:PORT" },
		{ "--tcp 10.0.0.2:65536 --token-file /t", "ADDRESS:PORT" },
		{ "--tcp host:99 --token-file /t", "host is no IPv4 address" },
		{ "--tcp ::1:99 --token-file /t", "no IPv4 address" },
		{ "--stdio --from 10.0.0.1", "--tcp, which was not given" },
		{ "--tcp 10.0.0.2:99 --token-file /t --from host", "--from host" },
		{ "--tcp 10.0.0.2:99 --token-file /t --from 0.0.0.0", "--from 0.0.0.0" },
		{ "--tcp 10.0.0.2:99 --token-file /t --from ::1", "--from ::1" },
		{ "--stdio --ready-fd 2", "--ready-fd 2" },
		{ "--stdio --nonsense", "--nonsense" },
		{ "--stdio -x", "-x" },
		{ "--stdio more", "\"more\"" },
		{ "--serial", "needs a value" },
		{ "--serial= --stdio", "--serial" },
		{ "--unix= --stdio", "--unix" },
	};
	struct agent_options o;
	struct command c;

	(void)state;
	for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
		assert_int_equal(parse(&c, mistakes[i].line, &o), -EINVAL);
		if (!strstr(c.error, mistakes[i].error))
			fail_msg("%s: %s", mistakes[i].line, c.error);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_option_reaches_its_field),
		cmocka_unit_test(what_is_not_given_is_not_asked_for),
		cmocka_unit_test(mistakes_are_told_with_what_is_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
