/* SPDX-License-Identifier: Apache-2.0 */
/* Either end of the agent's connection as a program, without all the rest:
 *
 *   agent_link guest ADDRESS [tcp|udp=ADDR:PORT...]   serves hosts there, and says
 *                                             that it listens on those
 *   agent_link host ADDRESS [PORT=GUESTPORT...]  forwards ports of 127.0.0.1, and
 *                                             prints what the guest listens on
 *
 * ADDRESS is a path, or the port of 127.0.0.1. It ends with its standard input. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "forwarder/agent/server.h"
#include "forwarder/agent_client.h"
#include "forwarder/rule.h"
#include "forwarder/tcp_forward.h"
#include "forwarder/tunnel.h"
#include "forwarder/udp_forward.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/stream_fd.h"

#define MAX_ITEMS 64
#define BUFFER (4 * 1024 * 1024)

struct address {
	struct sockaddr_storage sa;
	socklen_t len;
};

struct host_forward {
	struct tunnel *tunnel;
	struct tcp_forward *tcp;
	struct udp_forward *udp;
	struct endpoint guest;
};

struct end {
	struct loop *loop;
	struct address address;
	struct agent_server *server;
	struct agent_client *client;
	struct watch *listener, *input;
	int fd;
	struct udp_hub *hub;
	struct host_forward forwards[MAX_ITEMS];
};

static void must(int r, const char *what)
{
	if (r >= 0)
		return;
	(void)fprintf(stderr, "agent_link: %s: %s\n", what, strerror(-r));
	exit(1);
}

static void parse_address(const char *text, struct address *a)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct sockaddr_in sin = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons((uint16_t)strtoul(text, NULL, 10)),
	};

	if (text[0] != '/') {
		memcpy(&a->sa, &sin, sizeof(sin));
		a->len = sizeof(sin);
		return;
	}
	(void)snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", text);
	memcpy(&a->sa, &sun, sizeof(sun));
	a->len = sizeof(sun);
}

static void tune(int fd)
{
	int size = BUFFER, one = 1;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
}

static int open_socket(const struct address *a)
{
	int fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	must(fd < 0 ? -errno : 0, "socket");
	return fd;
}

static void on_accept(void *arg, unsigned int events)
{
	struct end *e = arg;
	struct stream *s;
	int fd = accept4(e->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)events;
	if (fd < 0)
		return;
	if (e->address.sa.ss_family == AF_UNIX)
		tune(fd);
	must(stream_fd_new(e->loop, fd, false, &s), "stream");
	agent_server_accept(e->server, s);
}

static void guest(struct end *e, int n, char **items)
{
	struct agent_server_config config = { 0 };
	struct port_listener all[MAX_ITEMS];
	const int one = 1;

	must(agent_server_new(e->loop, &config, &e->server), "server");
	for (int i = 0; i < n; i++) {
		struct rule_listener l;
		char *address = strchr(items[i], '=');

		*address++ = '\0';
		must(rule_listener_parse(items[i], address, &l), address);
		all[i] = (struct port_listener){ l.proto, l.guest };
	}
	agent_server_set_listeners(e->server, all, (unsigned int)n);
	e->fd = open_socket(&e->address);
	(void)setsockopt(e->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	must(bind(e->fd, (struct sockaddr *)&e->address.sa, e->address.len) < 0 ? -errno : 0,
	     "bind");
	must(listen(e->fd, 16) < 0 ? -errno : 0, "listen");
	must(watch_new(e->loop, e->fd, on_accept, e, &e->listener), "watch");
	watch_want(e->listener, LOOP_READ);
	printf("ready\n");
}

static int on_connect(void *arg, struct stream **out)
{
	struct end *e = arg;
	int fd = open_socket(&e->address);

	if (e->address.sa.ss_family == AF_UNIX)
		tune(fd);
	if (connect(fd, (struct sockaddr *)&e->address.sa, e->address.len) < 0 &&
	    errno != EINPROGRESS) {
		int error = errno;

		close(fd);
		return -error;
	}
	return stream_fd_new(e->loop, fd, true, out);
}

static void on_listeners(void *arg, const struct port_listener *all, unsigned int n)
{
	char text[ADDR_TEXT_SIZE];

	(void)arg;
	printf("listeners");
	for (unsigned int i = 0; i < n && i < MAX_ITEMS; i++)
		printf(" %s=%s", forward_proto_name(all[i].proto),
		       endpoint_format(&all[i].guest, text));
	printf("\n");
}

static int dial_tcp(void *arg, struct stream **out)
{
	struct host_forward *f = arg;

	return f->tunnel->ops->dial(f->tunnel, &(struct tunnel_place){ .endpoint = f->guest }, out);
}

static int dial_udp(void *arg, const struct udp_flow_owner *owner, void *owner_arg,
		    struct udp_flow **out)
{
	struct host_forward *f = arg;

	return f->tunnel->ops->open_udp(f->tunnel, &f->guest, owner, owner_arg, out);
}

/* The same port of TCP and of UDP. */
static void forward(struct end *e, struct host_forward *f, const char *item)
{
	char *at;
	struct endpoint local = { IPADDR_V4(127, 0, 0, 1), (uint16_t)strtoul(item, &at, 10) };
	struct tcp_dialer tcp = { dial_tcp, f };
	struct udp_dialer udp = { dial_udp, f };

	f->tunnel = agent_client_tunnel(e->client);
	f->guest =
		(struct endpoint){ IPADDR_V4(127, 0, 0, 1), (uint16_t)strtoul(at + 1, NULL, 10) };
	must(tcp_forward_new(e->loop, &local, &tcp, &f->tcp), item);
	must(tcp_forward_start(f->tcp), item);
	must(udp_forward_new(e->hub, &local, &udp, &f->udp), item);
	udp_forward_start(f->udp);
}

