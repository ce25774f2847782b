/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/options.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define MAX_ARGS 24

/* Splits a command line at blanks; the words stay in *buffer. */
struct command {
	char buffer[1024];
	char *argv[MAX_ARGS + 1];
	int argc;
};

static void command_init(struct command *c, const char *line)
{
	char *save = NULL;

	c->argc = 0;
	(void)snprintf(c->buffer, sizeof(c->buffer), "netfwd %s", line);
	for (char *word = strtok_r(c->buffer, " ", &save); word;
	     word = strtok_r(NULL, " ", &save)) {
		assert_true(c->argc < MAX_ARGS);
		c->argv[c->argc++] = word;
	}
	c->argv[c->argc] = NULL;
}

static void parse_good(struct command *c, const char *line, struct options *o)
{
	char error[OPTIONS_ERROR_SIZE] = "";
	int r;

	command_init(c, line);
	r = options_parse(c->argc, c->argv, o, error);
	assert_string_equal(error, "");
	assert_int_equal(r, 0);
}

static void nothing_given_means_the_users_socket_and_defaults(void **state)
{
	struct command c;
	struct options o;

	(void)state;
	parse_good(&c, "", &o);

	assert_int_equal(o.action, OPTIONS_RUN);
	assert_int_equal(o.link, OPTIONS_LINK_USER);
	assert_int_equal(o.n_forwards, 0);
	assert_int_equal(o.mtu, 0);
	options_complete(&o);
	assert_int_equal(o.mtu, 32000);
	assert_int_equal(o.prefix4_bits, 0);
	assert_true(o.host_loopback);
	assert_null(o.pcap_path);
	assert_int_equal(o.verbosity, 0);
	assert_false(o.log_json);
	assert_int_equal(o.ready_fd, -1);
	options_deinit(&o);
}

static void every_option_reaches_its_field(void **state)
{
	char text[ADDR_TEXT_SIZE];
	struct command c;
	struct options o;

	(void)state;
	parse_good(&c,
		   "--netns c1 --ifname tap0 --forward tcp:8080:80 --forward=udp:[::1]:53:5353 "
		   "--mtu 1500 --network 10.1.2.0/24 --no-host-loopback --pcap out.pcap "
		   "-vv --verbose --log-json --ready-fd 7 --control c.sock",
		   &o);

	assert_int_equal(o.link, OPTIONS_LINK_NETNS);
	assert_string_equal(o.netns, "c1");
	assert_string_equal(o.ifname, "tap0");
	assert_int_equal(o.n_forwards, 2);
	assert_int_equal(o.forwards[0].proto, FORWARD_TCP);
	assert_int_equal(o.forwards[0].host.port, 8080);
	assert_int_equal(o.forwards[1].proto, FORWARD_UDP);
	assert_string_equal(endpoint_format(&o.forwards[1].host, text), "[::1]:53");
	assert_int_equal(o.mtu, 1500);
	assert_string_equal(ipaddr_format(&o.network4, text), "10.1.2.0");
	assert_int_equal(o.prefix4_bits, 24);
	assert_false(o.host_loopback);
	assert_string_equal(o.pcap_path, "out.pcap");
	assert_int_equal(o.verbosity, 3);
	assert_true(o.log_json);
	assert_int_equal(o.ready_fd, 7);
	assert_string_equal(o.control_path, "c.sock");
	options_deinit(&o);
}

static void each_guest_option_chooses_its_link(void **state)
{
	struct command c;
	struct options o;

	(void)state;
	parse_good(&c, "--stream /tmp/a.sock", &o);
	assert_int_equal(o.link, OPTIONS_LINK_STREAM);
	assert_string_equal(o.link_path, "/tmp/a.sock");
	options_deinit(&o);

	parse_good(&c, "--dgram b.sock", &o);
	assert_int_equal(o.link, OPTIONS_LINK_DGRAM);
	assert_string_equal(o.link_path, "b.sock");
	options_deinit(&o);

	parse_good(&c, "--vhost-user c.sock", &o);
	assert_int_equal(o.link, OPTIONS_LINK_VHOST_USER);
	assert_string_equal(o.link_path, "c.sock");
	options_deinit(&o);

	parse_good(&c, "--fd 3", &o);
	assert_int_equal(o.link, OPTIONS_LINK_FD);
	assert_int_equal(o.link_fd, 3);
	options_deinit(&o);

	parse_good(&c, "--netns /proc/1/ns/net", &o);
	assert_int_equal(o.link, OPTIONS_LINK_NETNS);
	assert_string_equal(o.ifname, "eth0");
	options_deinit(&o);
}

