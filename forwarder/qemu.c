/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/qemu.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "forwarder/qemu_args.h"
#include "forwarder/qemu_probe.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"

#define VSOCK_MODEL "vhost-user-vsock-pci"
#define KILL_AFTER_MS 5000

#define MAX_ADDED 24 /* options and their values */

struct qemu {
	struct loop *loop;
	struct qemu_config config;
	char **argv; /* the user's and ours */
	char *added[MAX_ADDED];
	unsigned int n_added;
	int fd, agent_fd;   /* QEMU's ends; -1 once it has them, or has none */
	pid_t pid;	    /* 0: not running */
	struct timer *kill; /* runs from qemu_stop() on */
};

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void on_patience_over(void *arg)
{
	struct qemu *q = arg;

	if (!q->pid)
		return;
	log_warn("QEMU (pid %d) did not end when asked to, so it is killed", (int)q->pid);
	(void)kill(q->pid, SIGKILL);
}

/* ---- the arguments that we add ---- */

static int add(struct qemu *q, const char *option, const char *value)
{
	if (q->n_added + 2 > MAX_ADDED)
		return -E2BIG;
	q->added[q->n_added] = strdup(option);
	q->added[q->n_added + 1] = strdup(value);
	q->n_added += 2;
	return q->added[q->n_added - 2] && q->added[q->n_added - 1] ? 0 : -ENOMEM;
}

static int add_memory(struct qemu *q, const struct qemu_guest *guest)
{
	char object[QEMU_ARG_SIZE];
	int r = qemu_object_memory(guest->memory, object);

	if (r == 0)
		r = add(q, "-object", object);
	return r < 0 ? r : add(q, "-machine", QEMU_MACHINE_MEMORY);
}

static int add_chardev(struct qemu *q, const char *id, const char *path)
{
	char chardev[QEMU_ARG_SIZE];
	int r = qemu_chardev(id, path, chardev);

	return r < 0 ? r : add(q, "-chardev", chardev);
}

static int add_netdev(struct qemu *q, bool is_vhost_user)
{
	char netdev[QEMU_ARG_SIZE];
	int r;

	if (is_vhost_user) {
		r = add_chardev(q, QEMU_CHARDEV_ID, q->config.nic_path);
		return r < 0 ? r : add(q, "-netdev", QEMU_NETDEV_VHOST_USER);
	}
	r = qemu_netdev_fd(q->fd, netdev);
	return r < 0 ? r : add(q, "-netdev", netdev);
}

static int add_device(struct qemu *q, const struct qemu_guest *guest, bool is_vhost_user)
{
	struct mac mac = qemu_mac(guest->name, guest->name_len);
	const char *vectors = is_vhost_user ? qemu_vectors_option(guest, guest->model) : "";
	char device[QEMU_ARG_SIZE], model[64];

	(void)snprintf(model, sizeof(model), "%s%s", guest->model, vectors);
	if (qemu_device(model, &mac, q->config.mtu, device) < 0)
		return -ENAMETOOLONG;
	return add(q, "-device", device);
}

static int add_vsock(struct qemu *q, const struct qemu_guest *guest)
{
	static const char model[] = VSOCK_MODEL;
	char device[QEMU_ARG_SIZE];
	int r = add_chardev(q, QEMU_VSOCK_ID, q->config.vsock_path);

	(void)snprintf(device, sizeof(device), "%s,chardev=" QEMU_VSOCK_ID "%s", model,
		       qemu_vectors_option(guest, model));
	return r < 0 ? r : add(q, "-device", device);
}

/* The port for the agent, on a bus of its own. */
static int add_agent_port(struct qemu *q, const struct qemu_guest *guest)
{
	char serial[QEMU_ARG_SIZE], chardev[QEMU_ARG_SIZE];
	int r;

	if (qemu_serial(guest->model, serial) < 0 || qemu_chardev_fd(q->agent_fd, chardev) < 0)
		return -ENAMETOOLONG;
	r = add(q, "-device", serial);
	if (r == 0)
		r = add(q, "-chardev", chardev);
	return r < 0 ? r : add(q, "-device", QEMU_AGENT_DEVICE);
}

static int add_all(struct qemu *q, const struct qemu_guest *guest, bool has_vsock)
{
	bool is_vhost_user = q->fd < 0;
	int r = 0;

	if (is_vhost_user || has_vsock)
		r = add_memory(q, guest);
	if (r == 0)
		r = add_netdev(q, is_vhost_user);
	if (r == 0 && !guest->has_device)
		r = add_device(q, guest, is_vhost_user);
	if (r == 0 && has_vsock)
		r = add_vsock(q, guest);
	if (r == 0 && q->agent_fd >= 0)
		r = add_agent_port(q, guest);
	return r;
}

static int build_argv(struct qemu *q)
{
	size_t n = 0;

	while (q->config.argv[n])
		n++;
	q->argv = calloc(n + MAX_ADDED + 1, sizeof(*q->argv));
	if (!q->argv)
		return -ENOMEM;
	memcpy(q->argv, q->config.argv, n * sizeof(*q->argv));
	memcpy(q->argv + n, q->added, q->n_added * sizeof(*q->argv));
	return 0;
}

/* ---- life ---- */

