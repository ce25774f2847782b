/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h> /* the kernel's header below needs it */
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "forwarder/agent/acceptor.h"
#include "forwarder/agent/agent_options.h"
#include "forwarder/agent/privileges.h"
#include "forwarder/agent/serial_device.h"
#include "forwarder/agent/server.h"
#include "forwarder/agent/ssh_door.h"
#include "forwarder/agent_token.h"
#include "forwarder/port_watch.h"
#include "netstack/base/descriptor_limit.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/stream.h"
#include "netstack/stream_pair.h"

#define MAX_ACCEPTORS 4 /* one of a kind, and that of raw flows */
/* A UDP client is seldom that old; the host knows which ports clients get, and
 * leaves them out unless one is asked for by a rule. */
#define CLIENT_AGE_MS 3000

struct agent {
	const struct agent_options *options;
	struct loop *loop;
	struct agent_server *server;
	struct port_watch *watch;
	struct acceptor *acceptors[MAX_ACCEPTORS];
	unsigned int n_acceptors;
	struct serial_device *serial;
	struct ssh_door *ssh_door;
	unsigned int n_ways; /* for the host to come; 0: the agent is of no use */
};

static void on_signal(void *arg, int signum)
{
	struct agent *agent = arg;

	log_info("stopping on signal %d", signum);
	loop_stop(agent->loop);
}

/* --- what listens here --------------------------------------------------- */

static void log_listeners(const struct port_listener *all, unsigned int n)
{
	char text[ADDR_TEXT_SIZE];

	log_info("%u ports are listened on", n);
	for (unsigned int i = 0; i < n; i++)
		log_debug("  %s %s", forward_proto_name(all[i].proto),
			  endpoint_format(&all[i].guest, text));
}

/* The agent's own port is not for the host's other programs. */
static bool is_own(const struct agent *agent, const struct port_listener *listener)
{
	return listener->proto == FORWARD_TCP && agent->options->tcp.port &&
	       listener->guest.port == agent->options->tcp.port &&
	       ipaddr_equal(&listener->guest.addr, &agent->options->tcp.addr);
}

static void on_listeners(void *arg, const struct port_listener *all, unsigned int n)
{
	struct agent *agent = arg;
	struct port_listener *others = calloc(n + 1U, sizeof(*others));
	unsigned int n_others = 0;

	if (!others) {
		log_error("no memory for what is listened on");
		return;
	}
	for (unsigned int i = 0; i < n; i++) {
		if (!is_own(agent, &all[i]))
			others[n_others++] = all[i];
	}
	log_listeners(others, n_others);
	agent_server_set_listeners(agent->server, others, n_others);
	free(others);
}

static int start_watch(struct agent *agent)
{
	const struct port_watch_config config = {
		.client_age_ms = CLIENT_AGE_MS,
		.changed = on_listeners,
		.arg = agent,
	};
	int r = port_watch_new(agent->loop, &config, &agent->watch);

	if (r == 0)
		agent_server_set_ephemeral(agent->server, port_watch_ephemeral(agent->watch));
	return r;
}

/* --- where the host comes from ------------------------------------------- */

static void on_host(void *arg, struct stream *host)
{
	struct agent *agent = arg;

	log_debug("the host has connected");
	agent_server_accept(agent->server, host);
}

static int add_acceptor(struct agent *agent, int r, const char *what)
{
	if (r < 0) {
		log_error("cannot listen on %s: %s", what, strerror(-r));
		return r;
	}
	agent->n_acceptors++;
	agent->n_ways++;
	return 0;
}

static void on_raw_host(void *arg, struct stream *host)
{
	struct agent *agent = arg;

	agent_server_accept_raw(agent->server, host);
}

