/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static _Noreturn void hold_namespace(int ready)
{
	int flags = CLONE_NEWNET | (geteuid() == 0 ? 0 : CLONE_NEWUSER);
	bool ok = unshare(flags) == 0;

	if (write(ready, &ok, sizeof(ok)) == (ssize_t)sizeof(ok))
		pause();
	_exit(0);
}

void inside_start(struct inside *guest)
{
	bool ok = false;
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		abort();
	guest->pid = fork();
	if (guest->pid == 0)
		hold_namespace(fds[1]);
	close(fds[1]);
	if (read(fds[0], &ok, sizeof(ok)) != (ssize_t)sizeof(ok) || !ok)
		inside_stop(guest);
	close(fds[0]);
	(void)snprintf(guest->pid_text, sizeof(guest->pid_text), "%d", (int)guest->pid);
}

void inside_stop(struct inside *guest)
{
	if (guest->pid > 0) {
		(void)kill(guest->pid, SIGKILL);
		(void)waitpid(guest->pid, NULL, 0);
	}
	guest->pid = -1;
}

static int join(const struct inside *guest, const char *kind, int type)
{
	char path[64];
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%s/ns/%s", guest->pid_text, kind);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -1 : setns(fd, type);
}

union control {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(sizeof(int))];
};

static _Noreturn void run_child(const struct inside *guest, int reply, inside_fn *fn,
				const void *arg)
{
	union control control = { .bytes = { 0 } };
	int result;
	struct iovec iov = { &result, sizeof(result) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if ((geteuid() != 0 && join(guest, "user", CLONE_NEWUSER) < 0) ||
	    join(guest, "net", CLONE_NEWNET) < 0)
		result = INSIDE_FAILED(errno);
	else
		result = fn(arg);
	if (result >= 0) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &result, sizeof(int));
	}
	_exit(sendmsg(reply, &msg, 0) < 0);
}

int inside_run(const struct inside *guest, inside_fn *fn, const void *arg)
{
	union control control = { .bytes = { 0 } };
	int result = INSIDE_FAILED(EIO), fds[2];
	struct iovec iov = { &result, sizeof(result) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		abort();
	pid = fork();
	if (pid == 0)
		run_child(guest, fds[1], fn, arg);
	close(fds[1]);
	if (recvmsg(fds[0], &msg, MSG_CMSG_CLOEXEC) > 0 && result >= 0)
		memcpy(&result, CMSG_DATA(&control.header), sizeof(int));
	close(fds[0]);
	(void)waitpid(pid, NULL, 0);
	return result;
}
