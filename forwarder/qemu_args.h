/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* QEMU's command line: the arguments that connect a guest to netfwd. Pure. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "netstack/addr.h"

#define QEMU_NETDEV_ID "netfwd0"
/* The virtio-serial port for the agent: the name that the guest sees. */
#define QEMU_AGENT_PORT "io.netfwd.agent.0"
#define QEMU_AGENT_DEVICE \
	"virtserialport,bus=netfwd-serial0.0,chardev=netfwd-agent0,name=" QEMU_AGENT_PORT
#define QEMU_CHARDEV_ID "netfwd-nic"
#define QEMU_MEMORY_ID "netfwd-memory"
#define QEMU_VSOCK_ID "netfwd-vsock"
#define QEMU_ERROR_SIZE 256
#define QEMU_ARG_SIZE 640

/* 7.2 is { 7, 2 }; all zero when it is not known. */
struct qemu_version {
	unsigned int major, minor;
};

/* From the first line of `qemu-system-... --version`. 0 or -EINVAL. */
int qemu_version_parse(const char *text, struct qemu_version *out);
/* What makes QEMU's -netdev stream connect again when netfwd was restarted:
 * ",reconnect-ms=500", ",reconnect=1", or "" before 8.0 and when not known. */
const char *qemu_reconnect_option(const struct qemu_version *version);

/* Locally administered, and the same for the same name. */
struct mac qemu_mac(const char *name, size_t len);

/* -netdev's argument. Commas in a path are doubled, as QEMU wants them. */
int qemu_netdev_fd(int fd, char out[static QEMU_ARG_SIZE]);
int qemu_netdev_stream(const char *path, const struct qemu_version *version,
		       char out[static QEMU_ARG_SIZE]);
/* QEMU's own end is path.qemu. */
int qemu_netdev_dgram(const char *path, char out[static QEMU_ARG_SIZE]);
/* For vhost-user: -object's argument that lets the guest's memory be shared, and
 * -machine's that takes it; size is a number and a unit, as "1G". */
int qemu_object_memory(const char *size, char out[static QEMU_ARG_SIZE]);
#define QEMU_MACHINE_MEMORY "memory-backend=" QEMU_MEMORY_ID
/* -chardev's argument, once or with reconnection; -netdev's. It is a path in any
 * case: QEMU passes no descriptors over a socket that it has inherited. */
int qemu_chardev(const char *id, const char *path, char out[static QEMU_ARG_SIZE]);
int qemu_chardev_vhost_user(const char *path, const struct qemu_version *version,
			    char out[static QEMU_ARG_SIZE]);
#define QEMU_NETDEV_VHOST_USER "vhost-user,id=" QEMU_NETDEV_ID ",chardev=" QEMU_CHARDEV_ID
/* -device's argument: a virtio NIC on the bus that the machine has. host_mtu
 * is what lets the guest's NIC take frames of that size. */
int qemu_device(const char *model, const struct mac *mac, uint16_t mtu,
		char out[static QEMU_ARG_SIZE]);

/* -chardev's argument for QEMU_AGENT_DEVICE, and -device's for the bus of that, on
 * the bus that the NIC of that model is on. */
int qemu_chardev_fd(int fd, char out[static QEMU_ARG_SIZE]);
int qemu_serial(const char *model, char out[static QEMU_ARG_SIZE]);

/* What the user's command line (argv[0] is QEMU) says of the guest. */
struct qemu_guest {
	const char *model; /* of the virtio NIC for this machine */
	const char *name;  /* -uuid's or -name's, of name_len characters; or "" */
	size_t name_len;
	bool has_uuid;
	bool has_device; /* one for QEMU_NETDEV_ID is there already */
	bool has_vsock;	 /* a vsock device is there already */
	bool has_kvm;	 /* as far as the arguments say */
	/* The size of its memory, as qemu_object_memory() takes it; and the option
	 * that keeps us from having it shared, or NULL. */
	char memory[32];
	const char *memory_conflict;
};

/* "vectors=0" for a PCI device whose back end we are, or "": QEMU 7.2 dies when
 * such a device uses MSI-X without KVM. */
const char *qemu_vectors_option(const struct qemu_guest *guest, const char *model);

/* 0; -EINVAL with a line that says what cannot stay as it is. */
int qemu_args_read(char *const argv[], struct qemu_guest *out, char error[static QEMU_ERROR_SIZE]);

/* Quotes text for a POSIX shell where it needs that. 0 or -ENAMETOOLONG. */
int shell_quote(const char *text, char *out, size_t size);