/* At any free port, which is told by hello. Without it flows go by gRPC. */
static void listen_raw(struct agent *agent)
{
	const struct acceptor_owner owner = { on_raw_host, agent };
	struct acceptor **out = &agent->acceptors[agent->n_acceptors];
	int r = acceptor_listen_vsock(agent->loop, VMADDR_PORT_ANY, &owner, out);

	if (r < 0) {
		log_warn("raw flows cannot be taken: %s", strerror(-r));
		return;
	}
	agent->n_acceptors++;
	agent_server_set_raw_port(agent->server, acceptor_vsock_port(*out));
	log_info("raw flows are taken at vsock port %u", acceptor_vsock_port(*out));
}

/* A unit file may ask for it where there is none. */
static int listen_vsock(struct agent *agent, const struct acceptor_owner *owner)
{
	unsigned int port = agent->options->vsock_port;
	struct acceptor **out = &agent->acceptors[agent->n_acceptors];
	int r = acceptor_listen_vsock(agent->loop, port, owner, out);

	if (r == -EAFNOSUPPORT || r == -ENODEV || r == -EADDRNOTAVAIL) {
		log_warn("this machine has no AF_VSOCK, so the host does not come that way");
		return 0;
	}
	r = add_acceptor(agent, r, "AF_VSOCK");
	if (r == 0)
		listen_raw(agent);
	return r;
}

static int listen_tcp(struct agent *agent, const struct acceptor_owner *owner)
{
	const struct agent_options *o = agent->options;
	char error[AGENT_TOKEN_ERROR_SIZE], where[ADDR_TEXT_SIZE];
	struct agent_token token;
	const struct acceptor_tcp tcp = { o->tcp, o->from, &token };
	int r = agent_token_read(o->token_path, &token, error);

	if (r < 0) {
		log_error("--token-file %s", error);
		return r;
	}
	r = acceptor_listen_tcp(agent->loop, &tcp, owner, &agent->acceptors[agent->n_acceptors]);
	return add_acceptor(agent, r, endpoint_format(&o->tcp, where));
}

static void on_stdio_closed(void *arg)
{
	struct agent *agent = arg;

	log_info("standard input and output have ended");
	loop_stop(agent->loop);
}

/* The numbers 0 and 1 stay taken, so that nothing else gets them. */
static int take_stdio(int fds[2])
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0)
		return -errno;
	for (int i = 0; i < 2; i++) {
		fds[i] = fcntl(i, F_DUPFD_CLOEXEC, 3);
		if (fds[i] < 0 || dup2(null, i) < 0)
			return -errno; /* the program ends */
	}
	close(null);
	return 0;
}

static int serve_stdio(struct agent *agent)
{
	struct stream *stream = NULL;
	int fds[2], r;

	if (isatty(STDIN_FILENO) || isatty(STDOUT_FILENO)) {
		log_error("--stdio: this is a terminal, not netfwd");
		return -EINVAL;
	}
	r = take_stdio(fds);
	if (r == 0)
		r = stream_pair_new(agent->loop, fds, on_stdio_closed, agent, &stream);
	if (r < 0) {
		log_error("--stdio: %s", strerror(-r));
		return r;
	}
	agent->n_ways++;
	on_host(agent, stream);
	return 0;
}

static int serve_serial(struct agent *agent, const struct acceptor_owner *owner)
{
	int r = serial_device_new(agent->loop, agent->options->serial_path, owner, &agent->serial);

	if (r < 0)
		log_error("--serial: %s", strerror(-r));
	else
		agent->n_ways++;
	return r;
}

/* A comfort: what else the agent does goes on without. */
static void offer_ssh(struct agent *agent)
{
	int r = ssh_door_open(agent->loop, &agent->ssh_door);

	if (r == -EADDRINUSE)
		log_info("port 22 of AF_VSOCK is served already, by systemd most likely");
	else if (r < 0)
		log_warn("the SSH server is not at port 22 of AF_VSOCK: %s", strerror(-r));
}

