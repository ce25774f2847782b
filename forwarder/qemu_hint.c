/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/qemu_hint.h"

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

void qemu_hint_print(const struct options *o)
{
	struct mac mac = qemu_mac(o->link_path, strlen(o->link_path));
	char netdev[QEMU_ARG_SIZE], device[QEMU_ARG_SIZE], quoted[2 * QEMU_ARG_SIZE];
	struct qemu_version version;
	int r;

	if (o->link != OPTIONS_LINK_USER && !log_is_on(LOG_LEVEL_INFO))
		return;
	version = installed_version();
	if (o->link == OPTIONS_LINK_DGRAM)
		r = qemu_netdev_dgram(o->link_path, netdev);
	else
		r = qemu_netdev_stream(o->link_path, &version, netdev);
	if (r < 0 || qemu_device("virtio-net-pci", &mac, o->mtu, device) < 0 ||
	    shell_quote(netdev, quoted, sizeof(quoted)) < 0) {
		log_warn("the arguments for QEMU are too long to be printed");
		return;
	}
	if (o->link != OPTIONS_LINK_USER) {
		log_info("arguments for QEMU: -netdev %s -device %s", quoted, device);
		return;
	}
	(void)printf("Serving a guest at %s. Arguments for QEMU:\n\n-netdev %s -device %s\n\n",
		     o->link_path, quoted, device);
	(void)fflush(stdout);
}
