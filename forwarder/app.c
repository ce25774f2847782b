/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/app.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <unistd.h>

#include "forwarder/app_control.h"
#include "forwarder/config_env.h"
#include "forwarder/forwards.h"
#include "forwarder/guest_link.h"
#include "forwarder/options.h"
#include "forwarder/policy.h"
#include "forwarder/port_watch_netns.h"
#include "forwarder/qemu.h"
#include "forwarder/qemu_hint.h"
#include "forwarder/runtime_dir.h"
#include "forwarder/ssh_way.h"
#include "forwarder/tunnel_netns.h"
#include "forwarder/tunnel_nic.h"
#include "forwarder/ways.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/stack.h"

#define USER_SOCKET "/netfwd.sock"

struct app {
	struct options options; /* the caller's, completed */
	char user_socket[sizeof(((struct sockaddr_un *)0)->sun_path)];
	struct stack_config config;
	struct loop *loop;
	struct stack *stack;
	struct ways *ways;
	struct ssh_way *ssh; /* NULL: there is no SSH to the guest */
	struct forwards *forwards;
	struct policy *policy;
	struct port_watch_netns *watch; /* NULL: the guest's ports are not followed */
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

static int set_up_user_socket(struct app *app)
{
	const struct runtime_env env = runtime_env_get();
	char error[RUNTIME_ERROR_SIZE];
	int r = runtime_dir_make(&env, app->user_socket,
				 sizeof(app->user_socket) - strlen(USER_SOCKET), error);

	if (r < 0) {
		log_error("%s", error);
		return r;
	}
	memcpy(app->user_socket + strlen(app->user_socket), USER_SOCKET, sizeof(USER_SOCKET));
	app->options.link_path = app->user_socket;
	return 0;
}

static int set_up_qemu(struct app *app)
{
	const struct qemu_config config = {
		.argv = app->options.qemu_argv,
		.mtu = app->options.mtu,
		.on_exit = on_qemu_exit,
		.arg = app,
	};

	return qemu_new(app->loop, &config, &app->options.link_fd, &app->qemu);
}

static int set_up_link(struct app *app)
{
	struct link *link;
	int r = 0;

	if (app->options.link == OPTIONS_LINK_USER)
		r = set_up_user_socket(app);
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

static int add_way(struct app *app, enum rule_via kind, int r, struct tunnel *tunnel)
{
	if (r == 0)
		ways_add(app->ways, kind, tunnel);
	return r;
}

/* The guest's link is there. */
static int set_up_ways(struct app *app)
{
	const struct options *o = &app->options;
	bool is_namespace = o->link == OPTIONS_LINK_NETNS;
	struct tunnel *tunnel = NULL;
	int r;

	r = tunnel_nic_new(app->stack, &app->config, is_namespace, &tunnel);
	r = add_way(app, RULE_VIA_DIRECT, r, tunnel);
	if (r == 0 && is_namespace) {
		r = tunnel_netns_new(app->loop, o->netns, &tunnel);
		r = add_way(app, RULE_VIA_NETNS, r, tunnel);
	}
	if (r == 0)
		r = ssh_way_new(app->loop, app->stack, &app->config, o, &app->ssh);
	if (r == 0 && app->ssh)
		ways_add(app->ways, RULE_VIA_SSH, ssh_way_tunnel(app->ssh));
	return r;
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

	if (set_up_base(app) < 0)
		return -1;
	if (link_result < 0 || set_up_link(app) < 0 || set_up_ways(app) < 0)
		result = -1;
	if (o->pcap_path && set_up_capture(app) < 0)
		result = -1;
	if (forwards_new(o, &app->config, &app->forwards) < 0 || forwards_check(app->forwards) < 0)
		result = -1;
	return result;
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

static void on_reloaded(void *arg)
{
	struct app *app = arg;

	if (app->watch)
		port_watch_netns_set_ephemeral_udp(app->watch,
						   policy_wants_client_ports(app->policy));
}

/* A namespace's ports are followed when there are rules for them. */
static int start_watch(struct app *app)
{
	const struct port_watch_netns_config config = {
		.netns = app->options.netns,
		.changed = on_listeners,
		.arg = app,
	};

	uint16_t first, last;
	int r;

	if (app->options.link != OPTIONS_LINK_NETNS || !app->options.config)
		return 0;
	r = port_watch_netns_new(app->loop, &config, &app->watch);
	if (r < 0)
		return r;
	port_watch_netns_ephemeral(app->watch, &first, &last);
	policy_set_client_ports(app->policy, first, last);
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
		.reloaded = on_reloaded,
		.arg = app,
	};

	return app_control_new(app->loop, &setup, &app->control);
}

static int start(struct app *app)
{
	int r = start_control(app);

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

	if (app->options.link_path)
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
	port_watch_netns_free(app->watch);
	app_control_free(app->control);
	policy_free(app->policy);
	forwards_free(app->forwards);
	ways_free(app->ways);
	ssh_way_free(app->ssh);
	if (app->stack)
		stack_counters(app->stack, log_counter, NULL);
	stack_free(app->stack);
	loop_free(app->loop);
}

int app_run(const struct options *options)
{
	struct app app = { .options = *options, .config = config_from(options) };
	int r;

	raise_descriptor_limit();
	(void)signal(SIGPIPE, SIG_IGN);
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