static void a_shared_network_takes_any_number_of_guests(void **state)
{
	static const struct {
		enum options_link link;
		const char *where;
	} expected[] = { { OPTIONS_LINK_STREAM, "a.sock" },
			 { OPTIONS_LINK_NETNS, "c1" },
			 { OPTIONS_LINK_NETNS, "c2" },
			 { OPTIONS_LINK_DGRAM, "b.sock" },
			 { OPTIONS_LINK_FD, "7" } };
	struct command c;
	struct options o;

	(void)state;
	parse_good(&c,
		   "--stream a.sock --netns c1 --netns c2 --shared --dgram b.sock --fd 7 --isolate "
		   "--host-interface netfwd0 --uplink br0 --leases l.txt --ifname e0",
		   &o);
	assert_true(o.is_shared);
	assert_int_equal(o.link, OPTIONS_LINK_SHARED);
	assert_int_equal(o.n_links, 5);
	for (size_t i = 0; i < 5; i++) {
		assert_int_equal(o.links[i].link, expected[i].link);
		assert_string_equal(o.links[i].where, expected[i].where);
	}
	assert_int_equal(o.links[4].fd, 7);
	assert_string_equal(o.shared.host_interface, "netfwd0");
	assert_string_equal(o.shared.uplink, "br0");
	assert_string_equal(o.shared.leases, "l.txt");
	assert_true(o.shared.isolate);
	options_complete(&o);
	assert_int_equal(o.mtu, 1500);
	options_deinit(&o);

	parse_good(&c, "--shared", &o);
	assert_int_equal(o.n_links, 0);
	options_deinit(&o);
}

static void qemus_arguments_are_left_alone(void **state)
{
	struct command c;
	struct options o;

	(void)state;
	parse_good(&c, "qemu -v --forward tcp:1:1 -- qemu-system-x86_64 -m 1G --mtu 3 -v", &o);
	assert_int_equal(o.link, OPTIONS_LINK_QEMU);
	assert_int_equal(o.verbosity, 1);
	assert_int_equal(o.n_forwards, 1);
	options_complete(&o);
	assert_int_equal(o.mtu, 32000);
	assert_string_equal(o.qemu_argv[0], "qemu-system-x86_64");
	assert_string_equal(o.qemu_argv[3], "--mtu");
	assert_string_equal(o.qemu_argv[5], "-v");
	assert_null(o.qemu_argv[6]);
	options_deinit(&o);

	/* The dashes may be left out: QEMU's name is no option. */
	parse_good(&c, "qemu -v ./qemu -m 1G", &o);
	assert_string_equal(o.qemu_argv[0], "./qemu");
	assert_string_equal(o.qemu_argv[1], "-m");
	options_deinit(&o);
}

static void help_and_version_win_over_what_follows(void **state)
{
	struct command c;
	struct options o;

	(void)state;
	parse_good(&c, "--help --nonsense", &o);
	assert_int_equal(o.action, OPTIONS_HELP);
	options_deinit(&o);
	parse_good(&c, "qemu --help", &o);
	assert_int_equal(o.action, OPTIONS_HELP);
	options_deinit(&o);
	parse_good(&c, "--version", &o);
	assert_int_equal(o.action, OPTIONS_VERSION);
	options_deinit(&o);
}

#define ONE_GUEST                                                                          \
	" were both given, but one netfwd serves one guest; start another netfwd for the " \
	"second, or add --shared"
