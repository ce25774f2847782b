/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/own_network.h"

#include <err.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

void own_network_enter(void)
{
	struct ifreq request = { .ifr_flags = IFF_UP };
	int sock;

	/* who is not root is, in a user namespace of its own */
	if (unshare(CLONE_NEWNET | (geteuid() == 0 ? 0 : CLONE_NEWUSER)) < 0)
		err(EXIT_FAILURE, "no network namespace for the test");
	strcpy(request.ifr_name, "lo");
	sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (sock < 0 || ioctl(sock, SIOCSIFFLAGS, &request) < 0)
		err(EXIT_FAILURE, "no loopback interface for the test");
	close(sock);
}
