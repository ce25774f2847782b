/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/app.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <unistd.h>

#include "forwarder/agent_link.h"
#include "forwarder/app_control.h"
#include "forwarder/config_env.h"
#include "forwarder/forwards.h"
#include "forwarder/guest_link.h"
#include "forwarder/guest_vsock.h"
#include "forwarder/options.h"
#include "forwarder/policy.h"
#include "forwarder/port_watch.h"
#include "forwarder/qemu.h"
#include "forwarder/qemu_hint.h"
#include "forwarder/runtime_dir.h"
#include "forwarder/shared_links.h"
#include "forwarder/shared_network.h"
#include "forwarder/ssh/ssh_tunnel.h"
#include "forwarder/ssh_way.h"
#include "forwarder/tunnel_netns.h"
#include "forwarder/tunnel_nic.h"
#include "forwarder/ways.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/stack.h"

#define USER_SOCKET "/netfwd.sock"
#define SHARED_SOCKET "/shared.sock"
#define SOCKET_PATH_SIZE sizeof(((struct sockaddr_un *)0)->sun_path)

struct app {
	struct options options;		    /* the caller's, completed */
	char user_socket[SOCKET_PATH_SIZE]; /* or that of the NIC of a QEMU of ours */
	char qemu_vsock[SOCKET_PATH_SIZE];
	char lease_path[PATH_MAX];
	struct stack_config config;
	struct loop *loop;
	struct stack *stack;
	struct shared_links *shared_links; /* NULL: a single guest */
	struct guest_vsock *vsock;	   /* NULL: the guest has none */
	struct ways *ways;
	struct ssh_way *ssh;	  /* NULL: there is no SSH to the guest */
	struct agent_link *agent; /* NULL: there is none */
	int agent_fd;		  /* our end of the port that QEMU gives to the guest; or -1 */
	struct forwards *forwards;
	struct policy *policy;
	struct port_watch *watch; /* NULL: the agent tells, or nobody follows them */
	struct app_control *control;
	struct qemu *qemu;
	bool is_qemu_running;
	bool is_stopping;
	int exit_status;
};

/* The gateway is .2 of the network, DNS .3 and the guest .15, as by default. */
static struct ipaddr host_of(const struct ipaddr *network, uint8_t number)
{
	struct ipaddr host = *network;

	host.b[15] |= number;
	return host;
}

static struct stack_config config_from(const struct options *o)
{
	struct stack_config config = stack_config_default();

	config.mtu = o->mtu;
	config.host_loopback = o->host_loopback;
	if (o->prefix4_bits) {
		config.network4 = o->network4;
		config.prefix4_bits = o->prefix4_bits;
		config.gateway4 = host_of(&o->network4, 2);
		config.dns4 = host_of(&o->network4, 3);
		config.guest4 = host_of(&o->network4, 15);
	}
	return config;
}

/* Thousands of connections are meant to work without settings. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		log_debug("the limit of open files stays as it is: %s", strerror(errno));
}

static void on_signal(void *arg, int signum)
{
	struct app *app = arg;

	log_info("stopping on signal %d", signum);
	app->is_stopping = true;
	if (app->is_qemu_running)
		qemu_stop(app->qemu); /* the loop ends when it has ended */
	else
		loop_stop(app->loop);
}

static void on_qemu_exit(void *arg, int status)
{
	struct app *app = arg;

	app->is_qemu_running = false;
	/* QEMU handles SIGTERM, but not in its first moments. */
	if (app->is_stopping && status == 128 + SIGTERM)
		status = EXIT_SUCCESS;
	app->exit_status = status;
	loop_stop(app->loop);
}

/* A path in the user's directory, which is made. */
static int make_path(const char *name, char path[static SOCKET_PATH_SIZE])
{
	const struct runtime_env env = runtime_env_get();
	char error[RUNTIME_ERROR_SIZE];
	int r = runtime_dir_make(&env, path, SOCKET_PATH_SIZE - strlen(name), error);

	if (r < 0) {
		log_error("%s", error);
		return r;
	}
	memcpy(path + strlen(path), name, strlen(name) + 1);
	return 0;
}

static int set_up_user_socket(struct app *app, const char *name)
{
	int r = make_path(name, app->user_socket);

	if (r == 0)
		app->options.link_path = app->user_socket;
	return r;
}

/* Where QEMU finds the devices that it shares its guest's memory with. */
static int make_qemu_paths(struct app *app)
{
	char nic[40], vsock[40];
	int r;

	(void)snprintf(nic, sizeof(nic), "/qemu-%d.nic", (int)getpid());
	(void)snprintf(vsock, sizeof(vsock), "/qemu-%d.vsock", (int)getpid());
	r = make_path(nic, app->user_socket);
	return r < 0 ? r : make_path(vsock, app->qemu_vsock);
}