#define SHARED_ONLY " is of a network of many guests; add --shared"
#define FD_RULE ": must be the number of an inherited descriptor, 3 or above"
#define MTU_RULE ": must be 1280 (the least that IPv6 allows) to 65520"
#define NETWORK_RULE ": must be an IPv4 network such as 192.168.5.0/24, /8 to /27"
#define IFNAME_RULE \
	": an interface's name has 1 to 15 characters, none of them a slash, colon or blank"

static const struct {
	const char *line;
	const char *error;
} bad_cases[] = {
	{ "--nonsense", "unknown option --nonsense; see netfwd --help" },
	{ "-v -x", "unknown option -x; see netfwd --help" },
	{ "-vx", "unknown option -x; see netfwd --help" },
	{ "--mtu", "--mtu needs a value; see netfwd --help" },
	{ "--log-json=yes", "--log-json takes no value" },
	{ "disk.img", "unexpected argument \"disk.img\"; to start QEMU, write: "
		      "netfwd qemu [OPTION]... -- disk.img ..." },
	{ "-- qemu-system-x86_64", "unexpected argument \"qemu-system-x86_64\"; to start QEMU, "
				   "write: netfwd qemu [OPTION]... -- qemu-system-x86_64 ..." },
	{ "qemu", "QEMU's command is missing; for example: netfwd qemu -- qemu-system-x86_64 "
		  "-m 1G disk.qcow2" },
	{ "qemu -v --", "QEMU's command is missing; for example: netfwd qemu -- "
			"qemu-system-x86_64 -m 1G disk.qcow2" },
	{ "--stream a --netns b", "--stream and --netns" ONE_GUEST },
	{ "--dgram a --dgram b", "--dgram and --dgram" ONE_GUEST },
	{ "--nic stream", "--nic is of the QEMU that netfwd qemu starts; leave it out, or start "
			  "QEMU so" },
	{ "qemu --nic tap -- q", "--nic tap: must be auto, stream or vhost-user" },
	{ "--busy-poll 50", "--busy-poll or guest.busyPoll is for a guest that shares its memory; "
			    "give --vhost-user or --vsock too, or leave it out" },
	{ "--vhost-user a --busy-poll 0", "--busy-poll 0: must be 1 to 1000, in microseconds" },
	{ "--vhost-user a --busy-poll 1001",
	  "--busy-poll 1001: must be 1 to 1000, in microseconds" },
	{ "--vsock-cid 2", "--vsock-cid 2: the CID of a guest is 3 to 4294967294" },
	{ "--vsock-cid 4294967295",
	  "--vsock-cid 4294967295: the CID of a guest is 3 to 4294967294" },
	{ "--vsock-uds a", "--vsock-uds offers the guest's vsock to other programs; give --vsock "
			   "PATH or --vsock-cid too" },
	{ "--vhost-user a --dgram b", "--vhost-user and --dgram" ONE_GUEST },
	{ "qemu --fd 3 -- q", "netfwd qemu and --fd" ONE_GUEST },
	{ "qemu --shared -- q", "netfwd qemu has one guest; with --shared, start QEMU by itself" },
	{ "--host-interface n0", "--host-interface" SHARED_ONLY },
	{ "--host-interface-fd 9", "--host-interface-fd" SHARED_ONLY },
	{ "--shared --host-interface-fd 2", "--host-interface-fd 2" FD_RULE },
	{ "--shared --host-interface-fd 9 --host-interface n0",
	  "--host-interface-fd 9 and --host-interface n0 are both the host's interface; give one" },
	{ "--isolate --stream a", "--isolate" SHARED_ONLY },
	{ "--leases a --uplink b", "--uplink" SHARED_ONLY },
	{ "--shared --uplink a/b", "--uplink a/b" IFNAME_RULE },
	{ "--stream=", "--stream: the path of a UNIX socket has 1 to 107 characters, this one 0" },
	{ "--fd 2", "--fd 2" FD_RULE },
	{ "--fd -1", "--fd -1" FD_RULE },
	{ "--fd 3x", "--fd 3x" FD_RULE },
	{ "--fd 99999999999", "--fd 99999999999" FD_RULE },
	{ "--ready-fd 1", "--ready-fd 1" FD_RULE },
	{ "--fd 5 --ready-fd 5", "--fd and --ready-fd are both 5; they are two descriptors" },
	{ "--netns=", "--netns: a name, a path or a process id is missing" },
	{ "--ifname eth1", "--ifname names the interface that --netns makes; give --netns too, "
			   "or leave it out" },
	{ "--netns c --ifname a/b", "--ifname a/b" IFNAME_RULE },
	{ "--netns c --ifname sixteencharacter", "--ifname sixteencharacter" IFNAME_RULE },
	{ "--netns c --ifname ..", "--ifname .." IFNAME_RULE },
	{ "--mtu 1279", "--mtu 1279" MTU_RULE },
	{ "--mtu 65521", "--mtu 65521" MTU_RULE },
	{ "--mtu 1500b", "--mtu 1500b" MTU_RULE },
	{ "--network 10.0.0.0", "--network 10.0.0.0" NETWORK_RULE },
	{ "--network 10.0.0.0/28", "--network 10.0.0.0/28" NETWORK_RULE },
	{ "--network 10.0.0.0/7", "--network 10.0.0.0/7" NETWORK_RULE },
	{ "--network fd00::/24", "--network fd00::/24: \"fd00::\" is not the IPv4 address of a "
				 "network of guests; try 192.168.5.0/24" },
	{ "--network 127.0.0.0/8", "--network 127.0.0.0/8: \"127.0.0.0\" is not the IPv4 address "
				   "of a network of guests; try 192.168.5.0/24" },
	{ "--network 10.0.0.1/24", "--network 10.0.0.1/24: the address has bits set beyond its "
				   "first 24" },
	{ "--forward tcp:0:80", "--forward tcp:0:80: host port \"0\" (character 5): must be 1 to "
				"65535, or a range such as 9000-9010" },
	{ "--forward tcp:80-90:80-90 --forward tcp:0.0.0.0:85:1",
	  "--forward tcp:80-90:80-90 and --forward tcp:0.0.0.0:85:1 both take tcp port 85 of the "
	  "host; give one of them another port" },
};

