/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/netns_enter.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

pid_t netns_fork(void)
{
	sigset_t all, old;
	pid_t child;

	sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	child = fork();
	if (child != 0)
		(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	return child;
}

static int open_netns(const char *netns)
{
	char path[4096];

	if (strchr(netns, '/'))
		(void)snprintf(path, sizeof(path), "%s", netns);
	else if (netns[strspn(netns, "0123456789")] == '\0')
		(void)snprintf(path, sizeof(path), "/proc/%s/ns/net", netns);
	else
		(void)snprintf(path, sizeof(path), "/run/netns/%s", netns);
	return open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* it may be a FIFO */
}

static int failed(const char *what, char step[static NETNS_STEP_SIZE])
{
	int error = -errno;

	(void)snprintf(step, NETNS_STEP_SIZE, "%s", what);
	return error;
}

int netns_enter(const char *netns, char step[static NETNS_STEP_SIZE])
{
	int fd = open_netns(netns), user;

	if (fd < 0)
		return failed("open the network namespace", step);
	if (setns(fd, CLONE_NEWNET) == 0)
		return 0;
	if (errno != EPERM)
		return failed("enter the network namespace", step);
	user = ioctl(fd, NS_GET_USERNS);
	if (user < 0 || setns(user, CLONE_NEWUSER) < 0)
		return failed("enter the user namespace that owns it", step);
	if (setns(fd, CLONE_NEWNET) < 0)
		return failed("enter the network namespace", step);
	return 0;
}
