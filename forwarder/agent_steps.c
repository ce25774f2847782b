/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/agent_steps.h"

#include "forwarder/agent_transport.h"
#include "forwarder/qemu_args.h"

#define TEXT_SIZE AGENT_STEPS_OPTIONS_SIZE
#define IN_GUEST "/usr/local/bin/netfwd-agent"
#define TOKEN_IN_GUEST "/etc/netfwd-token"

/* A word of a command line; what does not fit is not quoted but cut. */
static const char *quoted(const char *text, char out[static TEXT_SIZE])
{
	if (shell_quote(text, out, TEXT_SIZE) < 0)
		(void)snprintf(out, TEXT_SIZE, "%s", text);
	return out;
}

static unsigned int port_of(const struct config_agent *agent)
{
	return agent->port ? (unsigned int)agent->port : AGENT_DEFAULT_PORT;
}

static const char *ssh_option(const struct agent_steps *s)
{
	return s->ssh->over_vsock == RULE_SWITCH_ON ? " --vsock-ssh" : "";
}

void agent_steps_options(const struct agent_steps *steps, char out[static TEXT_SIZE])
{
	const struct config_agent *agent = steps->agent;
	const char *ssh = ssh_option(steps);
	char path[TEXT_SIZE];

	if (agent->transport == CONFIG_AGENT_VSOCK)
		(void)snprintf(out, TEXT_SIZE, "--vsock=%u%s", port_of(agent), ssh);
	else if (agent->transport == CONFIG_AGENT_TCP)
		(void)snprintf(out, TEXT_SIZE, "--tcp 0.0.0.0:%u --token-file " TOKEN_IN_GUEST "%s",
			       port_of(agent), ssh);
	else if (agent->transport == CONFIG_AGENT_UNIX)
		(void)snprintf(out, TEXT_SIZE, "--unix %s%s", quoted(agent->path, path), ssh);
	else
		(void)snprintf(out, TEXT_SIZE, "--serial " QEMU_AGENT_PORT "%s", ssh);
}

static int print_copy(const struct agent_steps *s, const char *file, const char *to_path, FILE *to)
{
	const struct config_ssh *ssh = s->ssh;
	char word[TEXT_SIZE];
	int r = fprintf(to, "     scp");

	if (r >= 0 && ssh->port)
		r = fprintf(to, " -P %d", ssh->port);
	if (r >= 0 && ssh->identity_file)
		r = fprintf(to, " -i %s", quoted(ssh->identity_file, word));
	if (r >= 0)
		r = fprintf(to, " %s", quoted(file, word));
	return r < 0 ? r : fprintf(to, " root@%s:%s\n", ssh->host ? ssh->host : "GUEST", to_path);
}

static int print_program(const struct agent_steps *s, FILE *to)
{
	int r = fprintf(to, "1. Copy the agent, one file that needs no library, into the guest:\n");

	if (r >= 0)
		r = print_copy(s, s->program, IN_GUEST, to);
	if (r >= 0 && s->agent->transport == CONFIG_AGENT_TCP)
		r = print_copy(s, s->agent->token_file, TOKEN_IN_GUEST, to);
	return r;
}

/* What a shell reads from <<END must not be indented. */
static int print_service(const char *options, FILE *to)
{
	return fprintf(to,
		       "2. Have it started there, by systemd. In the guest, as root:\n"
		       "cat >/etc/systemd/system/netfwd-agent.service <<END\n"
		       "[Unit]\n"
		       "Description=Port forwarding to the host of this virtual machine\n"
		       "[Service]\n"
		       "ExecStart=" IN_GUEST " %s\n"
		       "Restart=on-failure\n"
		       "RestartSec=1\n"
		       "OOMScoreAdjust=-500\n"
		       "[Install]\n"
		       "WantedBy=multi-user.target\n"
		       "END\n"
		       "systemctl enable --now netfwd-agent\n"
		       "   With OpenRC, netfwd-agent.openrc of netfwd's examples is the script.\n",
		       options);
}

/* A namespace shares the files and the processor of the host. */
static int print_namespace(const struct agent_steps *s, const char *options, FILE *to)
{
	char program[TEXT_SIZE];

	return fprintf(to,
		       "1. Start the agent in the guest's network namespace, as root there:\n"
		       "     nsenter --net=/run/netns/GUEST %s %s\n",
		       quoted(s->program, program), options);
}

static int print_host(const struct agent_steps *s, int number, FILE *to)
{
	const char *command =
		s->agent->transport == CONFIG_AGENT_SERIAL && !s->agent->path ? " qemu" : "";
	char path[TEXT_SIZE];

	return fprintf(to,
		       "%d. Start netfwd; with -v it says when it has found the agent:\n"
		       "     netfwd%s -v --config %s%s\n",
		       number, command, quoted(s->config_path, path),
		       *command ? " -- qemu-system-... (as before)" : "");
}

int agent_steps_print(const struct agent_steps *s, FILE *to)
{
	char options[TEXT_SIZE];
	int r;

	agent_steps_options(s, options);
	if (s->agent->transport == CONFIG_AGENT_UNIX) {
		r = print_namespace(s, options, to);
		return r < 0 ? r : print_host(s, 2, to);
	}
	r = print_program(s, to);
	if (r >= 0)
		r = print_service(options, to);
	return r < 0 ? r : print_host(s, 3, to);
}
