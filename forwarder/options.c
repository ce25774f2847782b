/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

enum option_id {
	OPT_STREAM = 256, /* above every short option */
	OPT_DGRAM,
	OPT_VHOST_USER,
	OPT_FD,
	OPT_NETNS,
	OPT_NIC,
	OPT_VSOCK,
	OPT_VSOCK_CID,
	OPT_VSOCK_UDS,
	OPT_VSOCK_CONNECT,
	OPT_IFNAME,
	OPT_SHARED,
	OPT_HOST_INTERFACE,
	OPT_HOST_INTERFACE_FD,
	OPT_UPLINK,
	OPT_ISOLATE,
	OPT_LOOPBACK,
	OPT_LEASES,
	OPT_CONFIG,
	OPT_FORWARD,
	OPT_BUSY_POLL,
	OPT_MTU,
	OPT_NETWORK,
	OPT_NO_HOST_LOOPBACK,
	OPT_CONTROL,
	OPT_PCAP,
	OPT_LOG_JSON,
	OPT_READY_FD,
	OPT_HELP,
	OPT_VERSION,
};

static const struct option long_options[] = {
	{ "stream", required_argument, NULL, OPT_STREAM },
	{ "dgram", required_argument, NULL, OPT_DGRAM },
	{ "vhost-user", required_argument, NULL, OPT_VHOST_USER },
	{ "fd", required_argument, NULL, OPT_FD },
	{ "nic", required_argument, NULL, OPT_NIC },
	{ "vsock", required_argument, NULL, OPT_VSOCK },
	{ "vsock-cid", required_argument, NULL, OPT_VSOCK_CID },
	{ "vsock-uds", required_argument, NULL, OPT_VSOCK_UDS },
	{ "vsock-connect", required_argument, NULL, OPT_VSOCK_CONNECT },
	{ "busy-poll", required_argument, NULL, OPT_BUSY_POLL },
	{ "netns", required_argument, NULL, OPT_NETNS },
	{ "ifname", required_argument, NULL, OPT_IFNAME },
	{ "shared", no_argument, NULL, OPT_SHARED },
	{ "host-interface", required_argument, NULL, OPT_HOST_INTERFACE },
	{ "host-interface-fd", required_argument, NULL, OPT_HOST_INTERFACE_FD },
	{ "uplink", required_argument, NULL, OPT_UPLINK },
	{ "isolate", no_argument, NULL, OPT_ISOLATE },
	{ "loopback", required_argument, NULL, OPT_LOOPBACK },
	{ "leases", required_argument, NULL, OPT_LEASES },
	{ "config", required_argument, NULL, OPT_CONFIG },
	{ "forward", required_argument, NULL, OPT_FORWARD },
	{ "mtu", required_argument, NULL, OPT_MTU },
	{ "network", required_argument, NULL, OPT_NETWORK },
	{ "no-host-loopback", no_argument, NULL, OPT_NO_HOST_LOOPBACK },
	{ "control", required_argument, NULL, OPT_CONTROL },
	{ "pcap", required_argument, NULL, OPT_PCAP },
	{ "verbose", no_argument, NULL, 'v' },
	{ "log-json", no_argument, NULL, OPT_LOG_JSON },
	{ "ready-fd", required_argument, NULL, OPT_READY_FD },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ NULL, 0, NULL, 0 },
};

/* What is needed while parsing and not afterwards. */
struct parser {
	struct options *o;
	char *error;
	const char *link_option;    /* the first that chose a guest link, */
	const char *second_link;    /* and the second */
	const char *shared_only;    /* an option that needs --shared */
	const char **forward_texts; /* of o->forwards, for messages */
};

