/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "netstack/frame.h"
#include "netstack/netns_enter.h"
#include "netstack/rtnetlink.h"

/* A burst of frames without segmentation offload must fit: the interface drops
 * what its queue cannot hold, and a dropped frame costs a TCP timeout. */
#define TX_QUEUE_LEN 10000U

/* What the child reports, with the descriptor beside it when error is 0. */
struct report {
	int error; /* -errno */
	bool has_vnet, has_ipv6;
	uint16_t ephemeral_first, ephemeral_last;
	char step[NETNS_STEP_SIZE];
};

static int failed(struct report *r, int error, const char *step)
{
	r->error = error;
	(void)snprintf(r->step, sizeof(r->step), "%s", step);
	return error;
}

/* --- in the child -------------------------------------------------------- */

static bool use_offload(int fd)
{
	int size = VNET_HEADER_SIZE;

	return ioctl(fd, TUNSETVNETHDRSZ, &size) == 0 &&
	       ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN) == 0;
}

static int create(const struct tap_config *c, bool with_vnet)
{
	struct ifreq ifr = { .ifr_flags = (short)(IFF_TAP | IFF_NO_PI |
						  (c->may_exist ? 0 : IFF_TUN_EXCL) |
						  (with_vnet ? IFF_VNET_HDR : 0)) };
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	memcpy(ifr.ifr_name, c->ifname, strlen(c->ifname));
	if (ioctl(fd, TUNSETIFF, &ifr) < 0 || (with_vnet && !use_offload(fd))) {
		/* by IFF_TUN_EXCL; without it, somebody has it open */
		int r = errno == EBUSY && !c->may_exist ? -EEXIST : -errno;

		close(fd);
		return r;
	}
	return fd;
}

int netns_adopt_tap(int fd, struct netns_tap *out, char ifname[static NETNS_IFNAME_SIZE])
{
	struct ifreq ifr = { .ifr_flags = 0 };
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	if (ioctl(fd, TUNGETIFF, &ifr) < 0)
		return errno == ENOTTY || errno == EBADFD ? -EINVAL : -errno;
	if (!(ifr.ifr_flags & IFF_TAP) || !(ifr.ifr_flags & IFF_NO_PI))
		return -EINVAL;
	*out = (struct netns_tap){ .fd = fd, .has_vnet = ifr.ifr_flags & IFF_VNET_HDR };
	memcpy(ifname, ifr.ifr_name, NETNS_IFNAME_SIZE);
	return out->has_vnet && !use_offload(fd) ? -errno : 0;
}