static void bad_lines_are_refused_with_what_to_do(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bad_cases) / sizeof(bad_cases[0]); i++) {
		char error[OPTIONS_ERROR_SIZE] = "";
		struct command c;
		struct options o;

		command_init(&c, bad_cases[i].line);
		assert_int_equal(options_parse(c.argc, c.argv, &o, error), -EINVAL);
		assert_string_equal(error, bad_cases[i].error);
	}
}

static void a_socket_path_that_is_too_long_is_refused(void **state)
{
	char path[200], error[OPTIONS_ERROR_SIZE];
	char program[] = "netfwd", option[] = "--dgram";
	char *argv[] = { program, option, path, NULL };
	struct options o;

	(void)state;
	memset(path, 'a', sizeof(path));
	path[108] = '\0';
	assert_int_equal(options_parse(3, argv, &o, error), -EINVAL);
	path[107] = '\0';
	assert_int_equal(options_parse(3, argv, &o, error), 0);
	options_deinit(&o);
}

static void an_error_of_a_long_argument_is_cut_not_overrun(void **state)
{
	char text[4000], error[OPTIONS_ERROR_SIZE];
	char program[] = "netfwd", option[] = "--forward";
	char *argv[] = { program, option, text, NULL };
	struct options o;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(options_parse(3, argv, &o, error), -EINVAL);
	assert_non_null(strstr(error, "must be tcp or udp"));
	assert_true(strlen(error) < sizeof(error));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_given_means_the_users_socket_and_defaults),
		cmocka_unit_test(every_option_reaches_its_field),
		cmocka_unit_test(each_guest_option_chooses_its_link),
		cmocka_unit_test(a_shared_network_takes_any_number_of_guests),
		cmocka_unit_test(qemus_arguments_are_left_alone),
		cmocka_unit_test(help_and_version_win_over_what_follows),
		cmocka_unit_test(bad_lines_are_refused_with_what_to_do),
		cmocka_unit_test(a_socket_path_that_is_too_long_is_refused),
		cmocka_unit_test(an_error_of_a_long_argument_is_cut_not_overrun),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