__attribute__((format(printf, 2, 3))) static int bad(struct parser *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(p->error, OPTIONS_ERROR_SIZE, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* A decimal number without sign or blanks; -1 if it is none or above max. */
static long parse_number(const char *text, long max)
{
	size_t len = strspn(text, "0123456789");
	long value;

	if (len == 0 || len > 9 || text[len])
		return -1;
	value = strtol(text, NULL, 10);
	return value > max ? -1 : value;
}

/* Whether there may be several is known when all is read: check_links(). */
static void choose_link(struct parser *p, const char *option, enum options_link link)
{
	struct options *o = p->o;

	if (!p->link_option)
		p->link_option = option;
	else if (!p->second_link)
		p->second_link = option;
	if (o->link != OPTIONS_LINK_QEMU)
		o->link = link;
	o->links[o->n_links++] =
		(struct options_link_spec){ .link = link, .where = optarg, .fd = -1 };
}

static int parse_socket_path(struct parser *p, const char *option, const char **out)
{
	size_t max = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;

	if (!*optarg || strlen(optarg) > max)
		return bad(p,
			   "%s: the path of a UNIX socket has 1 to %zu characters, "
			   "this one %zu",
			   option, max, strlen(optarg));
	*out = optarg;
	return 0;
}

static int parse_link_path(struct parser *p, const char *option, enum options_link link)
{
	choose_link(p, option, link);
	return parse_socket_path(p, option, &p->o->link_path);
}

static int parse_fd(struct parser *p, const char *option, int *out)
{
	long fd = parse_number(optarg, INT32_MAX);

	if (fd < 3)
		return bad(p, "%s %s: must be the number of an inherited descriptor, 3 or above",
			   option, optarg);
	*out = (int)fd;
	return 0;
}

static int parse_link_fd(struct parser *p)
{
	struct options *o = p->o;

	choose_link(p, "--fd", OPTIONS_LINK_FD);
	if (parse_fd(p, "--fd", &o->link_fd) < 0)
		return -EINVAL;
	o->links[o->n_links - 1].fd = o->link_fd;
	return 0;
}

/* The name of an interface of the host. */
static int parse_host_ifname(struct parser *p, const char *option, const char **out)
{
	char why[NETWORK_SPEC_ERROR_SIZE];

	p->shared_only = option;
	if (network_spec_check_ifname(optarg, why) < 0)
		return bad(p, "%s %s: %s", option, optarg, why);
	*out = optarg;
	return 0;
}

static int parse_host_fd(struct parser *p)
{
	p->shared_only = "--host-interface-fd";
	return parse_fd(p, p->shared_only, &p->o->shared.host_fd);
}

static int parse_loopback(struct parser *p)
{
	char why[NETWORK_SPEC_ERROR_SIZE];

	p->shared_only = "--loopback";
	if (network_spec_parse_loopback(optarg, &p->o->shared.loopback, why) < 0)
		return bad(p, "--loopback %.64s: %s", optarg, why);
	return 0;
}

static int parse_ifname(struct parser *p)
{
	char why[NETWORK_SPEC_ERROR_SIZE];

	if (network_spec_check_ifname(optarg, why) < 0)
		return bad(p, "--ifname %s: %s", optarg, why);
	p->o->ifname = optarg;
	p->o->is_ifname_given = true;
	return 0;
}

static int parse_mtu(struct parser *p)
{
	long mtu = parse_number(optarg, OPTIONS_MTU_MAX);

	if (mtu < OPTIONS_MTU_MIN)
		return bad(p, "--mtu %s: must be %d (the least that IPv6 allows) to %d", optarg,
			   OPTIONS_MTU_MIN, OPTIONS_MTU_MAX);
	p->o->mtu = (uint16_t)mtu;
	p->o->is_mtu_given = true;
	return 0;
}

static int parse_network(struct parser *p)
{
	char why[NETWORK_SPEC_ERROR_SIZE];

	if (network_spec_parse(optarg, &p->o->network4, &p->o->prefix4_bits, why) < 0)
		return bad(p, "--network %s: %s", optarg, why);
	return 0;
}

static int parse_nic(struct parser *p)
{
	static const char *const names[] = {
		[OPTIONS_NIC_AUTO] = "auto",
		[OPTIONS_NIC_STREAM] = "stream",
		[OPTIONS_NIC_VHOST_USER] = "vhost-user",
	};

	if (p->o->link != OPTIONS_LINK_QEMU)
		return bad(p, "--nic is of the QEMU that netfwd qemu starts; "
			      "leave it out, or start QEMU so");
	for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(optarg, names[i]) == 0) {
			p->o->nic = (enum options_nic)i;
			return 0;
		}
	}
	return bad(p, "--nic %s: must be auto, stream or vhost-user", optarg);
}