/* The kernel takes a '%' for a pattern, and no name for its own choice. */
static bool is_ifname(const char *name)
{
	size_t len = strlen(name);

	return len > 0 && len < IFNAMSIZ && name[strcspn(name, "/%: \t\n")] == '\0' &&
	       strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static int create_tap(const struct tap_config *c, struct report *r)
{
	int fd;

	if (!is_ifname(c->ifname))
		return failed(r, -EINVAL, "name the interface");
	r->has_vnet = true;
	fd = create(c, true);
	if (fd == -EINVAL || fd == -ENOTTY) { /* a kernel without the offloads */
		r->has_vnet = false;
		fd = create(c, false);
	}
	if (fd < 0)
		return failed(r, fd,
			      fd == -ENOENT ? "open /dev/net/tun (modprobe tun?)" :
					      "create the interface");
	return fd;
}

static bool is_any_mac(const struct mac *mac)
{
	static const struct mac any;

	return mac_equal(mac, &any);
}

/* IPv6 may be switched off in the namespace; IPv4 works without it. */
static int configure_v6(int sock, unsigned int index, const struct tap_config *c, struct report *r)
{
	int e = rtnetlink_add_address(sock, index, &c->addr6, c->prefix6_bits);

	if (e == -EACCES || e == -EOPNOTSUPP || e == -EAFNOSUPPORT)
		return 0;
	if (e < 0)
		return failed(r, e, "set the IPv6 address");
	if (!ipaddr_is_any(&c->gateway6))
		e = rtnetlink_add_default_route(sock, index, &c->gateway6);
	if (e < 0)
		return failed(r, e, "set the IPv6 default route");
	r->has_ipv6 = true;
	return 0;
}

/* Of the host: it has routers of its own. Without the file there is no IPv6. */
static void ignore_routers(const char *ifname)
{
	char path[sizeof("/proc/sys/net/ipv6/conf//accept_ra") + IFNAMSIZ];
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/accept_ra", ifname);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)!write(fd, "0", 1); /* and if not: no advertisement is sent there */
	close(fd);
}

static int configure(const struct tap_config *c, struct report *r)
{
	unsigned int index = if_nametoindex(c->ifname);
	int sock = rtnetlink_open(), e;

	if (sock < 0)
		return failed(r, sock, "open rtnetlink");
	if (!c->netns)
		ignore_routers(c->ifname);
	e = c->netns ? rtnetlink_set_up(sock, if_nametoindex("lo")) : 0;
	if (e < 0)
		return failed(r, e, "set lo up");
	e = is_any_mac(&c->mac) ? 0 : rtnetlink_set_mac(sock, index, &c->mac);
	if (e < 0)
		return failed(r, e, "set the MAC address");
	e = rtnetlink_set_mtu(sock, index, c->mtu, TX_QUEUE_LEN);
	if (e < 0)
		return failed(r, e, "set the MTU");
	e = rtnetlink_add_address(sock, index, &c->addr4, c->prefix4_bits);
	if (e < 0)
		return failed(r, e, "set the IPv4 address");
	e = rtnetlink_set_up(sock, index);
	if (e < 0)
		return failed(r, e, "set the interface up");
	if (!ipaddr_is_any(&c->gateway4))
		e = rtnetlink_add_default_route(sock, index, &c->gateway4);
	if (e < 0)
		return failed(r, e, "set the IPv4 default route");
	return configure_v6(sock, index, c, r);
}

static int send_report(int sock, const struct report *r, int fd)
{
	struct iovec iov = { (void *)(uintptr_t)r, sizeof(*r) };
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { .bytes = { 0 } };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (r->error == 0) {
		struct cmsghdr *c;

		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	return sendmsg(sock, &msg, MSG_NOSIGNAL) < 0 ? 1 : 0;
}

static int make_tap(const void *arg, struct report *r)
{
	const struct tap_config *config = arg;
	bool is_there = config->may_exist && if_nametoindex(config->ifname) > 0;
	int fd = create_tap(config, r);

	if (fd >= 0 && is_there)
		r->has_ipv6 = true; /* as whoever made it thought right */
	else if (fd >= 0)
		(void)configure(config, r);
	return fd;
}

/* Of this namespace, by a file that shows that of whoever reads it. */
static int read_ephemeral_range(struct report *r)
{
	FILE *file = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
	unsigned long first, last;
	char line[64] = "", *end;

	if (!file)
		return -errno;
	if (!fgets(line, sizeof(line), file))
		line[0] = '\0';
	(void)fclose(file);
	first = strtoul(line, &end, 10);
	last = strtoul(end, NULL, 10);
	if (first == 0 || last < first || last > UINT16_MAX)
		return -EPROTO;
	r->ephemeral_first = (uint16_t)first;
	r->ephemeral_last = (uint16_t)last;
	return 0;
}

static int make_diag(const void *arg, struct report *r)
{
	const struct sockaddr_nl address = { .nl_family = AF_NETLINK,
					     .nl_groups = *(const uint32_t *)arg };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	int e;

	if (fd < 0)
		return failed(r, -errno, "open sock_diag");
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		e = failed(r, -errno, "subscribe to sock_diag");
	} else {
		e = read_ephemeral_range(r);
		if (e == 0)
			return fd;
		(void)failed(r, e, "read ip_local_port_range");
	}
	close(fd);
	return e;
}

/* Makes a descriptor, or calls failed(). */
typedef int make_fn(const void *arg, struct report *r);

struct job {
	const char *netns;
	make_fn *make;
	const void *arg;
};

static int run_child(int sock, const struct job *job)
{
	struct report r = { 0 };
	int fd = -1;

	r.error = job->netns ? netns_enter(job->netns, r.step) : 0;
	if (r.error == 0)
		fd = job->make(job->arg, &r);
	return send_report(sock, &r, fd);
}

/* --- in the parent ------------------------------------------------------- */

static int receive_report(int sock, struct report *r, int *fd)
{
	struct iovec iov = { r, sizeof(*r) };
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.bytes,
			      .msg_controllen = sizeof(control.bytes) };
	struct cmsghdr *c;

	if (recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) != (ssize_t)sizeof(*r))
		return failed(r, -EPROTO, "hear from the child process");
	if (r->error)
		return r->error;
	c = CMSG_FIRSTHDR(&msg);
	if (!c || c->cmsg_type != SCM_RIGHTS)
		return failed(r, -EPROTO, "receive the interface's descriptor");
	memcpy(fd, CMSG_DATA(c), sizeof(*fd));
	return 0;
}

/* 0 or -errno, as in the report. */
static int run_job(const struct job *job, struct report *r, int *fd)
{
	int ends[2], status;
	pid_t child;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return failed(r, -errno, "make a socket pair");
	child = netns_fork();
	if (child == 0)
		_exit(run_child(ends[1], job));
	close(ends[1]);
	if (child < 0)
		(void)failed(r, -errno, "start a child process");
	else
		(void)receive_report(ends[0], r, fd);
	close(ends[0]);
	while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return r->error;
}

int netns_open_tap(const struct tap_config *config, struct netns_tap *out,
		   char step[static NETNS_STEP_SIZE])
{
	const struct job job = { config->netns, make_tap, config };
	struct report r = { 0 };

	(void)run_job(&job, &r, &out->fd);
	memcpy(step, r.step, NETNS_STEP_SIZE);
	out->has_vnet = r.has_vnet;
	out->has_ipv6 = r.has_ipv6;
	return r.error;
}

int netns_open_diag(const char *netns, uint32_t groups, struct netns_diag *out,
		    char step[static NETNS_STEP_SIZE])
{
	const struct job job = { netns, make_diag, &groups };
	struct report r = { 0 };

	if (netns)
		(void)run_job(&job, &r, &out->fd);
	else
		out->fd = make_diag(&groups, &r);
	memcpy(step, r.step, NETNS_STEP_SIZE);
	out->ephemeral_first = r.ephemeral_first;
	out->ephemeral_last = r.ephemeral_last;
	return r.error;
}
