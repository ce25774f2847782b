/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The keys of SSH servers that were met before: a file in the form of
 * sshd(8)'s SSH_KNOWN_HOSTS FILE FORMAT, without hashed names, patterns and markers,
 * so that ssh-keygen -R and an editor work on it. */
#include <stddef.h>
#include <stdint.h>

/* How a server is called in the file: "guest", or "[guest]:2222". */
#define KNOWN_HOST_NAME_SIZE 300
void known_host_name(const char *host, unsigned int port, char name[static KNOWN_HOST_NAME_SIZE]);

/* A key as it is sent: its type's name is its first string (RFC 4253, section
 * 6.6). */
struct known_host_key {
	const uint8_t *bytes;
	size_t len;
};

enum known_host {
	KNOWN_HOST_NEW,	    /* no key of this server is in the file */
	KNOWN_HOST_SAME,    /* this one is */
	KNOWN_HOST_CHANGED, /* others are */
};

/* The line for it, as allocated text ending in "\n"; NULL: no memory, or it is no
 * key. */
char *known_host_line(const char *name, const struct known_host_key *key);
/* What text, the file's, says of the server that line is of. Pure. */
enum known_host known_hosts_search(const char *text, const char *line);

/* The same with the file; one that is not there knows nobody. -errno when it
 * cannot be read; *line to be freed by the caller, also on error. */
int known_hosts_check(const char *path, const char *name, const struct known_host_key *key,
		      char **line);
/* Adds the line, and the file, mode 0600. 0 or -errno. */
int known_hosts_add(const char *path, const char *line);
