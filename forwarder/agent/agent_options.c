/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/agent/agent_options.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

enum option_id {
	OPT_VSOCK = 256, /* above every short option */
	OPT_VSOCK_SSH,
	OPT_UNIX,
	OPT_TCP,
	OPT_TOKEN_FILE,
	OPT_FROM,
	OPT_SERIAL,
	OPT_STDIO,
	OPT_READY_FD,
	OPT_HELP,
	OPT_VERSION,
};

static const struct option long_options[] = {
	{ "vsock", optional_argument, NULL, OPT_VSOCK },
	{ "vsock-ssh", no_argument, NULL, OPT_VSOCK_SSH },
	{ "unix", required_argument, NULL, OPT_UNIX },
	{ "tcp", required_argument, NULL, OPT_TCP },
	{ "token-file", required_argument, NULL, OPT_TOKEN_FILE },
	{ "from", required_argument, NULL, OPT_FROM },
	{ "serial", required_argument, NULL, OPT_SERIAL },
	{ "stdio", no_argument, NULL, OPT_STDIO },
	{ "ready-fd", required_argument, NULL, OPT_READY_FD },
	{ "verbose", no_argument, NULL, 'v' },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ NULL, 0, NULL, 0 },
};

static const char help_text[] =
	"Usage: netfwd-agent OPTION...\n"
	"\n"
	"Runs in a guest, as root: tells netfwd on the host what listens here, and opens\n"
	"connections here for it.\n"
	"\n"
	"Where the host comes from, at least one of:\n"
	"  --vsock[=PORT]     AF_VSOCK (default port 2222); only the host may connect\n"
	"  --serial DEVICE    a virtio-serial port: its name, or a path in /dev\n"
	"  --unix PATH        a UNIX socket, for this user alone\n"
	"  --tcp ADDR:PORT    TCP (IPv4); only the default gateway may connect, with the\n"
	"                     token\n"
	"    --token-file F   whose first line is the token\n"
	"    --from ADDR      the host's address, if it is not the default gateway\n"
	"  --stdio            standard input and output; the agent ends with them\n"
	"\n"
	"Other:\n"
	"  --vsock-ssh        let the host to this machine's SSH server by AF_VSOCK, port 22\n"
	"  -v, --verbose      say more: -v state, -vv what listens, and connections\n"
	"  --ready-fd N       write 1 to descriptor N once all is set up, and close it\n"
	"  --help, --version\n"
	"\n"
	"netfwd-agent(8) has the details.\n";

struct parser {
	struct agent_options *o;
	char *error;
};