/* With SSH alone it is brought along; a namespace needs nobody who tells. */
static const struct config_agent *agent_of(const struct options *o)
{
	static const struct config_agent by_ssh = { .transport = CONFIG_AGENT_SSH };

	if (!o->config || o->config->agent.transport == CONFIG_AGENT_NONE)
		return NULL;
	if (o->config->agent.transport != CONFIG_AGENT_DEFAULT)
		return &o->config->agent;
	if (o->link == OPTIONS_LINK_NETNS || o->link == OPTIONS_LINK_SHARED ||
	    o->config->plain == RULE_SWITCH_ON)
		return NULL;
	return config_uses_ssh(&o->config->ssh) ? &by_ssh : NULL;
}

/* One that `netfwd qemu` gives to the guest by itself. */
static bool has_own_port(const struct options *o)
{
	const struct config_agent *agent = agent_of(o);

	return agent && agent->transport == CONFIG_AGENT_SERIAL && !agent->path;
}

static int set_up_qemu(struct app *app)
{
	static const enum qemu_nic nics[] = {
		[OPTIONS_NIC_AUTO] = QEMU_NIC_AUTO,
		[OPTIONS_NIC_STREAM] = QEMU_NIC_STREAM,
		[OPTIONS_NIC_VHOST_USER] = QEMU_NIC_VHOST_USER,
	};
	struct options *o = &app->options;
	const struct qemu_config config = {
		.argv = o->qemu_argv,
		.mtu = o->mtu,
		.nic = nics[o->nic],
		.nic_path = app->user_socket,
		.vsock_path = o->vsock_cid && !o->vsock_path ? app->qemu_vsock : NULL,
		.agent_fd = has_own_port(&app->options) ? &app->agent_fd : NULL,
		.on_exit = on_qemu_exit,
		.arg = app,
	};
	struct qemu_ends ends = { .link_fd = -1 };
	int r = 0;

	if (config.nic != QEMU_NIC_STREAM || config.vsock_path)
		r = make_qemu_paths(app);
	if (r == 0)
		r = qemu_new(app->loop, &config, &ends, &app->qemu);
	if (r < 0)
		return r;
	o->link_fd = ends.link_fd;
	if (ends.link_fd < 0)
		o->link_path = app->user_socket;
	if (ends.has_vsock)
		o->vsock_path = app->qemu_vsock;
	return 0;
}

static int choose_network(struct app *app)
{
	if (app->options.is_shared)
		return shared_network_choose(&app->options, &app->config, app->lease_path);
	app->config = config_from(&app->options);
	return 0;
}

/* Without any guest given, a socket of the user's, as for a single guest. */
static int choose_shared_socket(struct app *app)
{
	struct options *o = &app->options;
	int r = 0;

	if (o->n_links == 0) {
		r = set_up_user_socket(app, SHARED_SOCKET);
		o->links[o->n_links++] = (struct options_link_spec){ .link = OPTIONS_LINK_STREAM,
								     .where = app->user_socket,
								     .fd = -1 };
	}
	/* what QEMU is told: only of the socket that takes any guest */
	o->link_path = NULL;
	for (unsigned int i = 0; i < o->n_links && !o->link_path; i++) {
		if (o->links[i].link == OPTIONS_LINK_STREAM)
			o->link_path = o->links[i].where;
	}
	return r;
}

static int set_up_shared(struct app *app)
{
	const struct shared_links_setup setup = {
		.stack = app->stack,
		.options = &app->options,
		.network = &app->config,
	};
	int r = choose_shared_socket(app);

	return r < 0 ? r : shared_links_new(app->loop, &setup, &app->shared_links);
}

static int set_up_link(struct app *app)
{
	struct link *link;
	int r = 0;

	if (app->options.link == OPTIONS_LINK_SHARED)
		return set_up_shared(app);

	if (app->options.link == OPTIONS_LINK_USER)
		r = set_up_user_socket(app, USER_SOCKET);
	else if (app->options.link == OPTIONS_LINK_QEMU)
		r = set_up_qemu(app);
	if (r == 0)
		r = guest_link_open(app->loop, &app->options, &app->config, &link);
	if (r == 0)
		r = stack_attach(app->stack, link);
	return r;
}

static int set_up_capture(struct app *app)
{
	int r = stack_capture(app->stack, app->options.pcap_path);

	if (r < 0)
		log_error("--pcap %s: %s", app->options.pcap_path, strerror(-r));
	return r;
}

/* Before anything is opened: the number might be given to a descriptor of ours
 * then. */
