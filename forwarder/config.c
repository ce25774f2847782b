/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int read_up_to(int fd, char *buffer, size_t size, size_t *len)
{
	*len = 0;
	while (*len < size) {
		ssize_t n = read(fd, buffer + *len, size - *len);

		if (n == 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			*len += (size_t)n;
	}
	return 0;
}

static int bad_file(struct problems *problems, const char *what)
{
	problems_error(problems, "", "%s", what);
	return -EINVAL;
}

static int read_text(int fd, char *text, size_t *len, struct problems *problems)
{
	struct stat st;
	int r = fstat(fd, &st) < 0 ? -errno : 0;

	if (r == 0 && S_ISDIR(st.st_mode))
		return bad_file(problems, "is a directory, not a configuration file");
	if (r == 0)
		r = read_up_to(fd, text, CONFIG_SIZE_MAX + 1, len);
	if (r < 0)
		return bad_file(problems, strerror(-r));
	if (*len > CONFIG_SIZE_MAX)
		return bad_file(problems, "is larger than 1 MiB, so no configuration file");
	return 0;
}

int config_read(const char *path, const struct config_context *context, struct config **out,
		struct problems *problems)
{
	/* O_NONBLOCK: a FIFO without a writer is empty, and does not hang. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	char *text;
	size_t len = 0;
	int r;

	if (fd < 0)
		return bad_file(problems, strerror(errno));
	text = malloc(CONFIG_SIZE_MAX + 1);
	r = text ? read_text(fd, text, &len, problems) : -ENOMEM;
	close(fd);
	if (r == 0)
		r = config_parse(text, len, context, out, problems);
	free(text);
	return r;
}

const char *config_guest_name(const struct config_shared_guest *guest)
{
	return guest->name ? guest->name : guest->mac;
}

struct config_shared_guest *config_find_guest(const struct config *config, const char *name)
{
	const struct config_shared *shared = config->shared;

	for (unsigned int i = 0; shared && i < shared->n_guests; i++) {
		if (strcmp(config_guest_name(&shared->guests[i]), name) == 0)
			return &shared->guests[i];
	}
	return NULL;
}

bool config_uses_ssh(const struct config_ssh *ssh)
{
	return ssh->host || ssh->port || ssh->user || ssh->identity_file ||
	       ssh->over_vsock == RULE_SWITCH_ON;
}
