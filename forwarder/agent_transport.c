/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/agent_transport.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "forwarder/agent_command.h"
#include "forwarder/agent_token.h"
#include "forwarder/agent_upload.h"
#include "forwarder/config.h"
#include "forwarder/rpc/serial_port.h"
#include "forwarder/token_stream.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/dial.h"
#include "netstack/stack.h"
#include "netstack/stream.h"
#include "netstack/stream_fd.h"
#include "netstack/unix_socket.h"
#include "netstack/vsock/vsock.h"

#define NAME_SIZE 160

struct agent_transport {
	struct loop *loop;
	struct agent_transport_setup setup;
	struct agent_token token; /* of TCP; "" if there is none */
	struct serial_port *serial;
	bool is_serial_broken;
	struct agent_upload *upload;   /* of ssh */
	struct agent_command *command; /* of command */
	char name[NAME_SIZE];
};

static unsigned int port_of(const struct config_agent *config)
{
	return config->port ? (unsigned int)config->port : AGENT_DEFAULT_PORT;
}

/* --- sockets ------------------------------------------------------------- */

static int connect_vsock(struct agent_transport *t, struct stream **out)
{
	uint32_t host_port;

	assert(t->setup.vsock); /* options_merge.c has seen to it */
	return vsock_dial(t->setup.vsock, port_of(t->setup.config), &host_port, out);
}

static int open_unix(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	memcpy(address.sun_path, path, strlen(path) + 1); /* config_check.c has measured it */
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		int r = -errno; /* EAGAIN, too: the backlog is full */

		close(fd);
		return r;
	}
	unix_socket_widen(fd);
	return fd;
}

static int connect_unix(struct agent_transport *t, struct stream **out)
{
	int fd = open_unix(t->setup.config->path);

	return fd < 0 ? fd : stream_fd_new(t->loop, fd, false, out);
}

/* Where the agent listens: an address of the host's network, or the guest's NIC. */
static struct endpoint tcp_endpoint(const struct agent_transport *t)
{
	const struct config_agent *c = t->setup.config;
	struct endpoint to = { *t->setup.guest, (uint16_t)port_of(c) };

	if (c->host)
		(void)ipaddr_parse(c->host, &to.addr); /* config_check.c has seen to it */
	return to;
}

static int connect_tcp(struct agent_transport *t, struct stream **out)
{
	const struct endpoint to = tcp_endpoint(t);
	struct stream *stream;
	int r = t->setup.config->host ? dial_tcp(t->loop, &to, &stream) :
					stack_dial_tcp(t->setup.stack, &to, &stream);

	return r < 0 ? r : token_stream_new(stream, &t->token, out);
}

/* --- a serial line ------------------------------------------------------- */

static void on_broken(void *arg, int error)
{
	struct agent_transport *t = arg;

	log_debug("the line of %s has ended: %s", t->name, strerror(-error));
	t->is_serial_broken = true; /* the next connect opens another */
}

static int open_serial(struct agent_transport *t, int fd)
{
	const struct serial_port_owner owner = { .broken = on_broken, .arg = t };

	t->is_serial_broken = false;
	return serial_port_new(t->loop, fd, &owner, &t->serial);
}

static int connect_serial(struct agent_transport *t, struct stream **out)
{
	int r = 0;

	if (t->is_serial_broken && !t->setup.config->path)
		return -ENOTCONN; /* QEMU has ended, and so do we */
	if (t->is_serial_broken || !t->serial) {
		int fd;

		serial_port_free(t->serial);
		t->serial = NULL;
		fd = open_unix(t->setup.config->path);
		r = fd < 0 ? fd : open_serial(t, fd);
	}
	return r < 0 ? r : serial_port_call(t->serial, out);
}

/* ------------------------------------------------------------------------- */