static int parse_busy_poll(struct parser *p)
{
	long us = parse_number(optarg, OPTIONS_BUSY_POLL_MAX);

	if (us < 1)
		return bad(p, "--busy-poll %s: must be 1 to %d, in microseconds", optarg,
			   OPTIONS_BUSY_POLL_MAX);
	p->o->busy_poll_us = (unsigned int)us;
	return 0;
}

static int parse_cid(struct parser *p)
{
	char *end;
	unsigned long cid = strtoul(optarg, &end, 10);

	if (*optarg < '0' || *optarg > '9' || *end || cid < 3 || cid > OPTIONS_CID_MAX)
		return bad(p, "--vsock-cid %s: the CID of a guest is 3 to %u", optarg,
			   OPTIONS_CID_MAX);
	p->o->vsock_cid = (uint32_t)cid;
	return 0;
}

static int parse_forward(struct parser *p)
{
	struct options *o = p->o;
	char why[FORWARD_SPEC_ERROR_SIZE];
	struct forward_spec spec;

	if (forward_spec_parse(optarg, &spec, why) < 0)
		return bad(p, "--forward %.120s: %s", optarg, why);
	o->forwards[o->n_forwards] = spec;
	p->forward_texts[o->n_forwards] = optarg;
	o->n_forwards++;
	return 0;
}

static int parse_netns(struct parser *p)
{
	p->o->netns = optarg;
	if (!*optarg)
		return bad(p, "--netns: a name, a path or a process id is missing");
	choose_link(p, "--netns", OPTIONS_LINK_NETNS);
	return 0;
}

/* An option of a network of many guests. */
static int take_shared_option(struct parser *p, int option)
{
	struct options *o = p->o;

	switch (option) {
	case OPT_SHARED:
		o->is_shared = true;
		return 0;
	case OPT_HOST_INTERFACE:
		return parse_host_ifname(p, "--host-interface", &o->shared.host_interface);
	case OPT_HOST_INTERFACE_FD:
		return parse_host_fd(p);
	case OPT_UPLINK:
		return parse_host_ifname(p, "--uplink", &o->shared.uplink);
	case OPT_ISOLATE:
		p->shared_only = "--isolate";
		o->shared.isolate = true;
		return 0;
	case OPT_LOOPBACK:
		return parse_loopback(p);
	case OPT_LEASES:
		p->shared_only = "--leases";
		o->shared.leases = optarg;
		return 0;
	default:
		return -EINVAL;
	}
}

static int take_vsock(struct parser *p, int option)
{
	if (option == OPT_VSOCK)
		return parse_socket_path(p, "--vsock", &p->o->vsock_path);
	if (option == OPT_VSOCK_UDS)
		return parse_socket_path(p, "--vsock-uds", &p->o->vsock_uds);
	if (option == OPT_VSOCK_CONNECT)
		return parse_socket_path(p, "--vsock-connect", &p->o->vsock_peer);
	return parse_cid(p);
}

