/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/qemu.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "forwarder/qemu_args.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"

#define KILL_AFTER_MS 5000
#define MAX_ADDED 10 /* arguments */

struct qemu {
	struct loop *loop;
	struct qemu_config config;
	char netdev[QEMU_ARG_SIZE], device[QEMU_ARG_SIZE];
	char serial[QEMU_ARG_SIZE], chardev[QEMU_ARG_SIZE];
	char **argv;	    /* the user's and ours */
	int fd, agent_fd;   /* QEMU's ends; -1 once it has them */
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

static int add_agent_port(struct qemu *q, const struct qemu_guest *guest, size_t n)
{
	static char device_option[] = "-device", chardev_option[] = "-chardev";
	static char port[] = QEMU_AGENT_DEVICE;

	if (qemu_serial(guest->model, q->serial) < 0 ||
	    qemu_chardev_fd(q->agent_fd, q->chardev) < 0)
		return -ENAMETOOLONG;
	q->argv[n++] = device_option;
	q->argv[n++] = q->serial;
	q->argv[n++] = chardev_option;
	q->argv[n++] = q->chardev;
	q->argv[n++] = device_option;
	q->argv[n++] = port;
	return 0;
}

static int build_argv(struct qemu *q, const struct qemu_guest *guest)
{
	static char netdev_option[] = "-netdev", device_option[] = "-device";
	struct mac mac = qemu_mac(guest->name, guest->name_len);
	size_t n = 0;

	if (qemu_netdev_fd(q->fd, q->netdev) < 0 ||
	    qemu_device(guest->model, &mac, q->config.mtu, q->device) < 0)
		return -ENAMETOOLONG;
	while (q->config.argv[n])
		n++;
	q->argv = calloc(n + MAX_ADDED + 1, sizeof(*q->argv));
	if (!q->argv)
		return -ENOMEM;
	memcpy(q->argv, q->config.argv, n * sizeof(*q->argv));
	q->argv[n++] = netdev_option;
	q->argv[n++] = q->netdev;
	if (!guest->has_device) {
		q->argv[n++] = device_option;
		q->argv[n++] = q->device;
	}
	return q->agent_fd < 0 ? 0 : add_agent_port(q, guest, n);
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

static int prepare(struct qemu *q, const struct qemu_guest *guest, int *link_fd)
{
	int ours[2] = { -1, -1 };
	int r = make_pair(&ours[0], &q->fd);

	if (r == 0 && q->config.agent_fd)
		r = make_pair(&ours[1], &q->agent_fd);
	if (r == 0)
		r = build_argv(q, guest);
	if (r == 0)
		r = timer_new(q->loop, on_patience_over, q, &q->kill);
	if (r < 0) {
		close_fd(&ours[0]);
		close_fd(&ours[1]);
		return r;
	}
	*link_fd = ours[0];
	if (q->config.agent_fd)
		*q->config.agent_fd = ours[1];
	return 0;
}

int qemu_new(struct loop *loop, const struct qemu_config *config, int *link_fd, struct qemu **out)
{
	char error[QEMU_ERROR_SIZE];
	struct qemu_guest guest;
	struct qemu *q;
	int r;

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
	r = prepare(q, &guest, link_fd);
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
	free(q->argv);
	free(q);
}
