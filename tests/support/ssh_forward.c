/* SPDX-License-Identifier: Apache-2.0 */
/* A port of the host, or a path, forwarded by SSH alone: what the tests of the SSH
 * tunnel need of the program.
 *
 *   ssh_forward KEY=VALUE...
 *     server=HOST:PORT  unix=PATH    where the SSH server is; both: unix is tried first
 *     user= identity= known=FILE keys=yes|accept-new|no agent=PATH keepalive=S
 *     to=ADDRESS:PORT or PATH        in the guest; the host's port is printed
 *     reverse=ADDRESS:PORT or PATH back=ADDRESS:PORT
 *
 *     stdin=FD                       ends with it
 *
 * Prints a line for each thing that happens: "port N", "state STATE ERROR",
 * "reverse ERROR". */
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "forwarder/ssh/ssh_tunnel.h"
#include "forwarder/tcp_forward.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/relay.h"
#include "netstack/stream.h"
#include "netstack/stream_fd.h"

struct run {
	int input;
	struct loop *loop;
	struct tunnel *tunnel;
	struct tunnel_place to;
	struct tcp_forward *forward;
	struct tunnel_listener *listener;
	struct endpoint back;
	struct tunnel_accept accept;
};

static const char *argument(char **argv, const char *key)
{
	size_t n = strlen(key);

	for (; *argv; argv++) {
		if (strncmp(*argv, key, n) == 0 && (*argv)[n] == '=')
			return *argv + n + 1;
	}
	return NULL;
}

static void parse_endpoint(const char *text, struct endpoint *out)
{
	char host[64];
	const char *colon = strrchr(text, ':');

	assert(colon && colon - text < (long)sizeof(host));
	snprintf(host, sizeof(host), "%.*s", (int)(colon - text), text);
	assert(ipaddr_parse(host, &out->addr) == 0);
	out->port = (uint16_t)strtoul(colon + 1, NULL, 10);
}

static int dial(void *arg, struct stream **out)
{
	struct run *run = arg;

	return run->tunnel->ops->dial(run->tunnel, &run->to, out);
}

static void on_changed(void *arg)
{
	static const char *const names[] = { "down", "connecting", "up", "failed" };
	const struct run *run = arg;

	printf("state %s %s\n", names[run->tunnel->state], run->tunnel->error);
}

static void on_listening(void *arg, int error)
{
	(void)arg;
	printf("reverse %s\n", error ? strerrorname_np(-error) : "0");
}

static void on_relay_end(void *arg, const struct relay_result *result)
{
	(void)arg;
	(void)result;
}

static void on_accepted(void *arg, struct stream *guest)
{
	struct run *run = arg;
	struct stream *ends[2] = { guest, NULL };
	struct sockaddr_storage to;
	socklen_t len = endpoint_to_sockaddr(&run->back, &to);
	int fd = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct relay *relay;

	assert(fd >= 0);
	if (connect(fd, (struct sockaddr *)&to, len) < 0 && errno != EINPROGRESS) {
		close(fd);
		guest->ops->reset(guest);
		return;
	}
	assert(stream_fd_new(run->loop, fd, true, &ends[1]) == 0);
	assert(relay_new(run->loop, ends, on_relay_end, NULL, &relay) == 0);
}

static void on_input(void *arg, unsigned int events)
{
	struct run *run = arg;
	char c;

	(void)events;
	if (read(run->input, &c, 1) <= 0)
		loop_stop(run->loop);
}

static int dial_unix_socket(void *arg, int *fd)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };

	snprintf(to.sun_path, sizeof(to.sun_path), "%s", (const char *)arg);
	*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert(*fd >= 0);
	if (connect(*fd, (struct sockaddr *)&to, sizeof(to)) == 0)
		return 0;
	close(*fd);
	return -errno;
}

static struct ssh_config configure(char **argv)
{
	const char *server = argument(argv, "server"), *unix_path = argument(argv, "unix");
	const char *keys = argument(argv, "keys"), *keepalive = argument(argv, "keepalive");
	struct ssh_config c = {
		.user = argument(argv, "user"),
		.identity_file = argument(argv, "identity"),
		.known_hosts = argument(argv, "known"),
		.agent_path = argument(argv, "agent"),
		.host_name = "guest",
		.keepalive_s = keepalive ? (unsigned int)strtoul(keepalive, NULL, 10) : 15,
		.keepalive_count = 4,
	};

	if (keys && strcmp(keys, "yes") == 0)
		c.host_keys = SSH_HOST_KEYS_YES;
	if (keys && strcmp(keys, "no") == 0)
		c.host_keys = SSH_HOST_KEYS_NO;
	if (unix_path)
		c.targets[c.n_targets++] = (struct ssh_target){ .dial = dial_unix_socket,
								.arg = (void *)(uintptr_t)unix_path,
								.name = unix_path };
	if (server) {
		static char host[64];
		const char *colon = strrchr(server, ':');

		snprintf(host, sizeof(host), "%.*s", (int)(colon - server), server);
		c.targets[c.n_targets++] =
			(struct ssh_target){ .host = host,
					     .port = (unsigned int)strtoul(colon + 1, NULL, 10) };
	}
	return c;
}

static void open_forward(struct run *run, const char *to)
{
	const struct tcp_dialer dialer = { dial, run };
	const struct endpoint any = { IPADDR_V4(127, 0, 0, 1), 0 };

	if (*to == '/')
		run->to.path = to;
	else
		parse_endpoint(to, &run->to.endpoint);
	assert(tcp_forward_new(run->loop, &any, &dialer, &run->forward) == 0);
	assert(tcp_forward_start(run->forward) == 0);
	printf("port %u\n", tcp_forward_host(run->forward)->port);
}

static void open_reverse(struct run *run, char **argv)
{
	struct tunnel_place place = { .path = NULL };
	int r;

	if (argument(argv, "reverse")[0] == '/')
		place.path = argument(argv, "reverse");
	else
		parse_endpoint(argument(argv, "reverse"), &place.endpoint);
	parse_endpoint(argument(argv, "back"), &run->back);
	run->accept = (struct tunnel_accept){ .accepted = on_accepted, .state = on_listening };
	r = run->tunnel->ops->listen(run->tunnel, &place, &run->accept, run, &run->listener);
	assert(r == 0);
}

int main(int argc, char **argv)
{
	struct ssh_config config = configure(argv + 1);
	struct run run = { 0 };
	struct watch *input;

	(void)argc;
	(void)signal(SIGPIPE, SIG_IGN);
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	log_set_level(LOG_LEVEL_DEBUG);
	assert(loop_new(&run.loop) == 0);
	assert(ssh_tunnel_new(run.loop, &config, &run.tunnel) == 0);
	run.tunnel->changed = on_changed;
	run.tunnel->changed_arg = &run;
	run.input = (int)strtol(argument(argv + 1, "stdin"), NULL, 10);
	assert(watch_new(run.loop, run.input, on_input, &run, &input) == 0);
	watch_want(input, LOOP_READ);
	if (argument(argv + 1, "to"))
		open_forward(&run, argument(argv + 1, "to"));
	if (argument(argv + 1, "reverse"))
		open_reverse(&run, argv + 1);
	assert(loop_run(run.loop) == 0);
	tcp_forward_free(run.forward);
	if (run.listener)
		run.tunnel->ops->unlisten(run.listener);
	run.tunnel->ops->free(run.tunnel);
	watch_free(input);
	loop_free(run.loop);
	return EXIT_SUCCESS;
}
