/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/agent/serial_device.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "forwarder/agent/acceptor.h"
#include "forwarder/rpc/serial_port.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"

#define PORTS "/sys/class/virtio-ports"
#define NAME_SIZE 128

struct serial_device {
	struct loop *loop;
	struct acceptor_owner owner;
	char *name;
	struct serial_port *port; /* NULL: not open */
	struct timer *retry;
	int said; /* -errno that was logged last */
};

/* Whether that is the name of the port, vport1p1 for instance. */
static bool has_name(const char *port, const char *name)
{
	char path[PATH_MAX], text[NAME_SIZE] = "";
	ssize_t n;
	int fd;

	(void)snprintf(path, sizeof(path), PORTS "/%s/name", port);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n < 0 ? 0 : n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return strcmp(text, name) == 0;
}

/* There may be no udev to make links by the names. */
static int find_port(const char *name, char path[static PATH_MAX])
{
	DIR *ports = opendir(PORTS);
	struct dirent *entry;
	int r = -ENOENT;

	if (!ports)
		return -errno;
	while (r < 0 && (entry = readdir(ports))) {
		if (!has_name(entry->d_name, name))
			continue;
		(void)snprintf(path, PATH_MAX, "/dev/%s", entry->d_name);
		r = 0;
	}
	(void)closedir(ports);
	return r;
}

static int open_device(const struct serial_device *d)
{
	char path[PATH_MAX];
	int r = 0, fd;

	if (strchr(d->name, '/'))
		(void)snprintf(path, sizeof(path), "%s", d->name);
	else
		r = find_port(d->name, path);
	if (r < 0)
		return r;
	fd = open(path, O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static void close_port(struct serial_device *d)
{
	if (!d->port)
		return;
	serial_port_free(d->port);
	d->port = NULL;
}

static void on_broken(void *arg, int error)
{
	struct serial_device *d = arg;

	log_warn("%s is gone: %s", d->name, strerror(-error));
	close_port(d);
	timer_start(d->retry, SERIAL_DEVICE_RETRY_MS);
}

static void on_accepted(void *arg, struct stream *host)
{
	struct serial_device *d = arg;

	d->owner.accepted(d->owner.arg, host);
}

static void on_retry(void *arg)
{
	struct serial_device *d = arg;
	const struct serial_port_owner owner = { on_accepted, on_broken, d };
	int fd = open_device(d);
	int r = fd < 0 ? fd : serial_port_new(d->loop, fd, &owner, &d->port);

	if (r == 0) {
		log_info("the host may come by %s", d->name);
	} else {
		if (r != d->said)
			log_at(r == -ENOENT ? LOG_LEVEL_INFO : LOG_LEVEL_WARN,
			       "%s is waited for: %s", d->name, strerror(-r));
		timer_start(d->retry, SERIAL_DEVICE_RETRY_MS);
	}
	d->said = r;
}

int serial_device_new(struct loop *loop, const char *name, const struct acceptor_owner *owner,
		      struct serial_device **out)
{
	struct serial_device *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->loop = loop;
	d->owner = *owner;
	d->name = strdup(name);
	if (!d->name || timer_new(loop, on_retry, d, &d->retry) < 0) {
		serial_device_free(d);
		return -ENOMEM;
	}
	on_retry(d);
	*out = d;
	return 0;
}

void serial_device_free(struct serial_device *d)
{
	if (!d)
		return;
	close_port(d);
	timer_free(d->retry);
	free(d->name);
	free(d);
}