static int open_ways(struct agent *agent)
{
	const struct agent_options *o = agent->options;
	const struct acceptor_owner owner = { on_host, agent };
	int r = 0;

	if (o->vsock_port)
		r = listen_vsock(agent, &owner);
	if (r == 0 && o->unix_path)
		r = add_acceptor(agent,
				 acceptor_listen_unix(agent->loop, o->unix_path, &owner,
						      &agent->acceptors[agent->n_acceptors]),
				 o->unix_path);
	if (r == 0 && o->tcp.port)
		r = listen_tcp(agent, &owner);
	if (r == 0 && o->serial_path)
		r = serve_serial(agent, &owner);
	if (r == 0 && o->with_stdio)
		r = serve_stdio(agent);
	if (r == 0 && o->offers_ssh)
		offer_ssh(agent);
	if (r == 0 && agent->n_ways == 0) {
		log_error("there is no way for the host to come");
		r = -ENODEV;
	}
	return r;
}

/* --- life ---------------------------------------------------------------- */

static int set_up_base(struct agent *agent)
{
	const struct agent_server_config server = { 0 };
	int r = loop_new(&agent->loop);

	if (r == 0)
		r = loop_on_signal(agent->loop, SIGTERM, on_signal, agent);
	if (r == 0)
		r = loop_on_signal(agent->loop, SIGINT, on_signal, agent);
	if (r == 0)
		r = agent_server_new(agent->loop, &server, &agent->server);
	if (r < 0)
		log_error("cannot start: %s", strerror(-r));
	return r;
}

static int set_up(struct agent *agent)
{
	int r = set_up_base(agent);

	if (r == 0)
		r = start_watch(agent);
	if (r == 0)
		r = open_ways(agent);
	if (r < 0)
		return r;
	r = privileges_drop();
	if (r < 0)
		log_error("cannot give up privileges: %s", strerror(-r));
	return r;
}

static void log_counters(const struct agent *agent)
{
	const struct agent_server_counters *s = agent_server_counters(agent->server);

	log_info("connections %" PRIu64 ", lost %" PRIu64 ", replaced %" PRIu64, s->connections,
		 s->connections_lost, s->connections_replaced);
	log_info("flows %" PRIu64 ", refused %" PRIu64 ", not dialled %" PRIu64
		 ", datagrams dropped %" PRIu64,
		 s->flows, s->flows_refused, s->dials_failed, s->datagrams_dropped);
	for (unsigned int i = 0; i < agent->n_acceptors; i++) {
		const struct acceptor_counters *a = acceptor_counters(agent->acceptors[i]);

		log_info("accepted %" PRIu64 ", strangers %" PRIu64 ", bad tokens %" PRIu64,
			 a->accepted, a->strangers, a->bad_tokens);
	}
}

static void tear_down(struct agent *agent)
{
	if (agent->server)
		log_counters(agent);
	for (unsigned int i = 0; i < agent->n_acceptors; i++)
		acceptor_free(agent->acceptors[i]);
	serial_device_free(agent->serial);
	ssh_door_close(agent->ssh_door);
	port_watch_free(agent->watch);
	agent_server_free(agent->server);
	loop_free(agent->loop);
}

static void tell_ready(int fd)
{
	if (fd < 0)
		return;
	if (write(fd, "1", 1) != 1)
		log_warn("--ready-fd %d: %s", fd, strerror(errno));
	close(fd);
}

/* Before anything is opened: the number might be given to a descriptor of ours
 * then. */
static int check_ready_fd(int fd)
{
	if (fd < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) == 0)
		return 0;
	log_error("--ready-fd %d: no such descriptor was inherited", fd);
	return -EBADF;
}

int agent_run(const struct agent_options *options)
{
	struct agent agent = { .options = options };
	int r = check_ready_fd(options->ready_fd);

	descriptor_limit_raise();
	(void)signal(SIGPIPE, SIG_IGN);
	if (r == 0)
		r = set_up(&agent);
	if (r == 0) {
		tell_ready(options->ready_fd);
		r = loop_run(agent.loop);
		if (r < 0)
			log_error("the event loop failed: %s", strerror(-r));
	}
	tear_down(&agent);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
