/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/port_owner.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROC_LINE_SIZE 512
#define TCP_STATE_LISTEN 0x0a /* enum in the kernel's net/tcp_states.h */

/* A whole number, with nothing else in its text. */
static int parse_number(const char *text, int base, unsigned long *out)
{
	char *end;

	*out = strtoul(text, &end, base);
	return end == text || *end ? -EINVAL : 0;
}

/* Addresses are printed as 32-bit words in the byte order of the machine. */
static int parse_address(const char *hex, struct ipaddr *out)
{
	size_t len = strlen(hex);
	uint8_t bytes[16];

	if (len != 8 && len != 32)
		return -EINVAL;
	for (size_t i = 0; i < len / 8; i++) {
		unsigned long value;
		uint32_t word;
		char text[9];

		(void)snprintf(text, sizeof(text), "%.8s", hex + i * 8);
		if (parse_number(text, 16, &value) < 0)
			return -EINVAL;
		word = (uint32_t)value;
		memcpy(bytes + i * 4, &word, 4);
	}
	*out = len == 8 ? ipaddr_from_v4(bytes) : ipaddr_from_v6(bytes);
	return 0;
}

/* "0100007F:1F90"; the text is cut at the colon. */
static int parse_endpoint(char *text, struct endpoint *out)
{
	char *colon = strchr(text, ':');
	unsigned long port;

	if (!colon || parse_number(colon + 1, 16, &port) < 0 || port > UINT16_MAX)
		return -EINVAL;
	*colon = '\0';
	out->port = (uint16_t)port;
	return parse_address(text, &out->addr);
}

/* The columns: sl local remote state tx:rx timer:when retransmits uid timeout
 * inode, and more that do not matter here. */
enum column { COLUMN_LOCAL = 1, COLUMN_STATE = 3, COLUMN_UID = 7, COLUMN_INODE = 9, N_COLUMNS };

int proc_socket_parse(const char *line, enum forward_proto proto, struct proc_socket *out)
{
	char copy[PROC_LINE_SIZE], *columns[N_COLUMNS], *save = NULL;
	unsigned long state, uid, inode;

	(void)snprintf(copy, sizeof(copy), "%s", line);
	for (int i = 0; i < N_COLUMNS; i++) {
		columns[i] = strtok_r(i ? NULL : copy, " \n", &save);
		if (!columns[i])
			return -EINVAL;
	}
	if (parse_endpoint(columns[COLUMN_LOCAL], &out->local) < 0 ||
	    parse_number(columns[COLUMN_STATE], 16, &state) < 0 ||
	    parse_number(columns[COLUMN_UID], 10, &uid) < 0 ||
	    parse_number(columns[COLUMN_INODE], 10, &inode) < 0)
		return -EINVAL;
	out->is_listening = proto == FORWARD_UDP || state == TCP_STATE_LISTEN;
	out->uid = (uid_t)uid;
	out->inode = inode;
	return 0;
}

/* Whether a socket bound to `bound` keeps others from `wanted`. The IPv6
 * wildcard may hold the IPv4 port too (IPV6_V6ONLY off). */
static bool holds(const struct endpoint *bound, const struct endpoint *wanted)
{
	if (bound->port != wanted->port)
		return false;
	if (ipaddr_equal(&bound->addr, &wanted->addr))
		return true;
	if (ipaddr_is_any(&bound->addr))
		return !ipaddr_is_v4(&bound->addr) || ipaddr_is_v4(&wanted->addr);
	return ipaddr_is_any(&wanted->addr) &&
	       ipaddr_is_v4(&bound->addr) == ipaddr_is_v4(&wanted->addr);
}

/* The socket that holds the port; a listening one before any other. */
static bool search_file(const char *path, enum forward_proto proto, const struct endpoint *wanted,
			struct proc_socket *best)
{
	bool is_found = false;
	struct proc_socket s;
	char line[PROC_LINE_SIZE];
	FILE *file = fopen(path, "re");

	if (!file)
		return false;
	while (fgets(line, sizeof(line), file)) {
		if (proc_socket_parse(line, proto, &s) < 0 || !holds(&s.local, wanted))
			continue;
		if (!is_found || (s.is_listening && !best->is_listening))
			*best = s;
		is_found = true;
	}
	(void)fclose(file);
	return is_found;
}

static bool process_has_socket(const char *pid, unsigned long inode)
{
	char path[64], want[64], target[64];
	bool is_found = false;
	struct dirent *entry;
	DIR *dir;

	(void)snprintf(path, sizeof(path), "/proc/%.16s/fd", pid);
	(void)snprintf(want, sizeof(want), "socket:[%lu]", inode);
	dir = opendir(path);
	if (!dir)
		return false;
	while (!is_found && (entry = readdir(dir))) {
		ssize_t len = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);

		if (len < 0)
			continue;
		target[len] = '\0';
		is_found = strcmp(target, want) == 0;
	}
	closedir(dir);
	return is_found;
}

static void read_command(pid_t pid, char *command, size_t size)
{
	char path[64];
	ssize_t len;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	len = fd < 0 ? -1 : read(fd, command, size - 1);
	if (fd >= 0)
		close(fd);
	while (len > 0 && command[len - 1] == '\n')
		len--;
	if (len <= 0) /* it ended meanwhile */
		len = snprintf(command, size, "a process");
	command[len] = '\0';
}

static void find_process(unsigned long inode, struct port_owner *owner)
{
	struct dirent *entry;
	DIR *proc = opendir("/proc");

	if (!proc)
		return;
	while (owner->pid == 0 && (entry = readdir(proc))) {
		if (isdigit((unsigned char)entry->d_name[0]) &&
		    process_has_socket(entry->d_name, inode))
			owner->pid = (pid_t)strtol(entry->d_name, NULL, 10);
	}
	closedir(proc);
	if (owner->pid)
		read_command(owner->pid, owner->command, sizeof(owner->command));
}

int port_owner_find(enum forward_proto proto, const struct endpoint *host, struct port_owner *out)
{
	static const char *const files[][2] = {
		[FORWARD_TCP] = { "/proc/net/tcp", "/proc/net/tcp6" },
		[FORWARD_UDP] = { "/proc/net/udp", "/proc/net/udp6" },
	};
	struct proc_socket best, other;
	bool is_found = search_file(files[proto][0], proto, host, &best);

	if (search_file(files[proto][1], proto, host, &other) &&
	    (!is_found || (other.is_listening && !best.is_listening))) {
		best = other;
		is_found = true;
	}
	if (!is_found)
		return -ENOENT;
	*out = (struct port_owner){ .uid = best.uid };
	find_process(best.inode, out);
	return 0;
}

const char *port_owner_format(const struct port_owner *owner,
			      char text[static PORT_OWNER_TEXT_SIZE])
{
	char names[1024];
	struct passwd entry, *user = NULL;

	if (owner->pid) {
		(void)snprintf(text, PORT_OWNER_TEXT_SIZE, "%s (pid %d)", owner->command,
			       (int)owner->pid);
		return text;
	}
	if (getpwuid_r(owner->uid, &entry, names, sizeof(names), &user) != 0)
		user = NULL;
	if (user)
		(void)snprintf(text, PORT_OWNER_TEXT_SIZE, "a process of user %s", user->pw_name);
	else
		(void)snprintf(text, PORT_OWNER_TEXT_SIZE, "a process of user id %u",
			       (unsigned int)owner->uid);
	return text;
}
