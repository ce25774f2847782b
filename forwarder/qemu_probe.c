/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/qemu_probe.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

#define PATIENCE_MS 2000

/* The process id, or -errno. */
static pid_t spawn(char *const argv[], int output)
{
	posix_spawn_file_actions_t actions;
	int r = posix_spawn_file_actions_init(&actions);
	pid_t pid = -1;

	if (r)
		return -r;
	r = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (!r)
		r = posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
	if (!r)
		r = posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY,
						     0);
	if (!r)
		r = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	return r ? -r : pid;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Reads until the end or until the buffer is full. 0 or -errno. */
static int read_all(int fd, char *text, size_t size)
{
	int64_t deadline = now_ms() + PATIENCE_MS;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	size_t len = 0;

	while (len + 1 < size) {
		int64_t left = deadline - now_ms();
		ssize_t n;

		if (left <= 0 || poll(&p, 1, (int)left) <= 0)
			return -ETIMEDOUT;
		n = read(fd, text + len, size - 1 - len);
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	text[len] = '\0';
	return 0;
}

/* What the program says on its standard output. 0 or -errno. */
static int ask(char *const argv[], char *text, size_t size)
{
	int pipe_fds[2] = { -1, -1 }, r = 0;
	pid_t pid;

	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return -errno;
	pid = spawn(argv, pipe_fds[1]);
	close(pipe_fds[1]);
	if (pid > 0) {
		r = read_all(pipe_fds[0], text, size);
		(void)kill(pid, SIGKILL); /* it has answered, or never will */
		(void)waitpid(pid, NULL, 0);
	}
	close(pipe_fds[0]);
	return pid < 0 ? (int)pid : r;
}

int qemu_probe_version(const char *program, struct qemu_version *out)
{
	char version[] = "--version", text[256];
	char *argv[] = { (char *)(uintptr_t)program, version, NULL };
	int r = ask(argv, text, sizeof(text));

	return r < 0 ? r : qemu_version_parse(text, out);
}

bool qemu_probe_has_netdev(const char *program, const char *kind)
{
	char netdev[] = "-netdev", help[] = "help", text[2048] = "";
	char *argv[] = { (char *)(uintptr_t)program, netdev, help, NULL };
	size_t len = strlen(kind);

	if (ask(argv, text, sizeof(text)) < 0)
		return false;
	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, kind, len) == 0 && (line[len] == '\n' || !line[len]))
			return true;
	}
	return false;
}

/* "MODEL options:", and then those; about a device that there is not, nothing here. */
bool qemu_probe_has_device(const char *program, const char *model)
{
	char device[] = "-device", help[64], text[128] = "";
	char *argv[] = { (char *)(uintptr_t)program, device, help, NULL };

	(void)snprintf(help, sizeof(help), "%s,help", model);
	return ask(argv, text, sizeof(text)) == 0 && strncmp(text, model, strlen(model)) == 0;
}