__attribute__((format(printf, 2, 3))) static int bad(struct parser *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(p->error, AGENT_OPTIONS_ERROR_SIZE, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* A decimal number without sign or blanks; -1 if it is none or above max. */
static long parse_number(const char *text, long max)
{
	size_t len = strspn(text, "0123456789");
	long value;

	if (len == 0 || len > 10 || text[len])
		return -1;
	value = strtol(text, NULL, 10);
	return value > max ? -1 : value;
}

static int parse_vsock(struct parser *p)
{
	long port = optarg ? parse_number(optarg, INT32_MAX) : AGENT_PORT;

	if (port < 1)
		return bad(p, "--vsock=%.40s: a port is a number from 1 to %d", optarg, INT32_MAX);
	p->o->vsock_port = (unsigned int)port;
	return 0;
}

static int parse_unix(struct parser *p)
{
	size_t max = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;

	if (!*optarg || strlen(optarg) > max)
		return bad(p,
			   "--unix: the path of a UNIX socket has 1 to %zu characters, this "
			   "one %zu",
			   max, strlen(optarg));
	p->o->unix_path = optarg;
	return 0;
}

/* 192.168.5.15:2222. The default gateway of IPv6 is known by its link-local
 * address, which is not the one that it dials from. */
static int parse_tcp(struct parser *p)
{
	char address[ADDR_TEXT_SIZE];
	const char *colon = strrchr(optarg, ':');
	size_t len = colon ? (size_t)(colon - optarg) : 0;
	long port = colon ? parse_number(colon + 1, UINT16_MAX) : -1;

	if (len == 0 || len >= sizeof(address) || port < 1)
		return bad(p, "--tcp %.60s: must be ADDRESS:PORT", optarg);
	memcpy(address, optarg, len);
	address[len] = '\0';
	if (ipaddr_parse(address, &p->o->tcp.addr) < 0 || !ipaddr_is_v4(&p->o->tcp.addr))
		return bad(p, "--tcp %.60s: %s is no IPv4 address", optarg, address);
	p->o->tcp.port = (uint16_t)port;
	return 0;
}

static int parse_from(struct parser *p)
{
	if (ipaddr_parse(optarg, &p->o->from) < 0 || !ipaddr_is_v4(&p->o->from) ||
	    ipaddr_is_any(&p->o->from) || ipaddr_is_multicast(&p->o->from))
		return bad(p, "--from %.60s: must be the IPv4 address of the host", optarg);
	return 0;
}

static int parse_ready_fd(struct parser *p)
{
	long fd = parse_number(optarg, INT32_MAX);

	if (fd < 3)
		return bad(p,
			   "--ready-fd %.40s: must be the number of an inherited descriptor, 3 "
			   "or above",
			   optarg);
	p->o->ready_fd = (int)fd;
	return 0;
}

static int parse_path(struct parser *p, const char *option, const char **out)
{
	if (!*optarg)
		return bad(p, "%s: the path is empty", option);
	*out = optarg;
	return 0;
}

/* One option, its argument in optarg. */
static int take_option(struct parser *p, int option)
{
	struct agent_options *o = p->o;

	switch (option) {
	case OPT_VSOCK:
		return parse_vsock(p);
	case OPT_VSOCK_SSH:
		p->o->offers_ssh = true;
		return 0;
	case OPT_UNIX:
		return parse_unix(p);
	case OPT_TCP:
		return parse_tcp(p);
	case OPT_TOKEN_FILE:
		return parse_path(p, "--token-file", &o->token_path);
	case OPT_FROM:
		return parse_from(p);
	case OPT_SERIAL:
		return parse_path(p, "--serial", &o->serial_path);
	case OPT_STDIO:
		o->with_stdio = true;
		return 0;
	case OPT_READY_FD:
		return parse_ready_fd(p);
	case 'v':
		o->verbosity++;
		return 0;
	case OPT_HELP:
		o->action = AGENT_HELP;
		return 0;
	case OPT_VERSION:
		o->action = AGENT_VERSION;
		return 0;
	default:
		return -EINVAL;
	}
}

static int read_options(struct parser *p, int argc, char *const argv[])
{
	int option, r;

	optind = 0; /* glibc: start afresh */
	opterr = 0;
	for (;;) {
		int word = optind ? optind : 1;

		option = getopt_long(argc, argv, "+:v", long_options, NULL);
		if (option == -1)
			break;
		if (option == ':')
			return bad(p, "%.60s needs a value; see netfwd-agent --help", argv[word]);
		if (option == '?')
			return bad(p, "unknown option %.60s; see netfwd-agent --help", argv[word]);
		r = take_option(p, option);
		if (r < 0 || p->o->action != AGENT_RUN)
			return r;
	}
	if (argv[optind])
		return bad(p, "unexpected argument \"%.60s\"; see netfwd-agent --help",
			   argv[optind]);
	return 0;
}

static int check_together(struct parser *p)
{
	const struct agent_options *o = p->o;

	if (o->tcp.port && !o->token_path)
		return bad(p, "--tcp needs --token-file: other programs of this guest could "
			      "pretend to be the host");
	if (!ipaddr_is_any(&o->from) && !o->tcp.port)
		return bad(p, "--from is for --tcp, which was not given");
	if (o->token_path && !o->tcp.port)
		return bad(p, "--token-file is for --tcp, which was not given");
	if (!o->vsock_port && !o->unix_path && !o->tcp.port && !o->serial_path && !o->with_stdio)
		return bad(p, "one of --vsock, --serial, --unix, --tcp and --stdio is needed: "
			      "where should the host come from?");
	return 0;
}

int agent_options_parse(int argc, char *const argv[], struct agent_options *out,
			char error[static AGENT_OPTIONS_ERROR_SIZE])
{
	struct parser p = { .o = out };
	int r;

	p.error = error;
	*out = (struct agent_options){ .ready_fd = -1 };
	r = read_options(&p, argc, argv);
	if (r < 0 || out->action != AGENT_RUN)
		return r;
	return check_together(&p);
}

const char *agent_options_help(void)
{
	return help_text;
}
