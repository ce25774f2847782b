/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/agent_install.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/agent_program.h"
#include "forwarder/shell_job.h"

#define LINE_SIZE 512
#define SCRIPT_SIZE 4096
#define DONE "netfwd-agent is installed"

/* The login shell may be any, so sh is asked for. */
#define ASK_MACHINE "exec uname -m"
#define MAKE_DIRECTORY \
	"exec sh -c 'umask 077; d=$(mktemp -d) && cat >\"$d/netfwd-agent\" && echo \"$d\"' 2>&1"
#define PUT_TOKEN "exec sh -c 'umask 077; cat >%s/netfwd-token' 2>&1"
#define RUN_SCRIPT                                                                          \
	"exec sh -c 'if [ \"$(id -u)\" = 0 ]; then sh -s; "                                 \
	"elif command -v sudo >/dev/null; then sudo -n sh -s; "                             \
	"else echo this takes root, or sudo, and the guest has no sudo for this user; fi; " \
	"rm -rf %s' 2>&1"

/* Run by root's sh in the guest: from the directory d. */
static const char script[] =
	"fail() { echo \"$*\"; exit 1; }\n"
	"put() { # FROM TO MODE\n"
	"	if cmp -s \"$1\" \"$2\"; then echo \"$2 is there already\"; return; fi\n"
	"	mkdir -p \"${2%/*}\" && cp \"$1\" \"$2.new\" && chmod \"$3\" \"$2.new\" &&\n"
	"		mv -f \"$2.new\" \"$2\" || fail \"$2 cannot be written\"\n"
	"	changed=yes; echo \"$2 is written\"\n"
	"}\n"
	"umask 022; changed=; agent=/usr/local/bin/netfwd-agent\n"
	"put \"$d/netfwd-agent\" $agent 755\n"
	"$agent --version >/dev/null || fail \"$agent does not run here\"\n"
	"[ ! -f \"$d/netfwd-token\" ] || put \"$d/netfwd-token\" /etc/netfwd-token 600\n"
	"if [ -d /run/systemd/system ]; then\n"
	"cat >\"$d/unit\" <<END\n"
	"[Unit]\n"
	"Description=Port forwarding to the host of this virtual machine\n"
	"[Service]\n"
	"ExecStart=$agent $options\n"
	"Restart=on-failure\n"
	"RestartSec=1\n"
	"OOMPolicy=continue\n"
	"OOMScoreAdjust=-500\n"
	"[Install]\n"
	"WantedBy=multi-user.target\n"
	"END\n"
	"	put \"$d/unit\" /etc/systemd/system/netfwd-agent.service 644\n"
	"	systemctl daemon-reload && systemctl -q enable netfwd-agent &&\n"
	"		systemctl ${changed:+re}start netfwd-agent || fail \"systemctl has "
	"failed\"\n"
	"	by=systemd\n"
	"elif command -v rc-service >/dev/null; then\n"
	"cat >\"$d/unit\" <<END\n"
	"#!/sbin/openrc-run\n"
	"description=\"Port forwarding to the host of this virtual machine\"\n"
	"supervisor=supervise-daemon\n"
	"command=$agent\n"
	"command_args=\"$options\"\n"
	"respawn_delay=1\n"
	"respawn_max=0\n"
	"END\n"
	"	put \"$d/unit\" /etc/init.d/netfwd-agent 755\n"
	"	{ rc-update -q add netfwd-agent default &&\n"
	"		rc-service -q netfwd-agent ${changed:+re}start; } || fail \"OpenRC has "
	"failed\"\n"
	"	by=OpenRC\n"
	"else\n"
	"	fail \"neither systemd nor OpenRC is here: have this started at boot: "
	"$agent $options\"\n"
	"fi\n"
	"echo \"it is started by $by, at every boot: $agent $options\"\n"
	"echo '" DONE "'\n";

struct agent_install {
	struct agent_install_setup setup;
	struct shell_job *job;
	uint8_t *bytes;	      /* what the job is to read */
	char line[LINE_SIZE]; /* the last that it said */
	char directory[64];   /* in the guest */
};

void agent_install_cancel(struct agent_install *i)
{
	if (!i)
		return;
	shell_job_cancel(i->job);
	free(i->bytes);
	free(i);
}

static void end(struct agent_install *i, int error)
{
	const struct agent_install_setup setup = i->setup;

	agent_install_cancel(i);
	setup.done(setup.arg, error);
}

static void end_because(struct agent_install *i, const char *why)
{
	i->setup.tell(i->setup.arg, why);
	end(i, -ECANCELED);
}

/* ---- one command ---- */

struct step {
	const char *command;
	size_t input_len; /* of bytes */
	void (*line)(void *arg, const char *line);
	void (*done)(void *arg, int error);
};

static void keep_line(void *arg, const char *line)
{
	struct agent_install *i = arg;

	(void)snprintf(i->line, sizeof(i->line), "%s", line);
}