/* Whether the NIC is to be vhost-user's; -EINVAL after a line that says why not. */
static int decide_nic(const struct qemu_config *config, const struct qemu_guest *guest)
{
	const char *conflict = guest->memory_conflict;

	if (config->nic == QEMU_NIC_STREAM)
		return false;
	/* a device of the user's own would have to have vectors=0 */
	if (config->nic == QEMU_NIC_AUTO)
		return !conflict && (guest->has_kvm || !guest->has_device) &&
		       qemu_probe_has_netdev(config->argv[0], "vhost-user");
	if (!conflict)
		return true;
	log_error("--nic vhost-user: QEMU's %s decides over the guest's memory, so netfwd cannot "
		  "have it shared; take it out, or use --nic stream",
		  conflict);
	return -EINVAL;
}

/* Nobody has asked for a vsock: why the guest gets none, or NULL. */
static const char *why_no_vsock(const struct qemu_config *config, const struct qemu_guest *guest,
				bool is_vhost_user)
{
	size_t len = strlen(guest->model);

	if (!is_vhost_user)
		return "its memory is not shared for its network card";
	if (len < 4 || strcmp(guest->model + len - 4, "-pci") != 0)
		return "its machine has no PCI";
	if (!qemu_probe_has_device(config->argv[0], VSOCK_MODEL))
		return "this QEMU has no " VSOCK_MODEL;
	return NULL;
}

static bool decide_vsock(const struct qemu_config *config, const struct qemu_guest *guest,
			 bool is_vhost_user)
{
	const char *why;

	if (!config->vsock_path || guest->has_vsock)
		return false;
	if (config->needs_vsock && guest->memory_conflict)
		log_warn("the guest gets no vsock: QEMU's %s decides over its memory",
			 guest->memory_conflict);
	if (config->needs_vsock)
		return !guest->memory_conflict;
	why = why_no_vsock(config, guest, is_vhost_user);
	if (why)
		log_info("the guest gets no vsock: %s", why);
	return !why;
}

/* Our end goes to *ours, QEMU's is inherited by it. */
static int make_pair(int *ours, int *theirs)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	*ours = pair[0];
	*theirs = pair[1];
	return fcntl(pair[1], F_SETFD, 0) < 0 ? -errno : 0;
}

static int add_arguments(struct qemu *q, const struct qemu_guest *guest, bool has_vsock)
{
	int r = add_all(q, guest, has_vsock);

	if (r == 0)
		r = build_argv(q);
	return r < 0 ? r : timer_new(q->loop, on_patience_over, q, &q->kill);
}

static int prepare(struct qemu *q, const struct qemu_guest *guest, struct qemu_ends *ends)
{
	int is_vhost_user = decide_nic(&q->config, guest), agent_fd = -1, r = 0;

	if (is_vhost_user < 0)
		return is_vhost_user;
	if (!is_vhost_user)
		r = make_pair(&ends->link_fd, &q->fd);
	if (r == 0 && q->config.agent_fd)
		r = make_pair(&agent_fd, &q->agent_fd);
	ends->has_vsock = decide_vsock(&q->config, guest, is_vhost_user);
	if (r == 0)
		r = add_arguments(q, guest, ends->has_vsock);
	if (r < 0) {
		close_fd(&ends->link_fd);
		close_fd(&agent_fd);
		return r;
	}
	if (q->config.agent_fd)
		*q->config.agent_fd = agent_fd;
	return 0;
}

int qemu_new(struct loop *loop, const struct qemu_config *config, struct qemu_ends *ends,
	     struct qemu **out)
{
	char error[QEMU_ERROR_SIZE];
	struct qemu_guest guest;
	struct qemu *q;
	int r;

	*ends = (struct qemu_ends){ .link_fd = -1 };
	if (qemu_args_read(config->argv, &guest, error) < 0) {
		log_error("%s", error);
		return -EINVAL;
	}
	q = calloc(1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	q->loop = loop;
	q->config = *config;
	q->fd = q->agent_fd = -1;
	r = prepare(q, &guest, ends);
	if (r < 0) {
		qemu_free(q);
		return r;
	}
	*out = q;
	return 0;
}

static void on_exit_of_child(void *arg, int status)
{
	struct qemu *q = arg;

	q->pid = 0;
	timer_stop(q->kill);
	q->config.on_exit(q->config.arg, status);
}

int qemu_start(struct qemu *q)
{
	const struct loop_child child = {
		.argv = q->argv,
		.on_exit = on_exit_of_child,
		.arg = q,
	};
	int r = loop_spawn(q->loop, &child, &q->pid);

	if (r < 0)
		return r;
	/* Only QEMU's copies are left, so that its end is seen on ours. */
	close_fd(&q->fd);
	close_fd(&q->agent_fd);
	return 0;
}

void qemu_stop(struct qemu *q)
{
	if (!q->pid || timer_is_running(q->kill))
		return;
	(void)kill(q->pid, SIGTERM);
	timer_start(q->kill, KILL_AFTER_MS);
}

void qemu_free(struct qemu *q)
{
	if (!q)
		return;
	if (q->pid)
		(void)kill(q->pid, SIGKILL);
	close_fd(&q->fd);
	close_fd(&q->agent_fd);
	timer_free(q->kill);
	for (unsigned int i = 0; i < q->n_added; i++)
		free(q->added[i]);
	free(q->argv);
	free(q);
}
