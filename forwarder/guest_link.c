/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/guest_link.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "forwarder/options.h"
#include "forwarder/qemu_args.h"
#include "netstack/base/log.h"
#include "netstack/link_dgram.h"
#include "netstack/link_stream.h"
#include "netstack/link_tap.h"
#include "netstack/link_vhost_user.h"
#include "netstack/stack.h"

/* The fixed address of a guest that nobody gives an address to. */
static struct ipaddr guest6_address(const struct stack_config *config)
{
	struct ipaddr guest = config->prefix6;

	guest.b[15] = 0x15;
	return guest;
}

static int open_netns(struct loop *loop, const struct options *o, const struct stack_config *config,
		      struct link **out)
{
	const struct tap_config tap = {
		.netns = o->netns,
		.ifname = o->ifname,
		.mtu = o->mtu,
		.addr4 = config->guest4,
		.gateway4 = config->gateway4,
		.prefix4_bits = config->prefix4_bits,
		.addr6 = guest6_address(config),
		.gateway6 = config->gateway6,
		.prefix6_bits = 64,
	};

	return link_tap_new(loop, &tap, out); /* logs by itself */
}

/* The kind of link is the kind of socket. -errno where it is none. */
static int socket_type(int fd)
{
	int type, is_listening;
	socklen_t len = sizeof(type);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &len) < 0)
		return -errno;
	return is_listening ? -ENOTCONN : type;
}

static const char *fd_hint(int error)
{
	if (error == -ENOTCONN)
		return "the socket is not connected to a guest; to listen, use --stream PATH";
	return strerror(-error);
}

/* Takes the descriptor. */
static int open_fd(struct loop *loop, const struct options *o, struct link **out)
{
	int type = socket_type(o->link_fd);
	int r;

	if (type < 0) {
		log_error("--fd %d: %s", o->link_fd, fd_hint(type));
		return type;
	}
	if (type == SOCK_STREAM)
		r = link_stream_from_fd(loop, o->link_fd, o->mtu, out);
	else
		r = link_dgram_from_fd(loop, o->link_fd, o->mtu, out);
	if (r < 0)
		log_error("--fd %d: %s", o->link_fd, fd_hint(r));
	return r;
}

const char *guest_link_explain(int error)
{
	switch (error) {
	case -EADDRINUSE:
		return "a program serves it already; end that one, or choose another path";
	case -EEXIST:
		return "a file of another kind is in the way; remove it, or choose another path";
	case -ENOENT:
		return "the directory does not exist";
	default:
		return strerror(-error);
	}
}

static int open_socket_file(struct loop *loop, const struct options *o, struct link **out)
{
	const struct link_vhost_user_config vhost_user = {
		.mtu = o->mtu,
		.mac = qemu_mac(o->link_path, strlen(o->link_path)),
		.busy_poll_us = o->busy_poll_us,
	};
	int r;

	if (o->link == OPTIONS_LINK_DGRAM)
		r = link_dgram_bind(loop, o->link_path, o->mtu, out);
	else if (o->link == OPTIONS_LINK_VHOST_USER || o->link == OPTIONS_LINK_QEMU)
		r = link_vhost_user_listen(loop, o->link_path, &vhost_user, out);
	else
		r = link_stream_listen(loop, o->link_path, o->mtu, out);
	if (r < 0)
		log_error("%s: %s", o->link_path, guest_link_explain(r));
	return r;
}

int guest_link_open(struct loop *loop, const struct options *o, const struct stack_config *config,
		    struct link **out)
{
	switch (o->link) {
	case OPTIONS_LINK_USER:
	case OPTIONS_LINK_STREAM:
	case OPTIONS_LINK_DGRAM:
	case OPTIONS_LINK_VHOST_USER:
		return open_socket_file(loop, o, out);
	case OPTIONS_LINK_QEMU:
		if (o->link_path)
			return open_socket_file(loop, o, out);
		return open_fd(loop, o, out);
	case OPTIONS_LINK_FD:
		return open_fd(loop, o, out);
	case OPTIONS_LINK_NETNS:
		return open_netns(loop, o, config, out);
	case OPTIONS_LINK_SHARED: /* shared_links.h's */
		break;
	}
	return -EINVAL;
}