static int check_inherited(const char *option, int fd)
{
	if (fd < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) == 0)
		return 0;
	log_error("%s %d: no such descriptor was inherited", option, fd);
	return -EBADF;
}

/* By nohup, or by a shell that runs us in the background. */
static bool is_ignored(int signum)
{
	struct sigaction now;

	return sigaction(signum, NULL, &now) == 0 && now.sa_handler == SIG_IGN;
}

static int set_up_signals(struct app *app)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		int r = 0;

		if (!is_ignored(signals[i]))
			r = loop_on_signal(app->loop, signals[i], on_signal, app);
		if (r < 0)
			return r;
	}
	return 0;
}

static void on_listeners(void *arg, const struct port_listener *all, unsigned int n)
{
	struct app *app = arg;
	struct rule_listener *listeners = calloc(n + 1U, sizeof(*listeners));

	if (!listeners) {
		log_error("no memory for what the guest listens on");
		return;
	}
	for (unsigned int i = 0; i < n; i++)
		listeners[i] = (struct rule_listener){ all[i].proto, all[i].guest };
	policy_set_listeners(app->policy, listeners, n);
	free(listeners);
}

static void on_agent_listeners(void *arg, const struct port_listener *all, unsigned int n)
{
	struct app *app = arg;
	struct port_range clients = agent_link_ephemeral(app->agent);

	policy_set_client_ports(app->policy, clients.first, clients.last);
	on_listeners(app, all, n);
}

static int run_by_ssh(void *arg, const char *command, struct stream **out)
{
	struct app *app = arg;

	return ssh_tunnel_run(ssh_way_tunnel(app->ssh), command, out);
}

static int set_up_agent(struct app *app)
{
	const struct agent_link_setup setup = {
		.transport = {
			.config = agent_of(&app->options),
			.vsock = guest_vsock_of(app->vsock),
			.stack = app->stack,
			.guest = app->config.guest4,
			.run = run_by_ssh,
			.run_arg = app,
			.serial_fd = app->agent_fd,
		},
		.listeners = on_agent_listeners,
		.arg = app,
	};
	int r;

	if (!setup.transport.config)
		return 0;
	app->agent_fd = -1; /* the agent's from here on */
	r = agent_link_new(app->loop, &setup, &app->agent);
	if (r == 0)
		ways_add(app->ways, RULE_VIA_GRPC, agent_link_tunnel(app->agent));
	if (r == 0 && agent_link_raw_tunnel(app->agent))
		ways_add(app->ways, RULE_VIA_VSOCK, agent_link_raw_tunnel(app->agent));
	return r;
}

static int set_up_ssh(struct app *app)
{
	const struct ssh_way_setup setup = {
		.stack = app->stack,
		.vsock = guest_vsock_of(app->vsock),
		.guest = app->config.guest4,
		.options = &app->options,
	};
	int r = ssh_way_new(app->loop, &setup, &app->ssh);

	if (r == 0 && app->ssh)
		ways_add(app->ways, RULE_VIA_SSH, ssh_way_tunnel(app->ssh));
	return r;
}

/* The guest's link is there. */
static int set_up_ways(struct app *app)
{
	const struct options *o = &app->options;
	bool is_namespace = o->link == OPTIONS_LINK_NETNS;
	struct tunnel *tunnel;
	int r = tunnel_nic_new(app->stack, &app->config, is_namespace, &tunnel);

	if (r < 0)
		return r;
	ways_add(app->ways, RULE_VIA_DIRECT, tunnel);
	if (is_namespace) {
		r = tunnel_netns_new(app->loop, o->netns, &tunnel);
		if (r < 0)
			return r;
		ways_add(app->ways, RULE_VIA_NETNS, tunnel);
	}
	r = set_up_ssh(app);
	return r < 0 ? r : set_up_agent(app);
}

static int set_up_base(struct app *app)
{
	struct policy_setup policy = { .options = &app->options };
	int r = loop_new(&app->loop);

	if (r == 0)
		r = set_up_signals(app);
	if (r == 0)
		r = stack_new(app->loop, &app->config, &app->stack);
	if (r == 0)
		r = ways_new(app->loop, &app->ways);
	policy.ways = app->ways;
	if (r == 0)
		r = policy_new(app->loop, &policy, &app->policy);
	if (r < 0)
		log_error("cannot start: %s", strerror(-r));
	return r;
}

