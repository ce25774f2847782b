/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/agent_pair.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "forwarder/tcp_forward.h"
#include "forwarder/tunnel.h"
#include "forwarder/tunnel_vsock.h"
#include "forwarder/udp_forward.h"
#include "netstack/base/loop.h"
#include "netstack/stream_fd.h"
#include "tests/support/host_socket.h"
#include "tests/support/patience.h"

#define RAW_PORT 7U

static void must(bool condition, const char *what)
{
	if (condition)
		return;
	(void)fprintf(stderr, "agent_pair: %s\n", what);
	abort();
}

/* --- a vsock that is none --- */

static int raw_dial(struct vsock *v, uint32_t port, uint32_t *host_port, struct stream **out)
{
	struct agent_pair *p = container_of(v, struct agent_pair, vsock);
	struct stream *guest;
	int fds[2];

	must(port == RAW_PORT, "the agent's port");
	*host_port = 1;
	if (!p->server)
		return -ENETDOWN;
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0,
	     "socketpair");
	must(stream_fd_new(p->loop, fds[1], false, &guest) == 0, "stream");
	agent_server_accept_raw(p->server, guest);
	return stream_fd_new(p->loop, fds[0], false, out);
}

static const struct vsock_ops vsock_ops = { .dial = raw_dial };

static void on_raw(void *arg, const struct tunnel_vsock_link *raw, enum tunnel_state state,
		   const char *error)
{
	struct agent_pair *p = arg;

	if (!p->raw)
		return;
	if (raw)
		tunnel_vsock_up(p->raw, raw);
	else
		tunnel_vsock_down(p->raw, state, error);
}

static void start_raw(struct agent_pair *p)
{
	const struct tunnel_vsock_config config = {
		.vsock = &p->vsock,
		.dial_wait_ms = 3000,
		.datagrams_dropped = &p->raw_dropped,
	};

	p->vsock.ops = &vsock_ops;
	must(tunnel_vsock_new(p->loop, &config, &p->raw) == 0, "raw tunnel");
}

/* --- */

static void narrow(int fd)
{
	const int size = 8000;

	must(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) == 0, "SO_SNDBUF");
	must(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)) == 0, "SO_RCVBUF");
}

/* TCP, as a UNIX socket takes what is spliced whatever its buffer. */
static void narrow_pair(int fds[2])
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	uint16_t port;
	int listener = host_listen("127.0.0.1", &port);

	sin.sin_port = htons(port);
	narrow(listener); /* what it accepts has the same */
	fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	narrow(fds[0]);
	must(connect(fds[0], (struct sockaddr *)&sin, sizeof(sin)) == 0, "connect");
	must(fcntl(listener, F_SETFL, 0) == 0, "to wait");
	must((fds[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0, "accept");
	close(listener);
	for (int i = 0; i < 2; i++)
		must(fcntl(fds[i], F_SETFL, O_NONBLOCK) == 0, "O_NONBLOCK");
}

static int on_connect(void *arg, struct stream **out)
{
	struct agent_pair *p = arg;
	struct stream *guest;
	int fds[2];

	p->n_connects++;
	if (!p->server)
		return -ECONNREFUSED;
	if (p->is_narrow)
		narrow_pair(fds);
	else
		must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0,
		     "socketpair");
	p->server_fd = fds[1];
	must(stream_fd_new(p->loop, fds[1], false, &guest) == 0, "stream");
	agent_server_accept(p->server, guest);
	return stream_fd_new(p->loop, fds[0], false, out);
}

static void on_listeners(void *arg, const struct port_listener *all, unsigned int n)
{
	struct agent_pair *p = arg;

	p->n_told++;
	free(p->listeners);
	p->listeners = calloc(n + 1U, sizeof(*all));
	memcpy(p->listeners, all, n * sizeof(*all));
	p->n_listeners = n;
}

void agent_pair_start_agent(struct agent_pair *p)
{
	must(agent_server_new(p->loop, &p->server_config, &p->server) == 0, "server");
	if (p->is_raw)
		agent_server_set_raw_port(p->server, RAW_PORT);
}

void agent_pair_kill_agent(struct agent_pair *p)
{
	agent_server_free(p->server);
	p->server = NULL;
}

void agent_pair_start(struct agent_pair *p, struct loop *loop)
{
	struct agent_client_config config = {
		.connect = on_connect,
		.listeners = on_listeners,
		.raw = on_raw,
		.arg = p,
	};

	p->loop = loop;
	if (p->is_raw)
		start_raw(p);
	agent_pair_start_agent(p);
	must(agent_client_new(loop, &config, &p->client) == 0, "client");
	must(udp_hub_new(loop, &p->hub) == 0, "hub");
	p->tunnel = p->raw ? tunnel_vsock_base(p->raw) : agent_client_tunnel(p->client);
	UNTIL(loop, p->tunnel->state == TUNNEL_UP);
}

void agent_pair_stop(struct agent_pair *p)
{
	udp_hub_free(p->hub);
	agent_client_free(p->client);
	tunnel_vsock_free(p->raw);
	agent_server_free(p->server);
	free(p->listeners);
}

static int dial_tcp(void *arg, struct stream **out)
{
	struct agent_pair_forward *f = arg;
	struct tunnel_place place = { .endpoint = f->guest };

	return f->pair->tunnel->ops->dial(f->pair->tunnel, &place, out);
}

static int dial_udp(void *arg, const struct udp_flow_owner *owner, void *owner_arg,
		    struct udp_flow **out)
{
	struct agent_pair_forward *f = arg;
	struct tunnel *t = f->pair->tunnel;

	return t->ops->open_udp(t, &f->guest, owner, owner_arg, out);
}

static const struct endpoint any_port = { IPADDR_V4(127, 0, 0, 1), 0 };

void agent_pair_forward_tcp(struct agent_pair *p, uint16_t guest_port, struct agent_pair_forward *f)
{
	struct tcp_dialer dialer = { dial_tcp, f };

	*f = (struct agent_pair_forward){ .pair = p,
					  .guest = { IPADDR_V4(127, 0, 0, 1), guest_port } };
	must(tcp_forward_new(p->loop, &any_port, &dialer, &f->tcp) == 0, "forward");
	must(tcp_forward_start(f->tcp) == 0, "forward");
	f->port = tcp_forward_host(f->tcp)->port;
}

void agent_pair_forward_udp(struct agent_pair *p, uint16_t guest_port, struct agent_pair_forward *f)
{
	struct udp_dialer dialer = { dial_udp, f };

	*f = (struct agent_pair_forward){ .pair = p,
					  .guest = { IPADDR_V4(127, 0, 0, 1), guest_port } };
	must(udp_forward_new(p->hub, &any_port, &dialer, &f->udp) == 0, "forward");
	udp_forward_start(f->udp);
	f->port = udp_forward_host(f->udp)->port;
}

void agent_pair_forward_stop(struct agent_pair_forward *f)
{
	tcp_forward_free(f->tcp);
	udp_forward_free(f->udp);
	f->tcp = NULL;
	f->udp = NULL;
}
