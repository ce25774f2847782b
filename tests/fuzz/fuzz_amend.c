/* SPDX-License-Identifier: Apache-2.0 */
/* Any frame in memory of its size and the promised room: a right packet stays
 * one. */
#include <string.h>

#include "netstack/amend.h"
#include "tests/fuzz/cursor.h"
#include "tests/support/wire.h"

#define MOST 4096U

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct amend_config config = {
		.mtu = 1500,
		.dns6 = { { 0xfd, [15] = 3 } },
		.gateway4 = IPADDR_V4(192, 168, 5, 2),
		.gateway6 = { { 0xfd, [15] = 2 } },
	};
	size_t len = size < MOST ? size : MOST, amended;
	uint8_t *bytes = malloc(len + AMEND_ROOM);
	bool was_right;

	check(bytes != NULL);
	memcpy(bytes, data, len);
	was_right = wire_has_right_checksum(bytes, len);
	amended = amend_frame(bytes, len, &config);
	check(amended <= len + AMEND_ROOM);
	check(!was_right || wire_has_right_checksum(bytes, amended));
	free(bytes);
	return 0;
}