/* One option, its argument in optarg. */
static int take_option(struct parser *p, int option)
{
	struct options *o = p->o;

	switch (option) {
	case OPT_STREAM:
		return parse_link_path(p, "--stream", OPTIONS_LINK_STREAM);
	case OPT_DGRAM:
		return parse_link_path(p, "--dgram", OPTIONS_LINK_DGRAM);
	case OPT_VHOST_USER:
		return parse_link_path(p, "--vhost-user", OPTIONS_LINK_VHOST_USER);
	case OPT_FD:
		return parse_link_fd(p);
	case OPT_NETNS:
		return parse_netns(p);
	case OPT_IFNAME:
		return parse_ifname(p);
	case OPT_NIC:
		return parse_nic(p);
	case OPT_VSOCK:
	case OPT_VSOCK_CID:
	case OPT_VSOCK_UDS:
	case OPT_VSOCK_CONNECT:
		return take_vsock(p, option);
	case OPT_CONFIG:
		o->config_path = optarg;
		return 0;
	case OPT_FORWARD:
		return parse_forward(p);
	case OPT_BUSY_POLL:
		return parse_busy_poll(p);
	case OPT_MTU:
		return parse_mtu(p);
	case OPT_NETWORK:
		return parse_network(p);
	case OPT_NO_HOST_LOOPBACK:
		o->host_loopback = false;
		return 0;
	case OPT_CONTROL:
		return parse_socket_path(p, "--control", &o->control_path);
	case OPT_PCAP:
		o->pcap_path = optarg;
		return 0;
	case 'v':
		o->verbosity++;
		return 0;
	case OPT_LOG_JSON:
		o->log_json = true;
		return 0;
	case OPT_READY_FD:
		return parse_fd(p, "--ready-fd", &o->ready_fd);
	case OPT_HELP:
		o->action = OPTIONS_HELP;
		return 0;
	case OPT_VERSION:
		o->action = OPTIONS_VERSION;
		return 0;
	default:
		return take_shared_option(p, option);
	}
}

/* What getopt_long() did not understand: word is the argument it read. */
static int bad_option(struct parser *p, int result, const char *word)
{
	if (result == ':')
		return bad(p, "%s needs a value; see netfwd --help", word);
	if (strncmp(word, "--", 2) != 0)
		return bad(p, "unknown option -%c; see netfwd --help", optopt);
	for (const struct option *known = long_options; known->name; known++) {
		size_t len = strlen(known->name);

		if (strncmp(word + 2, known->name, len) == 0 && word[2 + len] == '=')
			return bad(p, "--%s takes no value", known->name);
	}
	return bad(p, "unknown option %s; see netfwd --help", word);
}

static int read_options(struct parser *p, int argc, char *const argv[])
{
	int option, r;

	optind = 0; /* glibc: start afresh */
	opterr = 0;
	for (;;) {
		int word = optind ? optind : 1;

		/* "+": stop at the first argument that is no option, QEMU's;
		 * ":": tell a missing value from an unknown option. */
		option = getopt_long(argc, argv, "+:v", long_options, NULL);
		if (option == -1)
			return 0;
		if (option == '?' || option == ':')
			return bad_option(p, option, argv[word]);
		r = take_option(p, option);
		if (r < 0 || p->o->action != OPTIONS_RUN)
			return r;
	}
}

static int check_rest(struct parser *p, char *const rest[])
{
	if (p->o->link == OPTIONS_LINK_QEMU) {
		if (!rest[0])
			return bad(p, "QEMU's command is missing; for example: netfwd qemu "
				      "-- qemu-system-x86_64 -m 1G disk.qcow2");
		p->o->qemu_argv = rest;
		return 0;
	}
	if (rest[0])
		return bad(p,
			   "unexpected argument \"%s\"; to start QEMU, write: "
			   "netfwd qemu [OPTION]... -- %s ...",
			   rest[0], rest[0]);
	return 0;
}

static int check_forwards(struct parser *p)
{
	const struct options *o = p->o;

	for (unsigned int i = 0; i < o->n_forwards; i++) {
		for (unsigned int j = 0; j < i; j++) {
			uint16_t port;

			if (forward_spec_overlap(&o->forwards[i], &o->forwards[j], &port))
				return bad(p,
					   "--forward %s and --forward %s both take %s port "
					   "%u of the host; give one of them another port",
					   p->forward_texts[j], p->forward_texts[i],
					   forward_proto_name(o->forwards[i].proto), port);
		}
	}
	return 0;
}

