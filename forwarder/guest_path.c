/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/guest_path.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "netstack/dial.h"

/* A name for what a descriptor stands for, short enough for a socket address. */
#define FD_PATH_SIZE 64

int guest_files_open(const char *netns, struct guest_files *out)
{
	char path[FD_PATH_SIZE];

	out->process = -1;
	if (netns[strspn(netns, "0123456789")] != '\0')
		return 0;
	(void)snprintf(path, sizeof(path), "/proc/%.20s", netns);
	/* this process and no later one of the same number */
	out->process = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return out->process < 0 ? -errno : 0;
}

void guest_files_close(struct guest_files *files)
{
	if (files->process >= 0)
		close(files->process);
	files->process = -1;
}

/* What the process has at this path; it may have changed its root since. The
 * descriptor, or -errno. */
static int open_inside(const struct guest_files *files, const char *path, uint64_t flags)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC | flags, .resolve = RESOLVE_IN_ROOT };
	int root = openat(files->process, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd, error;

	if (root < 0)
		return -errno;
	fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
	error = errno;
	close(root);
	return fd < 0 ? -error : fd;
}

int guest_path_dial(const struct guest_files *files, struct loop *loop, const char *path,
		    struct stream **out)
{
	char fd_path[FD_PATH_SIZE];
	int fd, r;

	if (files->process < 0)
		return dial_unix(loop, path, out);
	fd = open_inside(files, path, 0);
	if (fd < 0)
		return dial_failed(fd, out);
	(void)snprintf(fd_path, sizeof(fd_path), "/proc/self/fd/%d", fd);
	r = dial_unix(loop, fd_path, out);
	close(fd);
	return r;
}

int guest_path_bind(const struct guest_files *files, const char *path, struct guest_socket *out)
{
	const char *name = strrchr(path, '/');
	char directory[sizeof(out->socket.path)], fd_path[sizeof(out->socket.path)];
	int len, r;

	out->directory = -1;
	out->socket.fd = -1;
	if (files->process < 0)
		return unix_socket_bind(SOCK_STREAM, path, &out->socket);
	if (!name || !name[1] || strlen(path) >= sizeof(directory))
		return -EINVAL;
	(void)snprintf(directory, sizeof(directory), "%.*s", (int)(name + 1 - path), path);
	out->directory = open_inside(files, directory, O_DIRECTORY);
	if (out->directory < 0)
		return out->directory;
	len = snprintf(fd_path, sizeof(fd_path), "/proc/self/fd/%d%s", out->directory, name);
	r = len < (int)sizeof(fd_path) ? unix_socket_bind(SOCK_STREAM, fd_path, &out->socket) :
					 -ENAMETOOLONG;
	if (r < 0)
		guest_socket_close(out);
	return r;
}

void guest_socket_close(struct guest_socket *s)
{
	unix_socket_close(&s->socket);
	if (s->directory >= 0)
		close(s->directory);
	s->directory = -1;
}
