/* SPDX-License-Identifier: Apache-2.0 */
/* A line of /proc/net/tcp of a guest that may lie. */
#include <string.h>

#include "forwarder/proc_net.h"
#include "tests/fuzz/cursor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct port_listener little, big;
	char *line = malloc(size + 1);

	check(line != NULL);
	memcpy(line, data, size);
	line[size] = '\0';
	if (proc_net_parse(line, PROC_NET_LITTLE_ENDIAN, &little)) {
		/* the order changes the address alone */
		check(proc_net_parse(line, PROC_NET_BIG_ENDIAN, &big));
		check(little.guest.port == big.guest.port && little.guest.port != 0);
	}
	free(line);
	return 0;
}