/* Goes on after a failure, so that all are reported in one run. */
static int set_up(struct app *app)
{
	const struct options *o = &app->options;
	int result = check_inherited("--ready-fd", o->ready_fd);
	int link_result = check_inherited("--fd", o->link_fd);

	for (unsigned int i = 0; o->is_shared && i < o->n_links; i++) {
		if (check_inherited("--fd", o->links[i].fd) < 0)
			link_result = -1;
	}

	if (set_up_base(app) < 0)
		return -1;
	if (link_result < 0 || set_up_link(app) < 0)
		result = -1;
	if (guest_vsock_open(app->loop, o, &app->vsock) < 0)
		result = -1;
	if (result == 0 && set_up_ways(app) < 0) /* by all of the above */
		result = -1;
	if (o->pcap_path && set_up_capture(app) < 0)
		result = -1;
	if (forwards_new(o, &app->config, &app->forwards) < 0 || forwards_check(app->forwards) < 0)
		result = -1;
	return result;
}

static void on_reloaded(void *arg)
{
	struct app *app = arg;

	if (app->watch)
		port_watch_set_client_age(app->watch, policy_wants_client_ports(app->policy) ?
							      0 :
							      PORT_WATCH_NO_CLIENTS);
}

/* A namespace's ports are followed when there are rules for them, and no agent that
 * tells. */
static int start_watch(struct app *app)
{
	const struct port_watch_config config = {
		.netns = app->options.netns,
		.client_age_ms = PORT_WATCH_NO_CLIENTS, /* but see on_reloaded() */
		.changed = on_listeners,
		.arg = app,
	};

	struct port_range clients;
	int r;

	if (app->options.link != OPTIONS_LINK_NETNS || !app->options.config || app->agent)
		return 0;
	r = port_watch_new(app->loop, &config, &app->watch);
	if (r < 0)
		return r;
	clients = port_watch_ephemeral(app->watch);
	policy_set_client_ports(app->policy, clients.first, clients.last);
	on_reloaded(app);
	return 0;
}

static int start_control(struct app *app)
{
	const struct app_control_setup setup = {
		.stack = app->stack,
		.policy = app->policy,
		.ways = app->ways,
		.options = &app->options,
		.loopbacks = shared_links_loopbacks(app->shared_links),
		.reloaded = on_reloaded,
		.arg = app,
	};

	return app_control_new(app->loop, &setup, &app->control);
}

static int start(struct app *app)
{
	int r = 0;

	if (app->shared_links)
		r = shared_links_serve(app->shared_links, policy_publisher(app->policy));
	if (r == 0)
		r = start_control(app);

	if (app->options.config)
		config_env_make_socket_dir(app->options.config);
	if (r == 0)
		r = forwards_publish(app->forwards, policy_publisher(app->policy));
	if (r == 0)
		r = policy_start(app->policy);
	if (r == 0)
		r = start_watch(app);

	if (r < 0 || !app->qemu)
		return r;
	r = qemu_start(app->qemu);
	if (r < 0)
		log_error("%s cannot be started: %s", app->options.qemu_argv[0], strerror(-r));
	else
		app->is_qemu_running = true;
	return r;
}

static void tell_ready(const struct app *app)
{
	int fd = app->options.ready_fd;

	if (app->options.link_path && app->options.link != OPTIONS_LINK_QEMU)
		qemu_hint_print(&app->options);
	if (fd < 0)
		return;
	if (write(fd, "1", 1) != 1)
		log_warn("--ready-fd %d: %s", fd, strerror(errno));
	close(fd);
}

static void log_counter(void *arg, const char *name, uint64_t value)
{
	(void)arg;
	log_info("counter %s: %" PRIu64, name, value);
}

static void tear_down(struct app *app)
{
	qemu_free(app->qemu);
	port_watch_free(app->watch);
	app_control_free(app->control);
	shared_links_free(app->shared_links);
	policy_free(app->policy);
	forwards_free(app->forwards);
	if (app->agent) { /* which may have come by SSH */
		ways_remove(app->ways, RULE_VIA_VSOCK);
		ways_remove(app->ways, RULE_VIA_GRPC);
	}
	agent_link_free(app->agent);
	ways_free(app->ways);
	ssh_way_free(app->ssh);
	guest_vsock_free(app->vsock);
	if (app->stack)
		stack_counters(app->stack, log_counter, NULL);
	stack_free(app->stack);
	loop_free(app->loop);
}

int app_run(const struct options *options)
{
	struct app app = { .options = *options, .agent_fd = -1 };
	int r;

	raise_descriptor_limit();
	(void)signal(SIGPIPE, SIG_IGN);
	r = choose_network(&app);
	if (r == 0)
		r = set_up(&app);
	if (r == 0)
		r = start(&app);
	if (r == 0) {
		tell_ready(&app);
		r = loop_run(app.loop);
		if (r < 0)
			log_error("the event loop failed: %s", strerror(-r));
	}
	tear_down(&app);
	return r < 0 ? EXIT_FAILURE : app.exit_status;
}