int agent_transport_connect(struct agent_transport *t, struct stream **out)
{
	switch (t->setup.config->transport) {
	case CONFIG_AGENT_VSOCK:
		return connect_vsock(t, out);
	case CONFIG_AGENT_SERIAL:
		return connect_serial(t, out);
	case CONFIG_AGENT_UNIX:
		return connect_unix(t, out);
	case CONFIG_AGENT_TCP:
		return connect_tcp(t, out);
	case CONFIG_AGENT_SSH:
		return agent_upload_connect(t->upload, out);
	case CONFIG_AGENT_COMMAND:
		return agent_command_connect(t->command, out);
	case CONFIG_AGENT_DEFAULT:
	case CONFIG_AGENT_NONE:
		break;
	}
	return -EINVAL;
}

static void set_name(struct agent_transport *t)
{
	const struct config_agent *c = t->setup.config;
	const struct endpoint to = tcp_endpoint(t);
	char text[ADDR_TEXT_SIZE];

	if (c->transport == CONFIG_AGENT_VSOCK)
		(void)snprintf(t->name, sizeof(t->name), "vsock port %u", port_of(c));
	else if (c->transport == CONFIG_AGENT_TCP && c->host)
		(void)snprintf(t->name, sizeof(t->name), "tcp %s", endpoint_format(&to, text));
	else if (c->transport == CONFIG_AGENT_TCP)
		(void)snprintf(t->name, sizeof(t->name), "tcp port %u", port_of(c));
	else if (c->transport == CONFIG_AGENT_SSH)
		(void)snprintf(t->name, sizeof(t->name), "ssh, which brings it");
	else if (c->transport == CONFIG_AGENT_COMMAND)
		(void)snprintf(t->name, sizeof(t->name), "command %s", c->command[0]);
	else
		(void)snprintf(t->name, sizeof(t->name), "%s %s",
			       c->transport == CONFIG_AGENT_SERIAL ? "serial" : "unix",
			       c->path ? c->path : "port of QEMU");
}

static int read_token(struct agent_transport *t)
{
	char error[AGENT_TOKEN_ERROR_SIZE];
	int r;

	if (t->setup.config->transport != CONFIG_AGENT_TCP)
		return 0;
	r = agent_token_read(t->setup.config->token_file, &t->token, error);
	if (r < 0)
		log_error("agent.tokenFile: %s", error);
	return r;
}

static int prepare_upload(struct agent_transport *t)
{
	const struct agent_upload_setup setup = {
		.run = t->setup.run,
		.run_arg = t->setup.run_arg,
		.unusable = t->setup.unusable,
		.arg = t->setup.unusable_arg,
	};

	return agent_upload_new(t->loop, &setup, &t->upload);
}

static int prepare_command(struct agent_transport *t)
{
	const struct config_agent *c = t->setup.config;
	int r = agent_command_new(t->loop, c->command, c->n_command, &t->command);

	if (r < 0)
		log_error("no memory for agent.command");
	return r;
}

int agent_transport_new(struct loop *loop, const struct agent_transport_setup *setup,
			struct agent_transport **out)
{
	struct agent_transport *t = calloc(1, sizeof(*t));
	int r;

	if (!t) {
		log_error("no memory for the agent");
		if (setup->serial_fd >= 0)
			close(setup->serial_fd);
		return -ENOMEM;
	}
	t->loop = loop;
	t->setup = *setup;
	set_name(t);
	r = setup->serial_fd < 0 ? 0 : open_serial(t, setup->serial_fd);
	if (r < 0)
		log_error("the agent cannot be reached by %s: %s", t->name, strerror(-r));
	if (r == 0)
		r = read_token(t);
	if (r == 0 && setup->config->transport == CONFIG_AGENT_SSH)
		r = prepare_upload(t);
	if (r == 0 && setup->config->transport == CONFIG_AGENT_COMMAND)
		r = prepare_command(t);
	if (r < 0) {
		agent_transport_free(t);
		return r;
	}
	*out = t;
	return 0;
}

void agent_transport_free(struct agent_transport *t)
{
	if (!t)
		return;
	serial_port_free(t->serial);
	agent_upload_free(t->upload);
	agent_command_free(t->command);
	free(t);
}

const char *agent_transport_name(const struct agent_transport *t)
{
	return t->name;
}
