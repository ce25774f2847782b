/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/app.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "forwarder/app_control.h"
#include "forwarder/app_link.h"
#include "forwarder/config_env.h"
#include "forwarder/forwards.h"
#include "forwarder/guest_set.h"
#include "forwarder/guest_vsock.h"
#include "forwarder/options.h"
#include "forwarder/qemu_hint.h"
#include "forwarder/shared_links.h"
#include "forwarder/shared_network.h"
#include "netstack/base/descriptor_limit.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/stack.h"
#include "netstack/vsock/vsock.h"

struct app {
	struct options options; /* the caller's, completed */
	char lease_path[PATH_MAX];
	struct stack_config config;
	struct loop *loop;
	struct stack *stack;
	struct app_link *link;
	struct guest_vsock *vsock; /* NULL: the guest has none */
	struct guest_set *guests;
	struct forwards *forwards;
	struct app_control *control;
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

static void on_signal(void *arg, int signum)
{
	struct app *app = arg;

	log_info("stopping on signal %d", signum);
	app->is_stopping = true;
	if (!app_link_stop_qemu(app->link)) /* else the loop ends when it has ended */
		loop_stop(app->loop);
}

static void on_qemu_exit(void *arg, int status)
{
	struct app *app = arg;

	/* QEMU handles SIGTERM, but not in its first moments. */
	if (app->is_stopping && status == 128 + SIGTERM)
		status = EXIT_SUCCESS;
	app->exit_status = status;
	loop_stop(app->loop);
}

static int choose_network(struct app *app)
{
	if (app->options.is_shared)
		return shared_network_choose(&app->options, &app->config, app->lease_path);
	app->config = config_from(&app->options);
	return 0;
}

static int set_up_capture(struct app *app)
{
	int r = stack_capture(app->stack, app->options.pcap_path);

	if (r < 0)
		log_error("--pcap %s: %s", app->options.pcap_path, strerror(-r));
	return r;
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

static int set_up_base(struct app *app)
{
	int r = loop_new(&app->loop);

	if (r == 0)
		r = set_up_signals(app);
	if (r == 0)
		r = stack_new(app->loop, &app->config, &app->stack);
	if (r < 0)
		log_error("cannot start: %s", strerror(-r));
	return r;
}

static int set_up_link(struct app *app)
{
	const struct app_link_setup setup = {
		.stack = app->stack,
		.network = &app->config,
		.options = &app->options,
		.on_qemu_exit = on_qemu_exit,
		.arg = app,
	};

	return app_link_new(app->loop, &setup, &app->link);
}

static int set_up_guests(struct app *app)
{
	const struct guest_set_setup setup = {
		.stack = app->stack,
		.network = &app->config,
		.options = &app->options,
		.vsock = guest_vsock_of(app->vsock),
		.agent_fd = app_link_take_agent_fd(app->link),
	};

	return guest_set_new(app->loop, &setup, &app->guests);
}

/* Goes on after a failure, so that all are reported in one run. */
static int set_up(struct app *app)
{
	const struct options *o = &app->options;
	int result = app_link_check_inherited(o);
	bool may_open = result == 0;

	if (set_up_base(app) < 0)
		return -1;
	if (may_open && set_up_link(app) < 0)
		result = -1;
	if (guest_vsock_open(app->loop, o, &app->vsock) < 0)
		result = -1;
	if (result == 0 && set_up_guests(app) < 0) /* by all of the above */
		result = -1;
	if (o->pcap_path && set_up_capture(app) < 0)
		result = -1;
	if (forwards_new(o, &app->config, &app->forwards) < 0 || forwards_check(app->forwards) < 0)
		result = -1;
	return result;
}

static int start_control(struct app *app)
{
	const struct app_control_setup setup = {
		.stack = app->stack,
		.vsock = guest_vsock_of(app->vsock),
		.guests = app->guests,
		.options = &app->options,
		.loopbacks = shared_links_loopbacks(app_link_shared(app->link)),
	};

	return app_control_new(app->loop, &setup, &app->control);
}

static int start(struct app *app)
{
	struct shared_links *shared = app_link_shared(app->link);
	struct publisher *publisher = guest_set_publisher(app->guests);
	int r = 0;

	if (shared)
		r = shared_links_serve(shared, publisher, guest_set_find_ways, app->guests);
	if (r == 0)
		r = start_control(app);

	if (app->options.config)
		config_env_make_socket_dir(app->options.config);
	if (r == 0)
		r = forwards_publish(app->forwards, publisher);
	if (r == 0)
		r = guest_set_start(app->guests, shared_links_loopbacks(shared));
	return r < 0 ? r : app_link_start_qemu(app->link);
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
	app_control_free(app->control);
	app_link_free(app->link);
	guest_set_free(app->guests);
	forwards_free(app->forwards);
	vsock_counters(guest_vsock_of(app->vsock), log_counter, NULL);
	guest_vsock_free(app->vsock);
	if (app->stack)
		stack_counters(app->stack, log_counter, NULL);
	stack_free(app->stack);
	loop_free(app->loop);
}

int app_run(const struct options *options)
{
	struct app app = { .options = *options };
	int r;

	descriptor_limit_raise();
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
