/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What is chosen of a network that many guests share: the command line's part
 * and the configuration file's, as plain data. */
#include <stdbool.h>
#include <stdint.h>

#include "netstack/addr.h"
#include "netstack/stack_config.h"

struct config_shared;

#define SHARED_OPTIONS_MAX_PORTS 32U

struct shared_options {
	const char *host_interface; /* the host's interface on the network; NULL: none */
	int host_fd;		    /* the same, an inherited TAP interface; 0: none */
	const char *uplink;	    /* an interface that leads to more stations; NULL */
	const char *leases;	    /* file; NULL: in the user's state directory */
	bool isolate;
	bool trust_guests;
	struct ipaddr loopback; /* any: guests have no addresses on the host's loopback */
	uint16_t ports[SHARED_OPTIONS_MAX_PORTS]; /* of every guest, there; n_ports of them */
	unsigned int n_ports;
	struct ipaddr first4, last4; /* what DHCP gives out; any: as by default */
	uint32_t lease_s;	     /* 0: as by default */
	struct ipaddr ntp[STACK_MAX_NTP];
	unsigned int n_ntp;
	const char *search[STACK_MAX_SEARCH];
	unsigned int n_search;
	struct stack_static_guest *guests; /* n_guests of them */
	unsigned int n_guests;
};

#define SHARED_OPTIONS_ERROR_SIZE 256

/* Takes in what the command line left open; strings stay the config's. 0;
 * -EINVAL with "shared.KEY is ...: must be ..."; -ENOMEM. */
int shared_options_merge(struct shared_options *options, const struct config_shared *config,
			 char error[static SHARED_OPTIONS_ERROR_SIZE]);
void shared_options_deinit(struct shared_options *options);
