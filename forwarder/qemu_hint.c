/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/qemu_hint.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "forwarder/options.h"
#include "forwarder/qemu_args.h"
#include "forwarder/qemu_probe.h"
#include "netstack/base/log.h"

/* The QEMU that would run a guest of this machine's architecture; its version
 * decides whether QEMU can be told to connect again. */
static struct qemu_version installed_version(void)
{
	struct qemu_version version = { 0, 0 };
	struct utsname host;
	char program[sizeof(host.machine) + sizeof("qemu-system-")];

	if (uname(&host) == 0) {
		(void)snprintf(program, sizeof(program), "qemu-system-%s", host.machine);
		(void)qemu_probe_version(program, &version);
	}
	return version;
}

/* Everything behind QEMU's command, in one line. */
struct hint {
	char text[4 * QEMU_ARG_SIZE];
	size_t len;
};

static int add(struct hint *h, const char *option, const char *value)
{
	char quoted[2 * QEMU_ARG_SIZE];
	int n;

	if (shell_quote(value, quoted, sizeof(quoted)) < 0)
		return -ENAMETOOLONG;
	n = snprintf(h->text + h->len, sizeof(h->text) - h->len, "%s-%s %s", h->len ? " " : "",
		     option, quoted);
	if (n < 0 || (size_t)n >= sizeof(h->text) - h->len)
		return -ENAMETOOLONG;
	h->len += (size_t)n;
	return 0;
}

static int add_netdev(struct hint *h, const struct options *o, const struct qemu_version *version)
{
	char netdev[QEMU_ARG_SIZE];
	int r;

	if (o->link == OPTIONS_LINK_DGRAM)
		r = qemu_netdev_dgram(o->link_path, netdev);
	else
		r = qemu_netdev_stream(o->link_path, version, netdev);
	return r < 0 ? r : add(h, "netdev", netdev);
}

/* The guest's memory has to be shareable, and have the size that -m says. */
static int add_vhost_user(struct hint *h, const struct options *o,
			  const struct qemu_version *version)
{
	char chardev[QEMU_ARG_SIZE], memory[QEMU_ARG_SIZE];
	int r = qemu_chardev_vhost_user(o->link_path, version, chardev);

	if (r == 0)
		r = qemu_object_memory("SIZE", memory);
	if (r == 0)
		r = add(h, "object", memory);
	if (r == 0)
		r = add(h, "machine", QEMU_MACHINE_MEMORY);
	if (r == 0)
		r = add(h, "chardev", chardev);
	return r < 0 ? r : add(h, "netdev", QEMU_NETDEV_VHOST_USER);
}

static int compose(struct hint *h, const struct options *o)
{
	struct qemu_version version = installed_version();
	struct mac mac = qemu_mac(o->link_path, strlen(o->link_path));
	char device[QEMU_ARG_SIZE];
	int r;

	if (o->link == OPTIONS_LINK_VHOST_USER)
		r = add_vhost_user(h, o, &version);
	else
		r = add_netdev(h, o, &version);
	if (r == 0)
		r = qemu_device("virtio-net-pci", &mac, o->mtu, device);
	return r < 0 ? r : add(h, "device", device);
}

void qemu_hint_print(const struct options *o)
{
	struct hint hint = { .len = 0 };

	if (o->link != OPTIONS_LINK_USER && !log_is_on(LOG_LEVEL_INFO))
		return;
	if (compose(&hint, o) < 0) {
		log_warn("the arguments for QEMU are too long to be printed");
		return;
	}
	if (o->link == OPTIONS_LINK_VHOST_USER)
		log_info("arguments for QEMU: %s (SIZE as with -m; without KVM, QEMU 7.2 needs "
			 "vectors=0 in -device)",
			 hint.text);
	else if (o->link != OPTIONS_LINK_USER)
		log_info("arguments for QEMU: %s", hint.text);
	if (o->link != OPTIONS_LINK_USER)
		return;
	(void)printf("Serving a guest at %s. Arguments for QEMU:\n\n%s\n\n", o->link_path,
		     hint.text);
	(void)fflush(stdout);
}