/* `shared` in the file makes a shared network, too: options_merge() looks again. */
static int check_links(struct parser *p)
{
	struct options *o = p->o;

	if (o->is_shared && p->link_option && strcmp(p->link_option, "netfwd qemu") == 0)
		return bad(p, "netfwd qemu has one guest; with --shared, start QEMU by itself");
	if (!o->is_shared && p->second_link)
		return bad(p,
			   "%s and %s were both given, but one netfwd serves one guest; "
			   "start another netfwd for the second, or add --shared",
			   p->link_option, p->second_link);
	if (!o->is_shared && p->shared_only && !o->config_path)
		return bad(p, "%s is of a network of many guests; add --shared", p->shared_only);
	if (o->shared.host_fd && o->shared.host_interface)
		return bad(p,
			   "--host-interface-fd %d and --host-interface %s are both the host's "
			   "interface; give one",
			   o->shared.host_fd, o->shared.host_interface);
	if (o->is_shared)
		o->link = OPTIONS_LINK_SHARED;
	return 0;
}

static int check_together(struct parser *p)
{
	struct options *o = p->o;

	if (check_links(p) < 0)
		return -EINVAL;
	/* The file may name the namespace: options_merge() looks again. */
	if (o->ifname && o->link != OPTIONS_LINK_NETNS && o->link != OPTIONS_LINK_SHARED &&
	    !o->config_path)
		return bad(p, "--ifname names the interface that --netns makes; "
			      "give --netns too, or leave it out");
	if (!o->ifname)
		o->ifname = "eth0";
	if (o->vsock_peer && (o->vsock_path || o->vsock_cid || o->vsock_uds))
		return bad(p, "--vsock-connect is for a vsock that another program has; "
			      "leave --vsock, --vsock-cid and --vsock-uds out");
	if (o->vsock_uds && o->link == OPTIONS_LINK_QEMU && !o->vsock_cid)
		o->vsock_cid = OPTIONS_CID_DEFAULT; /* QEMU gets the device from us */
	if (o->vsock_uds && !o->vsock_path && !o->vsock_cid && !o->config_path)
		return bad(p, "--vsock-uds offers the guest's vsock to other programs; "
			      "give --vsock PATH or --vsock-cid too");
	if (!o->config_path && options_check_polling(o, p->error) < 0)
		return -EINVAL;
	if (o->link == OPTIONS_LINK_FD && o->ready_fd == o->link_fd)
		return bad(p, "--fd and --ready-fd are both %d; they are two descriptors",
			   o->link_fd);
	return check_forwards(p);
}

static int parse(struct parser *p, int argc, char *const argv[])
{
	if (argc > 1 && strcmp(argv[1], "qemu") == 0) {
		p->link_option = "netfwd qemu";
		p->o->link = OPTIONS_LINK_QEMU;
		argc--;
		argv++;
	}
	if (read_options(p, argc, argv) < 0)
		return -EINVAL;
	if (p->o->action != OPTIONS_RUN)
		return 0;
	if (check_rest(p, argv + optind) < 0)
		return -EINVAL;
	return check_together(p);
}

int options_parse(int argc, char *const argv[], struct options *out,
		  char error[static OPTIONS_ERROR_SIZE])
{
	struct options o = {
		.link_fd = -1,
		.host_loopback = true,
		.ready_fd = -1,
	};
	struct parser p = { .o = &o };
	int r = -ENOMEM;

	p.error = error;
	/* There cannot be more forwards than arguments. */
	o.forwards = calloc((size_t)argc + 1, sizeof(*o.forwards));
	o.links = calloc((size_t)argc + 1, sizeof(*o.links)); /* nor more links */
	p.forward_texts = calloc((size_t)argc + 1, sizeof(*p.forward_texts));
	if (o.forwards && o.links && p.forward_texts)
		r = parse(&p, argc, argv);
	else
		(void)bad(&p, "out of memory");
	free(p.forward_texts);
	if (r < 0)
		options_deinit(&o);
	else
		*out = o;
	return r;
}

void options_deinit(struct options *options)
{
	free(options->forwards);
	options->forwards = NULL;
	free(options->links);
	options->links = NULL;
	shared_options_deinit(&options->shared);
}
