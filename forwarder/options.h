/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The command line as plain data. Everything that can be judged without
 * touching the system is judged here, so that a struct options that came out of
 * options_parse() is free of contradictions. Strings point into argv. */
#include <stdbool.h>
#include <stdint.h>

#include "forwarder/forward_spec.h"
#include "forwarder/network_spec.h"
#include "forwarder/shared_options.h"
#include "netstack/addr.h"

enum options_action {
	OPTIONS_RUN,
	OPTIONS_HELP,
	OPTIONS_VERSION,
};

/* Where the guest's frames come from. */
enum options_link {
	OPTIONS_LINK_USER,	 /* nothing given: the per-user socket */
	OPTIONS_LINK_STREAM,	 /* link_path */
	OPTIONS_LINK_DGRAM,	 /* link_path */
	OPTIONS_LINK_VHOST_USER, /* link_path */
	OPTIONS_LINK_FD,	 /* link_fd */
	OPTIONS_LINK_NETNS,	 /* netns, ifname */
	OPTIONS_LINK_QEMU,	 /* qemu_argv: started by us */
	OPTIONS_LINK_SHARED,	 /* links, of many guests */
};

/* One guest link of those that were asked for. */
struct options_link_spec {
	enum options_link link; /* STREAM, DGRAM, VHOST_USER, FD or NETNS */
	const char *where;	/* path, or namespace */
	int fd;
};

enum options_nic {
	OPTIONS_NIC_AUTO,
	OPTIONS_NIC_STREAM,
	OPTIONS_NIC_VHOST_USER,
};

#define OPTIONS_MTU_MIN NETWORK_SPEC_MTU_MIN
#define OPTIONS_MTU_MAX NETWORK_SPEC_MTU_MAX
#define OPTIONS_BUSY_POLL_MAX NETWORK_SPEC_BUSY_POLL_MAX
#define OPTIONS_CID_DEFAULT 3
#define OPTIONS_CID_MAX (UINT32_MAX - 1)

struct config;

struct options {
	enum options_action action;
	enum options_link link;
	const char *link_path;
	int link_fd;
	const char *netns;
	const char *ifname;
	char *const *qemu_argv; /* ends with NULL, as main()'s */
	enum options_nic nic;	/* of a QEMU that we start */

	struct options_link_spec *links; /* n_links of them: of --shared; else one at most,
					  * told above as well */
	unsigned int n_links;
	bool is_shared;
	struct shared_options shared; /* of --shared */

	/* The guest's vsock: a socket for its device (NULL: the kernel has it), its
	 * CID (0: it has no vsock, or 3 with vsock_path), and where other programs
	 * find it (NULL: nowhere). */
	const char *vsock_path, *vsock_uds;
	const char *vsock_peer; /* where another program offers it; alone, or NULL */
	uint32_t vsock_cid;
	unsigned int busy_poll_us; /* of devices in the guest's memory; 0: no polling */

	const char *config_path;     /* NULL: no file */
	const struct config *config; /* NULL, or what options_merge() took in */

	struct forward_spec *forwards; /* n_forwards of them */
	unsigned int n_forwards;

	uint16_t mtu;			    /* 0: as options_complete() says */
	bool is_mtu_given, is_ifname_given; /* by the command line */
	struct ipaddr network4;		    /* --network, with prefix4_bits; :: = the default */
	unsigned int prefix4_bits;
	bool host_loopback;
	const char *pcap_path; /* NULL: no capture */

	const char *control_path; /* NULL: in the runtime directory */

	unsigned int verbosity; /* how many -v */
	bool log_json;
	int ready_fd; /* -1: nobody waits */
};

#define OPTIONS_ERROR_SIZE 512

/* 0; -EINVAL with one line that says what is wrong and what to do; -ENOMEM.
 * *out is only to be freed after 0. argv may be reordered, as by getopt(3). */
int options_parse(int argc, char *const argv[], struct options *out,
		  char error[static OPTIONS_ERROR_SIZE]);
void options_deinit(struct options *options);

const char *options_help(void);

/* What was left open, once the command line and the file are known: the MTU, the
 * largest for a namespace and for vhost-user, what every interface knows for a
 * network of many guests, else OPTIONS_MTU_QEMU. */
#define OPTIONS_MTU_QEMU 32000
#define OPTIONS_MTU_SHARED 1500
void options_complete(struct options *options);
/* Polling needs a device in the guest's memory: 0, or -EINVAL with one line. */
int options_check_polling(const struct options *options, char error[static OPTIONS_ERROR_SIZE]);