static void on_changed(void *arg)
{
	static const char *const names[] = { "down", "connecting", "up", "failed" };
	struct tunnel *t = arg;

	printf("tunnel %s %s\n", names[t->state], t->error);
}

static void host(struct end *e, int n, char **items)
{
	struct agent_client_config config = {
		.connect = on_connect,
		.listeners = on_listeners,
		.arg = e,
	};
	struct tunnel *t;

	must(agent_client_new(e->loop, &config, &e->client), "client");
	must(udp_hub_new(e->loop, &e->hub), "hub");
	t = agent_client_tunnel(e->client);
	t->changed = on_changed;
	t->changed_arg = t;
	for (int i = 0; i < n; i++)
		forward(e, &e->forwards[i], items[i]);
	printf("ready\n");
}

static void on_input(void *arg, unsigned int events)
{
	struct end *e = arg;
	char c;

	(void)events;
	if (read(STDIN_FILENO, &c, 1) == 0)
		loop_stop(e->loop);
}

static void stop(struct end *e)
{
	for (int i = 0; i < MAX_ITEMS; i++) {
		tcp_forward_free(e->forwards[i].tcp);
		udp_forward_free(e->forwards[i].udp);
	}
	udp_hub_free(e->hub);
	agent_client_free(e->client);
	agent_server_free(e->server);
	watch_free(e->listener);
	watch_free(e->input);
	loop_free(e->loop);
}

static void raise_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

int main(int argc, char **argv)
{
	static struct end e;

	if (argc < 3 || argc > 3 + MAX_ITEMS)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	raise_limit();
	log_set_level(getenv("AGENT_LINK_DEBUG") ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN);
	must(loop_new(&e.loop), "loop");
	parse_address(argv[2], &e.address);
	must(watch_new(e.loop, STDIN_FILENO, on_input, &e, &e.input), "watch");
	watch_want(e.input, LOOP_READ);
	if (strcmp(argv[1], "guest") == 0)
		guest(&e, argc - 3, argv + 3);
	else
		host(&e, argc - 3, argv + 3);
	must(loop_run(e.loop), "loop");
	stop(&e);
	return 0;
}
