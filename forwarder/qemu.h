/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* `netfwd qemu`: QEMU as a child process, connected to us by a socketpair.
 *
 * For frames on a socket it is a socketpair and not a socket file: QEMU outlives
 * every reboot of its guest and we end with QEMU, so nobody ever connects a second
 * time, and no file is left behind. QEMU finds its end by number, inherited; it
 * keeps the number it has here, so that it cannot collide with descriptors that the
 * user passes to QEMU through us. For devices that share its memory QEMU wants a
 * socket file. */
#include <stdbool.h>
#include <stdint.h>

struct loop;
struct qemu;

enum qemu_nic {
	QEMU_NIC_STREAM,
	QEMU_NIC_VHOST_USER, /* or -EINVAL, where that cannot be */
	QEMU_NIC_AUTO,	     /* vhost-user where it can be */
};

struct qemu_config {
	char *const *argv; /* the user's; argv[0] is QEMU */
	uint16_t mtu;
	enum qemu_nic nic;
	const char *nic_path;	/* where vhost-user would be served */
	const char *vsock_path; /* and a vsock, if the guest has none; NULL: not wanted */
	bool needs_vsock;	/* else it comes along where memory is shared for the NIC */
	/* NULL; or gets our end of the line of a virtio-serial port that the guest
	 * is given, named QEMU_AGENT_PORT: a stream socket, the caller's. */
	int *agent_fd;
	void (*on_exit)(void *arg, int status);
	void *arg;
};

/* What QEMU will connect to, to be there when it starts. */
struct qemu_ends {
	int link_fd;	/* the caller's, for link_stream_from_fd(); -1: nic_path */
	bool has_vsock; /* at vsock_path */
};

/* Reads the user's arguments; nothing runs yet. -EINVAL for arguments that cannot
 * be used, after one line that says why; -errno. */
int qemu_new(struct loop *loop, const struct qemu_config *config, struct qemu_ends *ends,
	     struct qemu **out);
/* 0 or -errno of starting; config.on_exit follows some time after 0. */
int qemu_start(struct qemu *qemu);
/* Asks QEMU to end, by SIGTERM, and after five seconds insists. */
void qemu_stop(struct qemu *qemu);
/* When QEMU has ended, or was never started, or the loop does not run any more:
 * then QEMU is killed. Accepts NULL. */
void qemu_free(struct qemu *qemu);
