/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/app_link.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "forwarder/guest.h"
#include "forwarder/guest_link.h"
#include "forwarder/options.h"
#include "forwarder/qemu.h"
#include "forwarder/runtime_dir.h"
#include "forwarder/shared_links.h"
#include "netstack/base/log.h"
#include "netstack/stack.h"

#define USER_SOCKET "/netfwd.sock"
#define SHARED_SOCKET "/shared.sock"
#define SOCKET_PATH_SIZE sizeof(((struct sockaddr_un *)0)->sun_path)

struct app_link {
	struct loop *loop;
	struct app_link_setup setup;
	char user_socket[SOCKET_PATH_SIZE]; /* or that of the NIC of a QEMU of ours */
	char qemu_vsock[SOCKET_PATH_SIZE];
	struct shared_links *shared; /* NULL: a single guest */
	int agent_fd;		     /* or -1 */
	struct qemu *qemu;
	bool is_qemu_running;
};

static int check_inherited(const char *option, int fd)
{
	if (fd < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) == 0)
		return 0;
	log_error("%s %d: no such descriptor was inherited", option, fd);
	return -EBADF;
}

int app_link_check_inherited(const struct options *o)
{
	int result = check_inherited("--ready-fd", o->ready_fd);

	if (o->shared.host_fd && check_inherited("--host-interface-fd", o->shared.host_fd) < 0)
		result = -EBADF;
	if (check_inherited("--fd", o->link_fd) < 0)
		result = -EBADF;
	for (unsigned int i = 0; o->is_shared && i < o->n_links; i++) {
		if (check_inherited("--fd", o->links[i].fd) < 0)
			result = -EBADF;
	}
	return result;
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

static int set_up_user_socket(struct app_link *link, const char *name)
{
	int r = make_path(name, link->user_socket);

	if (r == 0)
		link->setup.options->link_path = link->user_socket;
	return r;
}

/* --- a QEMU of ours ------------------------------------------------------ */

/* Where QEMU finds the devices that it shares its guest's memory with. */
static int make_qemu_paths(struct app_link *link)
{
	char nic[40], vsock[40];
	int r;

	(void)snprintf(nic, sizeof(nic), "/qemu-%d.nic", (int)getpid());
	(void)snprintf(vsock, sizeof(vsock), "/qemu-%d.vsock", (int)getpid());
	r = make_path(nic, link->user_socket);
	return r < 0 ? r : make_path(vsock, link->qemu_vsock);
}

static void on_qemu_exit(void *arg, int status)
{
	struct app_link *link = arg;

	link->is_qemu_running = false;
	link->setup.on_qemu_exit(link->setup.arg, status);
}

/* One that `netfwd qemu` gives to the guest by itself. */
static bool has_own_port(const struct options *o)
{
	const struct config_agent *agent = guest_agent(o);

	return agent && agent->transport == CONFIG_AGENT_SERIAL && !agent->path;
}

static int set_up_qemu(struct app_link *link)
{
	static const enum qemu_nic nics[] = {
		[OPTIONS_NIC_AUTO] = QEMU_NIC_AUTO,
		[OPTIONS_NIC_STREAM] = QEMU_NIC_STREAM,
		[OPTIONS_NIC_VHOST_USER] = QEMU_NIC_VHOST_USER,
	};
	struct options *o = link->setup.options;
	const struct qemu_config config = {
		.argv = o->qemu_argv,
		.mtu = o->mtu,
		.nic = nics[o->nic],
		.nic_path = link->user_socket,
		.vsock_path = o->vsock_path || o->vsock_peer ? NULL : link->qemu_vsock,
		.needs_vsock = o->vsock_cid != 0,
		.agent_fd = has_own_port(o) ? &link->agent_fd : NULL,
		.on_exit = on_qemu_exit,
		.arg = link,
	};
	struct qemu_ends ends = { .link_fd = -1 };
	int r = 0;

	if (config.nic != QEMU_NIC_STREAM || config.needs_vsock)
		r = make_qemu_paths(link);
	if (r == 0)
		r = qemu_new(link->loop, &config, &ends, &link->qemu);
	if (r < 0)
		return r;
	o->link_fd = ends.link_fd;
	if (ends.link_fd < 0)
		o->link_path = link->user_socket;
	if (ends.has_vsock) {
		o->vsock_path = link->qemu_vsock;
		if (!o->vsock_cid)
			o->vsock_cid = OPTIONS_CID_DEFAULT;
	}
	return 0;
}

int app_link_start_qemu(struct app_link *link)
{
	int r;

	if (!link->qemu)
		return 0;
	r = qemu_start(link->qemu);
	link->is_qemu_running = r == 0;
	if (r < 0)
		log_error("%s cannot be started: %s", link->setup.options->qemu_argv[0],
			  strerror(-r));
	return r;
}

bool app_link_stop_qemu(struct app_link *link)
{
	if (!link->is_qemu_running)
		return false;
	qemu_stop(link->qemu);
	return true;
}

int app_link_take_agent_fd(struct app_link *link)
{
	int fd = link->agent_fd;

	link->agent_fd = -1;
	return fd;
}

/* --- a network of many guests -------------------------------------------- */

/* Without any guest given, a socket of the user's, as for a single guest. */
static int choose_shared_socket(struct app_link *link)
{
	struct options *o = link->setup.options;
	int r = 0;

	if (o->n_links == 0) {
		r = set_up_user_socket(link, SHARED_SOCKET);
		o->links[o->n_links++] = (struct options_link_spec){ .link = OPTIONS_LINK_STREAM,
								     .where = link->user_socket,
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

static int set_up_shared(struct app_link *link)
{
	const struct shared_links_setup setup = {
		.stack = link->setup.stack,
		.options = link->setup.options,
		.network = link->setup.network,
	};
	int r = choose_shared_socket(link);

	return r < 0 ? r : shared_links_new(link->loop, &setup, &link->shared);
}

struct shared_links *app_link_shared(struct app_link *link)
{
	return link->shared;
}

/* ------------------------------------------------------------------------- */

static int set_up(struct app_link *link)
{
	const struct app_link_setup *setup = &link->setup;
	struct link *nic;
	int r = 0;

	if (setup->options->link == OPTIONS_LINK_SHARED)
		return set_up_shared(link);

	if (setup->options->link == OPTIONS_LINK_USER)
		r = set_up_user_socket(link, USER_SOCKET);
	else if (setup->options->link == OPTIONS_LINK_QEMU)
		r = set_up_qemu(link);
	if (r == 0)
		r = guest_link_open(link->loop, setup->options, setup->network, &nic);
	if (r == 0)
		r = stack_attach(setup->stack, nic);
	return r;
}

int app_link_new(struct loop *loop, const struct app_link_setup *setup, struct app_link **out)
{
	struct app_link *link = calloc(1, sizeof(*link));
	int r;

	if (!link)
		return -ENOMEM;
	link->loop = loop;
	link->setup = *setup;
	link->agent_fd = -1;
	r = set_up(link);
	if (r < 0)
		app_link_free(link);
	else
		*out = link;
	return r;
}

void app_link_free(struct app_link *link)
{
	if (!link)
		return;
	qemu_free(link->qemu);
	shared_links_free(link->shared);
	if (link->agent_fd >= 0)
		close(link->agent_fd);
	free(link);
}