static int run(struct agent_install *i, const struct step *step)
{
	const struct shell_job_setup setup = {
		.run = i->setup.run,
		.run_arg = i->setup.run_arg,
		.command = step->command,
		.input = i->bytes,
		.input_len = step->input_len,
		.line = step->line,
		.done = step->done,
		.arg = i,
	};

	i->line[0] = '\0';
	return shell_job_start(&setup, &i->job);
}

static void go_on(struct agent_install *i, const struct step *step)
{
	int r = run(i, step);

	if (r < 0)
		end(i, r);
}

/* The input of the next step. */
static void set_input(struct agent_install *i, uint8_t *bytes)
{
	free(i->bytes);
	i->bytes = bytes;
}

/* True: it went wrong, and all is over. */
static bool has_failed(struct agent_install *i, int error)
{
	i->job = NULL;
	if (error < 0)
		end(i, error);
	return error < 0;
}

/* ---- the steps, the last one first ---- */

static void pass_line(void *arg, const char *line)
{
	struct agent_install *i = arg;

	keep_line(i, line);
	i->setup.tell(i->setup.arg, line);
}

static void on_installed(void *arg, int error)
{
	struct agent_install *i = arg;

	if (!has_failed(i, error))
		end(i, strcmp(i->line, DONE) == 0 ? 0 : -ECANCELED);
}

static void install(struct agent_install *i)
{
	char command[SCRIPT_SIZE / 8], *text = malloc(SCRIPT_SIZE);
	int n;

	if (!text) {
		end(i, -ENOMEM);
		return;
	}
	n = snprintf(text, SCRIPT_SIZE, "d='%s'\noptions='%s'\n%s", i->directory, i->setup.options,
		     script);
	set_input(i, (uint8_t *)text);
	(void)snprintf(command, sizeof(command), RUN_SCRIPT, i->directory);
	go_on(i, &(struct step){ command, (size_t)n, pass_line, on_installed });
}

static void on_token(void *arg, int error)
{
	struct agent_install *i = arg;

	if (has_failed(i, error))
		return;
	if (*i->line)
		end_because(i, i->line);
	else
		install(i);
}

static void put_token(struct agent_install *i)
{
	char command[SCRIPT_SIZE / 8], why[LINE_SIZE];
	uint8_t *bytes;
	size_t len;
	int r = agent_program_read(i->setup.token_path, &bytes, &len);

	if (r < 0) {
		(void)snprintf(why, sizeof(why), "%s: %s", i->setup.token_path,
			       strerrordesc_np(-r));
		end_because(i, why);
		return;
	}
	set_input(i, bytes);
	(void)snprintf(command, sizeof(command), PUT_TOKEN, i->directory);
	go_on(i, &(struct step){ command, len, keep_line, on_token });
}

/* It goes into commands. */
static bool is_directory(const char *path)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789./_-";

	return path[0] == '/' && path[strspn(path, allowed)] == '\0';
}

static void on_program(void *arg, int error)
{
	struct agent_install *i = arg;

	if (has_failed(i, error))
		return;
	if (!is_directory(i->line) || strlen(i->line) >= sizeof(i->directory)) {
		end_because(i, *i->line ? i->line : "the guest has no room for the program");
		return;
	}
	memcpy(i->directory, i->line, strlen(i->line) + 1);
	if (i->setup.token_path)
		put_token(i);
	else
		install(i);
}

static void put_program(struct agent_install *i)
{
	char path[PATH_MAX], why[PATH_MAX + 2 * LINE_SIZE];
	uint8_t *bytes = NULL;
	size_t len;
	int r = agent_program_find(i->line, path);

	if (r == 0)
		r = agent_program_read(path, &bytes, &len);
	if (r < 0) {
		(void)snprintf(why, sizeof(why), "the guest is of kind \"%s\": %s: %s", i->line,
			       path, strerrordesc_np(-r));
		end_because(i, why);
		return;
	}
	(void)snprintf(why, sizeof(why), "%s goes to the guest, which is of kind %s", path,
		       i->line);
	i->setup.tell(i->setup.arg, why);
	set_input(i, bytes);
	go_on(i, &(struct step){ MAKE_DIRECTORY, len, keep_line, on_program });
}

static void on_machine(void *arg, int error)
{
	struct agent_install *i = arg;

	if (has_failed(i, error))
		return;
	if (*i->line)
		put_program(i);
	else
		end_because(i, "the guest runs no commands, or knows no uname");
}

int agent_install_start(const struct agent_install_setup *setup, struct agent_install **out)
{
	struct agent_install *i = calloc(1, sizeof(*i));
	int r;

	if (!i)
		return -ENOMEM;
	i->setup = *setup;
	r = run(i, &(struct step){ ASK_MACHINE, 0, keep_line, on_machine });
	if (r < 0) {
		free(i);
		return r;
	}
	*out = i;
	return 0;
}
