/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/ssh_install.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "forwarder/agent_install.h"
#include "forwarder/borrowed_port.h"
#include "forwarder/config.h"
#include "forwarder/options.h"
#include "forwarder/ssh/ssh_tunnel.h"
#include "forwarder/ssh_way.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"

/* All of it, an emulated guest's package of services included. */
#define LIMIT_MS 180000

struct session {
	const struct ssh_install_setup *setup;
	struct loop *loop;
	struct borrowed_port port; /* where ssh.host is not set */
	struct ssh_way *way;
	struct tunnel *tunnel;
	struct timer *timer;
	struct agent_install *install;
	int result;
};

static void on_line(void *arg, const char *line)
{
	(void)arg;
	(void)printf("%s\n", line);
	(void)fflush(stdout);
}

static void on_done(void *arg, int error)
{
	struct session *s = arg;

	s->install = NULL;
	s->result = error;
	loop_stop(s->loop);
}

static void give_up(struct session *s, int error)
{
	agent_install_cancel(s->install);
	on_done(s, error);
}

/* Whoever waits for a person would wait forever. */
static void on_tunnel(void *arg)
{
	struct session *s = arg;

	if (s->install && (s->tunnel->state == TUNNEL_DOWN || s->tunnel->state == TUNNEL_FAILED))
		give_up(s, -ENOTCONN);
}

static void on_timer(void *arg)
{
	give_up(arg, -ETIMEDOUT);
}

static void on_signal(void *arg, int signum)
{
	(void)signum;
	give_up(arg, -EINTR);
}

static int run(void *arg, const char *command, struct stream **out)
{
	struct session *s = arg;

	return ssh_tunnel_run(s->tunnel, command, out);
}

/* What comes before the loop runs waits for it. */
static int watch_signals(struct session *s)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
	int r = 0;

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]) && r == 0; i++)
		r = loop_on_signal(s->loop, signals[i], on_signal, s);
	return r;
}

static int borrow_port(struct session *s)
{
	char error[CONTROL_CLIENT_ERROR_SIZE];
	int r;

	s->port.control = s->setup->control;
	s->port.guest = ssh_way_port(s->setup->config);
	r = borrowed_port_open(&s->port, error);
	if (r < 0)
		log_error("%s: ssh.host is not set, so that the netfwd that has the guest is asked "
			  "for a way to it: %s",
			  s->setup->config_path, error);
	return r < 0 ? -ECANCELED : 0;
}

static void return_port(struct session *s)
{
	char error[CONTROL_CLIENT_ERROR_SIZE];

	if (borrowed_port_close(&s->port, error) < 0)
		log_warn("port %u of the host may still lead to the guest; \"netfwd unexpose "
			 "tcp:%u:%u\" closes it: %s",
			 s->port.host, s->port.host, s->port.guest, error);
}

static int set_up(struct session *s, const struct options *options)
{
	static const struct ipaddr nowhere = IPADDR_V6_ANY; /* it is not ours */
	struct ssh_way_setup setup = { .guest = &nowhere, .guest_name = "", .options = options };
	int r = loop_new(&s->loop);

	if (r == 0)
		r = watch_signals(s);
	if (r == 0)
		r = timer_new(s->loop, on_timer, s, &s->timer);
	if (r == 0 && !options->config->ssh.host)
		r = borrow_port(s);
	setup.borrowed_port = s->port.host;
	if (r == 0)
		r = ssh_way_new(s->loop, &setup, &s->way);
	if (r < 0)
		return r;
	s->tunnel = ssh_way_tunnel(s->way);
	s->tunnel->changed = on_tunnel;
	s->tunnel->changed_arg = s;
	return 0;
}

static int work(struct session *s)
{
	const struct agent_install_setup setup = {
		.run = run,
		.run_arg = s,
		.options = s->setup->options,
		.token_path = s->setup->config->agent.token_file,
		.tell = on_line,
		.done = on_done,
		.arg = s,
	};
	int r = agent_install_start(&setup, &s->install);

	if (r < 0)
		return r;
	timer_start(s->timer, LIMIT_MS);
	r = loop_run(s->loop);
	return r < 0 ? r : s->result;
}

static void tear_down(struct session *s)
{
	agent_install_cancel(s->install);
	if (s->tunnel) {
		s->tunnel->changed = NULL;
		s->tunnel->ops->free(s->tunnel);
	}
	ssh_way_free(s->way);
	return_port(s);
	timer_free(s->timer);
	if (s->loop)
		loop_free(s->loop);
}

static void tell_failure(const struct session *s, int error)
{
	if (error == -ENOTCONN && s->tunnel)
		log_error("the agent was not installed: %s", s->tunnel->error);
	else if (error == -ECANCELED)
		log_error("the agent was not installed");
	else
		log_error("the agent was not installed: %s", strerrordesc_np(-error));
}

int ssh_install(const struct ssh_install_setup *setup)
{
	const struct options options = {
		.config = setup->config,
		.config_path = setup->config_path,
	};
	struct session s = { .setup = setup };
	int r;

	(void)signal(SIGPIPE, SIG_IGN);
	r = set_up(&s, &options);
	if (r == 0)
		r = work(&s);
	if (r < 0)
		tell_failure(&s, r);
	tear_down(&s);
	return r;
}
